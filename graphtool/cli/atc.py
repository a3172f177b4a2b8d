"""``graphtool atc``: emit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import AtcOptions, Batches, Json, Model, Profile, Shapes, Soc, dump

app = typer.Typer(help="ATC command lines; graphtool never runs atc.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("emit", short_help="Print the commands that convert a model.")
def emit(
    model: Model,
    profile: Profile = None,
    soc: Soc = None,
    batch: Batches = None,
    shape: Shapes = None,
    atc: AtcOptions = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write a shell script that can be run.")
    ] = None,
    json: Json = False,
) -> None:
    """Print the commands that convert a model, checked against it; with -o write them as a script."""
    from graphtool.atc.target import Target, write_script
    from graphtool.graph import Graph
    from graphtool.job import sound
    from graphtool.report.console import line, print_commands
    from graphtool.report.data import command_data

    target = Target(profile, soc, batch, tuple(atc or ()))
    found = target.check()
    graph = Graph.load(model)
    sound(graph)
    commands = target.commands(graph, model, tuple(shape or ()))
    if output is not None:
        write_script(output, commands, found, model)
    if json:
        dump("atc-emit", {"commands": [command_data(command) for command in commands]})
        return
    print_commands(commands)
    if output is not None:
        line(f"wrote {output}")
