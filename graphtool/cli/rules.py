"""``graphtool rules``: list, show, test, docs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import Json, dump, progress, words_of

app = typer.Typer(help="The catalogue of rules of a target.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_rules(json: Json = False) -> None:
    """List every rule with what its finding means and the pass that helps."""
    from graphtool.lint.rulefile import shipped_rules
    from graphtool.report.checks import rule_data
    from graphtool.report.rules import print_rules

    rules = shipped_rules()
    if json:
        dump("rules-list", {"rules": [rule_data(rule) for rule in rules]})
    else:
        print_rules(rules)


@app.command("show", short_help="Show one rule: condition, source, fix, cases.")
def show_rule(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="An id or a name, such as AVG003.", show_default=False)],
    json: Json = False,
) -> None:
    """Show one rule: the condition, what happens, the source and its date, the fix, the cases."""
    from graphtool.lint.rulefile import find, shipped_rules
    from graphtool.report.checks import rule_data
    from graphtool.report.rules import print_rule

    found = find(shipped_rules(), rule)
    if json:
        dump("rules-show", rule_data(found))
    else:
        print_rule(found)


@app.command("test", short_help="Run the cases of the rules.")
def test_rules(
    select: Annotated[
        list[str] | None, typer.Option("--select", metavar="RULE,RULE", help="Only rules whose id begins so.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Rule files in place of the shipped ones.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where a condition is needed by no case.")] = False,
    json: Json = False,
) -> None:
    """Run the cases of rules: each is found at just the nodes that its cases name."""
    from graphtool.lint.cases import run_cases
    from graphtool.lint.rulefile import load_rules, selected, shipped_rules
    from graphtool.report.console import print_cases

    rules = selected(load_rules(folder) if folder is not None else shipped_rules(), words_of(select), ())
    with progress() as watch:
        watch("cases")
        results = list(run_cases(rules, strict))
    ok = not any(result.fault for result in results)
    if json:
        cases = [{"rule": r.spec, "case": r.case, "ok": not r.fault, "fault": r.fault} for r in results]
        dump("rules-test", {"ok": ok, "cases": cases})
    else:
        print_cases(results)
    if not ok:
        raise typer.Exit(1)


@app.command("docs", short_help="Write a page for each rule.")
def docs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the pages go.")] = Path("docs/rules"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where the pages differ.")] = False,
) -> None:
    """Write a page for each rule, and an index, from the rule files; pages of rules that are gone are removed."""
    from graphtool.errors import show
    from graphtool.lint.rulefile import shipped_rules
    from graphtool.report.pages import stale, write
    from graphtool.report.printing import line
    from graphtool.report.rules import rule_pages

    wanted = rule_pages(shipped_rules())
    if check:
        faults = stale(folder, wanted, "rule")
        for fault in faults:
            line(fault, "red")
        line(f"{show(folder)}: {f'{len(faults)} differ' if faults else f'{len(wanted)} pages are right'}")
        raise typer.Exit(1 if faults else 0)
    written, gone = write(folder, wanted)
    line(f"{show(folder)}: {len(wanted)} pages, {len(written)} written, {len(gone)} removed", "bold")
