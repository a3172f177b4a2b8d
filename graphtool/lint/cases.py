"""Cases of rules, run: the rule is found at just the nodes that the case names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphtool.cases import Result, model_of
from graphtool.errors import GraphtoolError, PassError, quoted
from graphtool.graph import check as check_graph
from graphtool.lint.engine import check, unfit
from graphtool.lint.rule import Case, Rule
from graphtool.lint.target import Aim
from graphtool.parity.feed import draw
from graphtool.rewrite import Catalog, parse_pipeline


def aim_of(given: Mapping[str, Any]) -> Aim:
    """Return the target that a case names, an Ascend 310 where it names none."""
    return Aim(
        given.get("soc", "Ascend310"), given.get("cann", ""), given.get("options", {}),
        tuple(given.get("batches", ())), tuple(given.get("keep", ())),
    )  # fmt: skip


def run_case(rule: Rule, case: Case) -> Result:
    """Return how one case went."""
    try:
        return Result(rule.id, case.name, _fault(rule, case), "")
    except GraphtoolError as error:
        return Result(rule.id, case.name, str(error), "")


def _fault(rule: Rule, case: Case) -> str:
    graph = model_of(case.graph, case.opset)
    check_graph(graph)
    aim = aim_of(case.target)
    if case.target.get("feed"):
        aim = dataclasses.replace(aim, feed=draw(graph))
    result = check(graph, [rule], aim)
    if case.found and result.left:
        return f"it is not for the target of the case: {result.left[0].reason}"
    if result.undecided:
        return f"undecided at {result.undecided[0].where}: {result.undecided[0].reason}"
    found = sorted(finding.where for finding in result.findings)
    missing = sorted(set(case.found) - set(found))
    extra = sorted(set(found) - set(case.found))
    faults = [f"not found at {', '.join(missing)}"] * bool(missing) + [f"found at {', '.join(extra)}"] * bool(extra)
    faults += [f"no value in the message: {finding.text}" for finding in result.findings if "?" in finding.text]
    return "; ".join(faults)


def run_cases(rules: Sequence[Rule], strict: bool = False) -> Iterator[Result]:
    """Run every case; a rule without positive or negative cases is a fault, as is a fix that is no pass.

    With ``strict`` also a condition that no case needs.
    """
    catalog = Catalog()
    for rule in rules:
        for word in rule.fix:
            try:
                parse_pipeline(word, catalog)
            except PassError as error:
                yield Result(rule.id, "-", f"fix {quoted(word)}: {error}", "")
        if not any(case.found for case in rule.cases):
            yield Result(rule.id, "-", "no positive case: show where it is found", "")
        if not any(not case.found for case in rule.cases):
            yield Result(rule.id, "-", "no negative case: show where it is not found", "")
        for case in rule.cases:
            yield run_case(rule, case)
        if strict:
            yield from _undertested(rule)


def _undertested(rule: Rule) -> Iterator[Result]:
    """Yield the conditions that no case needs: with one dropped, every case still holds."""
    for place, where in enumerate(rule.wheres):
        weaker = dataclasses.replace(rule, wheres=rule.wheres[:place] + rule.wheres[place + 1 :])
        if all(not run_case(weaker, case).fault for case in rule.cases):
            yield Result(rule.id, f"where[{place}] {where.text}", "no case fails without this condition", "")
    for case in rule.cases:
        if not case.found and rule.native and unfit(rule, aim_of(case.target)):
            break
