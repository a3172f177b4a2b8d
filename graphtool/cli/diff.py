"""``graphtool diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import Json, dump


def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="AFTER", show_default=False)],
    json: Json = False,
) -> None:
    """Show what changed between two models; exit code 0 where they are the same, 1 where they differ."""
    from graphtool.diff import diff as difference
    from graphtool.graph import Graph
    from graphtool.report.console import print_diff
    from graphtool.request import sound

    graphs = [Graph.load(before), Graph.load(after)]
    for graph in graphs:
        sound(graph)
    found = difference(*graphs)
    if json:
        dump("diff", found.to_json())
    else:
        print_diff(found)
    if not found.same:
        raise typer.Exit(1)
