"""``graphtool passes docs`` and ``graphtool passes schema``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def docs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the pages go.")] = Path("docs/passes"),
    of: Annotated[
        Path | None,
        typer.Option("--of", metavar="DIR", help="Pass files; by default those in ./passes or else the shipped."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where the pages differ.")] = False,
) -> None:
    """Write a page for each pass, and an index, from the pass files; pages of passes that are gone are removed."""
    from graphtool.cases import catalog_of
    from graphtool.data import data_dir
    from graphtool.errors import show
    from graphtool.report.pages import pages, stale, write
    from graphtool.report.printing import line

    source = of or (Path("passes") if any(Path("passes").glob("*.toml")) else data_dir("passes"))
    catalog = catalog_of(source)
    wanted = pages([catalog.get(str(path)) for path in sorted(source.glob("*.toml"))], catalog)
    if check:
        faults = stale(folder, wanted)
        for fault in faults:
            line(fault, "red")
        line(f"{show(folder)}: {f'{len(faults)} differ' if faults else f'{len(wanted)} pages are right'}")
        raise typer.Exit(1 if faults else 0)
    written, gone = write(folder, wanted)
    line(f"{show(folder)}: {len(wanted)} pages, {len(written)} written, {len(gone)} removed", "bold")


def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout.")] = None,
) -> None:
    """Print the JSON schema of pass files, with which an editor completes and checks them."""
    import json

    from graphtool.graph.save import write_text
    from graphtool.rewrite.schema import schema as found

    text = json.dumps(found(), indent=2, ensure_ascii=True) + "\n"
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
