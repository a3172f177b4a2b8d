"""A check as text, as plain data and as a report of findings. Floor 7."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphtool.checking import CheckResult
from graphtool.errors import show
from graphtool.lint.engine import Checked
from graphtool.lint.rule import CONSEQUENCES, LEVELS, Finding, Rule
from graphtool.parity.metrics import Figures
from graphtool.report import finding
from graphtool.report.console import names
from graphtool.report.data import document, figures_data
from graphtool.report.figures import figure_text
from graphtool.report.printing import line
from graphtool.rewrite.params import escape

_FEW = 6  # places of a rule that are listed
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_PAGE = "docs/rules/{}.md"


def print_check(result: CheckResult, everything: bool) -> None:
    """Print what a check found: a line a rule, with its places under it; after ``--fix`` before and after."""
    before, after = result.before, result.after
    line(f"{show(result.request.model)}: {_target(before)}", "bold")
    if result.sized.shapes:
        shapes = (f"{show(name)} {'x'.join(map(str, shape))}" for name, shape in result.sized.shapes.items())
        line(f"open sizes as ATC is told them: {', '.join(shapes)}")
    if after is not None and result.run is not None:
        _print_fixed(result)
        line(f"left after the fix: {_counts(after)}", "bold")
    _print_findings(result.latest, everything)
    _print_undecided(result.latest, everything)
    line(_counts(result.latest), "green" if result.ok else "bold red")
    _print_hints(result)


def _target(checked: Checked) -> str:
    aim = checked.aim
    release = f"CANN {aim.cann_text}" if aim.cann_text else "no CANN release named"
    left = f", {len(checked.left)} not for this target" if checked.left else ""
    return f"{show(aim.soc)}, {release}; {len(checked.rules)} rules{left}"


def _counts(checked: Checked) -> str:
    words = [f"{count} {level}{'s' if count != 1 else ''}" for level in LEVELS if (count := checked.count(level))]
    fixable = sum(bool(found.fixes) for found in checked.findings)
    return (", ".join(words) or "nothing found") + (f"; {fixable} with a pass that helps" if fixable else "")


def _print_findings(checked: Checked, everything: bool) -> None:
    for rule, found in _by_rule(checked.findings):
        level = min((f.level for f in found), key=LEVELS.index)
        only = f" [only CANN {found[0].only}]" if found[0].only else ""
        words = dict.fromkeys(word for one in found for word in one.fixes)
        fix = f"  fix: {', '.join(words)}" if words else ""
        line(f"{level:<7} {rule.id} {rule.summary}{_word(rule)}{only}{fix}", _STYLES[level])
        shown = found if everything else found[:_FEW]
        for one in shown:
            line(f"        {show(one.where)}: {show(one.text, 400)}")
        if len(found) > len(shown):
            line(f"        and {len(found) - len(shown)} more (--all lists them)", "dim")


def _word(rule: Rule) -> str:
    words = {"aicpu": "AI CPU", "wrong": "silently wrong", "note": ""}
    text = words.get(rule.consequence, rule.consequence)
    return f" ({text})" if text else ""


def _by_rule(findings: Sequence[Finding]) -> Iterator[tuple[Rule, list[Finding]]]:
    groups: dict[str, list[Finding]] = {}
    for found in findings:
        groups.setdefault(found.rule.id, []).append(found)
    yield from ((found[0].rule, found) for found in groups.values())


def _print_undecided(checked: Checked, everything: bool) -> None:
    if not checked.undecided:
        return
    rules = dict.fromkeys(found.rule.id for found in checked.undecided)
    line(f"not decided at {len(checked.undecided)} places, by {', '.join(rules)}: a size is open or not known", "dim")
    for found in checked.undecided if everything else ():
        line(f"        {found.rule.id} {show(found.where)}: {show(found.reason, 300)}", "dim")


def _print_fixed(result: CheckResult) -> None:
    assert result.run is not None
    run = result.run.run
    line(f"found: {_counts(result.before)}")
    for step in run.steps:
        what = f"{len(step.matches)} matches" if step.matches else f"nothing to do: {show(step.reason, 120)}"
        line(f"  {step.stage.text()}: {step.status}, {what}", "" if step.status != "broken" else "bold red")
    for name, found in result.float32.items():
        line(f"  {show(name)} against the original, float32: {figure_text(found)}")
    for name, found in result.float16.items():
        line(f"  {show(name)} as the chip is modelled (float16, public sources): {figure_text(found)}")
    if result.float16_fault:
        line(f"  no figure with float16: {show(result.float16_fault, 300)}", "yellow")
    if run.feed is not None and result.float32:
        line(f"  on a feed {run.feed.text()}: figures measure change, not accuracy", "dim")
    if result.run.path is not None:
        line(f"wrote {show(result.run.path)}: {run.original.node_count} -> {run.graph.node_count} nodes", "bold")
    if result.run.fault:
        line(show(result.run.fault, 1000), "bold red")


def _print_hints(result: CheckResult) -> None:
    soc = result.profile.soc
    foreign = [left.rule for left in result.latest.left if left.rule.devices and soc not in left.rule.devices]
    if foreign:
        chips = ", ".join(sorted({chip for rule in foreign for chip in rule.devices}))
        line(f"no rules for {show(soc)} of its own: {len(foreign)} for {chips} were not applied", "yellow")
    if result.sized.fault:
        line(f"graphtool atc emit has no command for it: {show(result.sized.fault, 400)}", "yellow")
    for word, reason in result.left.items():
        line(f"{word} was not run: {show(reason, 300)}", "cyan")
    shapes = result.sized.shapes
    if shapes and any(reason.startswith("nothing to do") for reason in result.left.values()):
        inputs, dims = "+".join(map(escape, shapes)), "+".join("x".join(map(str, shape)) for shape in shapes.values())
        words = ["graphtool", "run", "--passes", f"set_input_shapes:inputs={inputs}:shapes={dims}"]
        command = shlex.join([*words, str(result.request.model)])
        line(f"more may be fixed once the sizes are in the model: {show(command, 400)}", "cyan")
    fixes = result.latest.fixes
    if result.request.fix and result.run is None:
        line("nothing to fix by a pass that may be run; no model was written", "cyan")
    if fixes and not result.request.fix:
        line(f"graphtool check --fix runs {names(fixes, 8)}, each under parity", "cyan")
    if result.latest.findings:
        first = result.latest.findings[0].rule.id
        line(
            f"graphtool rules show {first} says why, by which source, as of when; nothing was tried on a device", "dim"
        )


# -- data


def check_data(result: CheckResult) -> dict[str, Any]:
    """Return a check; keys are part of the interface."""
    run = result.run
    fix = None
    if run is not None and result.after is not None:
        fix = {
            "passes": [
                {"pass": s.stage.text(), "status": s.status, "matches": len(s.matches), "reason": s.reason}
                for s in run.run.steps
            ],
            "result": str(run.path) if run.path else None,
            "fault": run.fault,
            "before": _tally(result.before),
            "after": _tally(result.after),
            "float32": _figures(result.float32),
            "float16": _figures(result.float16),
            "float16_fault": result.float16_fault,
            "left": result.left,
        }
    checked = result.latest
    return {
        "model": str(result.request.model),
        "ok": result.ok,
        "soc": checked.aim.soc,
        "cann": checked.aim.cann_text or None,
        "sizes": {name: list(shape) for name, shape in result.sized.shapes.items()},
        "no_command": result.sized.fault or None,
        "rules": [rule.id for rule in checked.rules],
        "not_for_target": {left.rule.id: left.reason for left in checked.left},
        "findings": [_finding_data(found) for found in checked.findings],
        "undecided": [{"rule": u.rule.id, "where": u.where, "reason": u.reason} for u in checked.undecided],
        "counts": _tally(checked),
        "fixes": list(checked.fixes),
        "fix": fix,
    }


def _tally(checked: Checked) -> dict[str, int]:
    counts: dict[str, int] = {level: checked.count(level) for level in LEVELS}
    return {**counts, "fixable": sum(bool(found.fixes) for found in checked.findings)}


def _figures(found: Mapping[str, Figures]) -> dict[str, Any]:
    return {name: figures_data(figures) for name, figures in found.items()}


def _finding_data(found: Finding) -> dict[str, Any]:
    rule = found.rule
    return {
        "rule": rule.id,
        "name": rule.name,
        "level": found.level,
        "consequence": rule.consequence,
        "kind": found.kind,
        "where": found.where,
        "op": found.op or None,
        "message": found.text,
        "only_cann": found.only or None,
        "fix": list(found.fixes),
        "source": rule.source,
        "date": rule.date,
    }


def rule_data(rule: Rule) -> dict[str, Any]:
    """Return what a rule file says of a rule."""
    return {
        "id": rule.id,
        "name": rule.name,
        "file": rule.path,
        "summary": rule.summary,
        "why": rule.why,
        "consequence": rule.consequence,
        "level": rule.level,
        "source": rule.source,
        "date": rule.date,
        "cann": rule.cann.text or None,
        "basis": rule.basis or None,
        "devices": list(rule.devices),
        "ops": list(rule.ops),
        "native": rule.native,
        "where": [where.text for where in rule.wheres],
        "message": rule.message.text,
        "fix": list(rule.fix),
        "advice": rule.advice,
        "cases": [
            {"name": c.name, "graph": c.graph, "found": list(c.found), "opset": c.opset, "target": dict(c.target)}
            for c in rule.cases
        ],
    }


def check_report(result: CheckResult) -> finding.Report:
    """Return the report of a check: a row a rule that was found, a finding a place."""
    checked = result.latest
    file = str(result.request.model)
    items = []
    for rule, found in _by_rule(checked.findings):
        failed = any(f.level == "error" or (f.level == "warning" and result.request.strict) for f in found)
        cells = (found[0].level, rule.consequence, str(len(found)), ", ".join(found[0].fixes))
        items.append(finding.Item(rule.id, "failed" if failed else "passed", cells, rule.summary))
    findings = tuple(_reported(found, file) for found in checked.findings)
    columns = ("rule", "level", "consequence", "places", "fix")
    data = document("check", check_data(result))
    return finding.Report("check", file, result.ok, _counts(checked), columns, tuple(items), findings, data)


def _reported(found: Finding, file: str) -> finding.Finding:
    rule = found.rule
    text = f"{found.text} (fix: {', '.join(found.fixes)})" if found.fixes else found.text
    summary = f"{rule.summary}: {CONSEQUENCES[rule.consequence][1]}"
    return finding.Finding(rule.id, found.level, text, file, found.where, _PAGE.format(rule.id), summary)
