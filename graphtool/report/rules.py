"""Rules as text and as the pages of docs/rules. Floor 7."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from graphtool.errors import show
from graphtool.lint.rule import CONSEQUENCES, LEVELS, Case, Rule
from graphtool.report.pages import GENERATED, cell, dedented, fenced, prose, wrapped
from graphtool.report.printing import line

_INTRO = """{count} rules, for Ascend 310 first. Each says what is looked for, what the target makes of it, from
which source and as of when, and the pass that helps. Nothing was tried on a device. `graphtool check MODEL --profile
NAME` applies them, `graphtool rules show RULE` says the same on a terminal. How rules are written:
[check.md](../check.md).
"""


def print_rules(rules: Sequence[Rule]) -> None:
    """Print the catalogue."""
    rows = [("rule", "level", "finding", "fix", "summary")]
    for rule in rules:
        fix = f"{rule.fix[0]}{' ...' if len(rule.fix) > 1 else ''}" if rule.fix else ""
        rows.append((rule.id, rule.level, rule.consequence, fix, rule.summary))
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        line("  ".join(f"{word:<{width}}" for word, width in zip(row, wide, strict=False)) + "  " + row[4])


def print_rule(rule: Rule) -> None:
    """Print one rule."""
    line(f"{rule.id} {rule.name}: {rule.summary}", "bold")
    for text in textwrap.wrap(rule.why, 110):
        line(text)
    for text in _facts(rule):
        line(f"- {text}")
    for text in _condition(rule):
        line(f"    {text}")
    for case in rule.cases:
        found = ", ".join(case.found) or "nothing"
        line(f"case: {show(case.name)} (opset {case.opset}{_given(case)}): {found}", "bold")
        for text in dedented(case.graph).splitlines():
            line(f"    {text}")


def _facts(rule: Rule) -> Iterator[str]:
    yield f"finding: {rule.consequence} ({CONSEQUENCES[rule.consequence][1]}); {rule.level}"
    yield f"source: {rule.source}"
    yield f"as of: {rule.date}"
    if rule.cann.text:
        yield f"CANN: {rule.cann.text} ({rule.basis})"
    if rule.devices:
        yield f"devices: {', '.join(rule.devices)}"
    yield f"fix: {', '.join(rule.fix) or 'no pass'}"
    if rule.advice:
        yield f"advice: {rule.advice}"


def _condition(rule: Rule) -> Iterator[str]:
    if rule.native is not None:
        yield f"native = {rule.native}"
    if rule.ops:
        yield f"op = {', '.join(rule.ops)}"
    if rule.pattern is not None:
        nodes = rule.pattern.nodes
        text = "  ".join(f"{', '.join(n.outputs)} = {'|'.join(n.op_types)}({', '.join(n.inputs)})" for n in nodes)
        yield f"match = {text}"
    yield from (f"let {name} = {expression.text}" for name, expression in rule.lets)
    yield from (f"where {where.text}" for where in rule.wheres)


def _given(case: Case) -> str:
    return "".join(f", {key} = {show(value)}" for key, value in case.target.items())


# -- pages


def rule_pages(rules: Sequence[Rule]) -> dict[str, str]:
    """Return the text of each page by file name: index.md, and one for each rule."""
    return {"index.md": _index(rules), **{f"{rule.id}.md": _page(rule) for rule in rules}}


def _index(rules: Sequence[Rule]) -> str:
    lines = [f"<!-- generated from atc_profiles/rules/*.toml {GENERATED.format('rules')}", "# Rules", ""]
    lines += [_INTRO.format(count=len(rules)), "| finding | level by default | what happens |", "|---|---|---|"]
    lines += [f"| {name} | {level} | {text} |" for name, (level, text) in CONSEQUENCES.items()]
    for level in LEVELS:
        group = [rule for rule in rules if rule.level == level]
        lines += ["", f"## {level.capitalize()}s", "", "| rule | what it finds | finding | fix |", "|---|---|---|---|"]
        for rule in group:
            fixes = ", ".join(f"[{word}](../passes/{word.partition(':')[0]}.md)" for word in rule.fix)
            lines.append(f"| [{rule.id}]({rule.id}.md) | {cell(rule.summary)} | {rule.consequence} | {fixes} |")
    return "\n".join(lines) + "\n"


def _page(rule: Rule) -> str:
    head = f"<!-- generated from atc_profiles/{rule.path} {GENERATED.format('rules')}\n# {rule.id}: {rule.name}"
    blocks = [head, prose(rule.summary) + ".", wrapped(rule.why)]
    facts = [f"- {prose(text)}." for text in _facts(rule) if not text.startswith(("fix:", "advice:"))]
    links = ", ".join(f"[{word}](../passes/{word.partition(':')[0]}.md)" for word in rule.fix) or "no pass"
    blocks.append("\n".join([*facts, f"- fix: {links}." + (f" {prose(rule.advice)}" if rule.advice else "")]))
    blocks += ["## What it looks for", fenced("\n".join(_condition(rule))), f"Message: {prose(rule.message.text)}"]
    blocks.append("## Cases")
    for case in rule.cases:
        found = ", ".join(f"`{show(name)}`" for name in case.found)
        blocks += [f"### {prose(case.name)}", f"Opset {case.opset}{prose(_given(case))}.", fenced(dedented(case.graph))]
        blocks.append(f"found at {found}." if found else "nothing is found.")
    return "\n\n".join(blocks) + "\n"
