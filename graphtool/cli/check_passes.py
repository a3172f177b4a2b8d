"""``graphtool passes``: list, show, test; explain, new, docs and schema are in modules of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from graphtool.cli import passes_docs, passes_explain, passes_new
from graphtool.cli.common import Json, dump, progress

app = typer.Typer(help="The catalogue of passes.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_passes(json: Json = False) -> None:
    """List every pass with its promise, the project's own too."""
    from graphtool.report.passes import catalog_data, print_catalog
    from graphtool.rewrite import Catalog

    found = Catalog().listing()
    if json:
        dump("passes-list", {"passes": catalog_data(found)})
    else:
        print_catalog(found)


@app.command("show")
def show_pass(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)], json: Json = False) -> None:
    """Show one pass: what it does, why, its parameters and cases."""
    from graphtool.report.console import print_pass
    from graphtool.report.data import pass_data
    from graphtool.rewrite import Catalog

    spec = Catalog().get(name)
    if json:
        dump("passes-show", pass_data(spec))
    else:
        print_pass(spec)


@app.command("test", short_help="Run the cases of pass files.")
def test_passes(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR|FILE|NAME]",
            help="Pass files to test; by default the shipped ones and those in ./passes.",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail where a condition is needed by no case, or no case is left unchanged."),
    ] = False,
    json: Json = False,
) -> None:
    """Run the cases of pass files: the graph after, the promise about numbers, and that a second run does nothing."""
    from graphtool.cases import chosen
    from graphtool.cases_child import run_guarded
    from graphtool.report.console import print_cases
    from graphtool.report.data import case_data

    if what is not None:  # a file that cannot be used is said like every other one, before anything runs
        catalog, entries = chosen(what)
        if len(entries) == 1:
            catalog.get(str(entries[0].path))
    with progress() as watch:
        results = list(run_guarded(what, strict, watch))
    if json:
        cases = [case_data(result) for result in results]
        dump("passes-test", {"ok": all(case["ok"] for case in cases), "cases": cases})
    else:
        print_cases(results)
    if any(result.fault for result in results):
        raise typer.Exit(1)


app.command("explain", short_help="Show where a pass matches, and why not elsewhere.")(passes_explain.explain)
app.command("new", short_help="Write a pass file to start from.")(passes_new.new)
app.command("docs", short_help="Write a page for each pass.")(passes_docs.docs)
app.command("schema", short_help="Print the JSON schema of pass files.")(passes_docs.schema)
