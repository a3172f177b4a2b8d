"""``graphtool passes``: list, show, test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import Json, dump, progress

app = typer.Typer(help="The catalogue of passes.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_passes(json: Json = False) -> None:
    """List every pass with its promise."""
    from graphtool.report.console import print_passes
    from graphtool.report.data import pass_data
    from graphtool.rewrite import Catalog

    catalog = Catalog()
    specs = [catalog.get(name) for name in catalog.names]
    if json:
        dump([pass_data(spec) for spec in specs])
    else:
        print_passes(specs)


@app.command("show")
def show_pass(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)], json: Json = False) -> None:
    """Show one pass: what it does, why, its parameters and cases."""
    from graphtool.report.console import print_pass
    from graphtool.report.data import pass_data
    from graphtool.rewrite import Catalog

    spec = Catalog().get(name)
    if json:
        dump(pass_data(spec))
    else:
        print_pass(spec)


@app.command("test", short_help="Run the cases of pass files.")
def test_passes(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Pass files to test; the shipped ones by default.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where a condition is needed by no case.")] = False,
    json: Json = False,
) -> None:
    """Run the cases of pass files: the graph after, the promise about numbers, and that a second run does nothing."""
    from graphtool.cases import catalog_of, run_cases, undertested
    from graphtool.report.console import print_cases
    from graphtool.report.data import case_data
    from graphtool.rewrite import Catalog

    catalog = Catalog() if folder is None else catalog_of(folder)
    names = catalog.names if folder is None else sorted(path.stem for path in folder.glob("*.toml"))
    results = []
    with progress() as watch:
        for name in names:
            watch(f"pass {name}")
            results += list(run_cases(catalog, [name]))
            if strict:
                results += list(undertested(catalog, name))
    if json:
        dump([case_data(result) for result in results])
    else:
        print_cases(results)
    if any(result.fault for result in results):
        raise typer.Exit(1)
