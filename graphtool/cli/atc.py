"""``graphtool atc``: emit, explain, docs; aipp, diagnose and patch are in modules of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli import atc_aipp, atc_logs
from graphtool.cli.common import AtcOptions, Batches, Cann, Json, Model, Profile, Shapes, Soc, dump, progress

app = typer.Typer(help="ATC command lines; graphtool never runs atc.", no_args_is_help=True, rich_markup_mode=None)


app.add_typer(atc_aipp.app, name="aipp")
app.add_typer(atc_logs.patch_app, name="patch")
app.command("diagnose", short_help="Say what a log of atc means, and which nodes.")(atc_logs.diagnose)


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
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write a script, a Makefile (.mk) or .json.")
    ] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not run the model at each batch.")] = False,
    json: Json = False,
) -> None:
    """Print the commands that convert a model, checked against it; with -o write them as a script.

    A batch at which the model does not run, or mixes its items, gets no command, and the exit code is 1.
    """
    from graphtool.atc.target import Target, write_script
    from graphtool.batches import Gated, gated, unchecked
    from graphtool.errors import PromiseError
    from graphtool.graph import Graph
    from graphtool.report.console import print_commands
    from graphtool.report.data import batch_data, command_data
    from graphtool.report.printing import line
    from graphtool.request import sound
    from graphtool.rewrite import Catalog

    target = Target(profile, soc, batch, tuple(atc or ()))
    found = target.check()
    graph = Graph.load(model)
    sound(graph)
    commands = target.commands(graph, model, tuple(shape or ()))
    with progress() as watch:
        watch("running the batches")
        gate = Gated(unchecked(commands, graph), []) if no_check else gated(commands, graph, Catalog().semantics())
    written = output is not None and bool(gate.commands)
    if output is not None and written:
        write_script(output, gate.commands, found, model)
    if json:
        listed = [command_data(command) for command in gate.commands]
        dump("atc-emit", {"commands": listed, "batches": [batch_data(result) for result in gate.batches]})
    else:
        print_commands(gate.commands, batches=gate.batches)
        if written:
            line(f"wrote {output}")
    if gate.fault:
        sys.stdout.flush()
        raise PromiseError(gate.fault)


@app.command("explain", short_help="Explain atc commands that exist, and say what ATC refuses.")
def explain(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A script, a readme or a line; '-' is stdin.", show_default=False)
    ],
    cann: Cann = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="MODEL", help="Also hold names and sizes against this model.")
    ] = None,
    to_profile: Annotated[
        Path | None, typer.Option("--to-profile", metavar="FILE", help="Write a profile that says the same.")
    ] = None,
    json: Json = False,
) -> None:
    """Explain every atc command in a file: each option, each violation with ATC's code, and the fix."""
    from graphtool.atc.existing import read_text, run_explain, write_profile
    from graphtool.report.atc import explained_data, print_explained
    from graphtool.report.printing import line

    found = run_explain(read_text(file), file, cann, model)
    if to_profile is not None:
        write_profile(to_profile, found)
    wrong = any(one.wrong for one in found)
    if json:
        commands = [explained_data(one) for one in found]
        dump("atc-explain", {"file": file, "ok": not wrong, "cann": cann, "commands": commands})
    else:
        print_explained(found)
        if to_profile is not None:
            line(f"wrote {to_profile}")
    raise typer.Exit(1 if wrong else 0)


@app.command("docs", short_help="Write the page of ATC's options.")
def docs(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where the page goes.")] = Path("docs/atc_options.md"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where the page differs.")] = False,
) -> None:
    """Write the page of ATC's options, their relations and CANN's releases, from the tables."""
    from graphtool.errors import show
    from graphtool.graph.save import write_text
    from graphtool.report.atc_options import page
    from graphtool.report.printing import line

    text = page()
    same = file.is_file() and file.read_text(encoding="utf-8", errors="replace") == text
    if check:
        line(f"{show(file)}: {'is right' if same else 'differs; graphtool atc docs'}", "" if same else "red")
        raise typer.Exit(0 if same else 1)
    write_text(file, text)
    line(f"{show(file)}: written" if not same else f"{show(file)}: was right")
