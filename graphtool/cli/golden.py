"""``graphtool golden``: record, check, update, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import FeedFiles, Json, Model, Seed, Shapes, dump, progress

app = typer.Typer(
    help="Recorded outputs against which a model is checked.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Folder = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the records are.")]


@app.command("record")
def record(
    name: Name,
    model: Model,
    seed: Seed = 0,
    feed: FeedFiles = None,
    shape: Shapes = None,
    dir_: Folder = Path("golden"),
) -> None:
    """Record what a model is and computes, under a new name."""
    _write(name, model, seed, feed, shape, dir_, replace=False)


@app.command("update")
def update(
    name: Name,
    model: Model,
    seed: Seed = 0,
    feed: FeedFiles = None,
    shape: Shapes = None,
    dir_: Folder = Path("golden"),
) -> None:
    """Record anew under a name that exists."""
    _write(name, model, seed, feed, shape, dir_, replace=True)


def _write(
    name: str, model: Path, seed: int, feed: list[str] | None, shape: list[str] | None, folder: Path, replace: bool
) -> None:
    from graphtool import golden
    from graphtool.graph import Graph
    from graphtool.job import feed_for, sound
    from graphtool.report.console import line

    graph = Graph.load(model)
    sound(graph)
    with progress() as watch:
        watch("running the model")
        given = feed_for(graph, feed or (), seed, shape or ())
        path = (golden.update if replace else golden.record)(name, graph, model, given, folder)
    line(f"wrote {path}")


@app.command("check", short_help="Check a model against a record.")
def check_golden(
    name: Name, model: Model, feed: FeedFiles = None, dir_: Folder = Path("golden"), json: Json = False
) -> None:
    """Check a model against a record; exit code 1 where it does not hold."""
    from graphtool import golden
    from graphtool.graph import Graph
    from graphtool.job import feed_for, sound
    from graphtool.report.console import print_golden
    from graphtool.report.data import golden_data

    graph = Graph.load(model)
    sound(graph)
    with progress() as watch:
        watch("running the model")
        given = feed_for(graph, feed, 0, ()) if feed else None
        found = golden.check(name, graph, folder=dir_, feed=given)
    if json:
        dump("golden-check", {"ok": found.ok, "records": [golden_data(found)]})
    else:
        print_golden(found)
    if not found.ok:
        raise typer.Exit(1)


@app.command("list")
def list_goldens(dir_: Folder = Path("golden"), json: Json = False) -> None:
    """List the records."""
    from graphtool import golden
    from graphtool.report.console import line

    names = golden.list_goldens(dir_)
    if json:
        dump("golden-list", {"dir": str(dir_), "records": [{"name": name, "fault": ""} for name in names]})
    else:
        for name in names:
            line(name)
        if not names:
            line(f"no records in {dir_}")
