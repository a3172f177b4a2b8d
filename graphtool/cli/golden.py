"""``graphtool golden``: record, check, update, list."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphtool.cli.common import FeedFiles, Json, Reports, Seed, Shapes, dump, pipeline_of, progress

if TYPE_CHECKING:
    from graphtool.golden.recording import Asked
    from graphtool.graph import Graph
    from graphtool.parity.feed import Feed

app = typer.Typer(
    help="Recorded outputs against which a model is checked.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
AnyModel = Annotated[
    Path | None, typer.Argument(metavar="MODEL", help="An ONNX model; by default the record's.", show_default=False)
]
Folder = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the records are.")]
Variable = Annotated[
    str | None, typer.Option("--from-env", metavar="NAME", help="The environment variable that names the model.")
]
Command = Annotated[
    str | None, typer.Option("--from-command", metavar="COMMAND", help="A command that writes the model to {model}.")
]
Passes = Annotated[
    list[str] | None,
    typer.Option("--from-run", metavar="PASSES", help="Run a pipeline and keep the graph after each pass."),
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="PASS.PARAM=VALUE", help="A parameter of a pass.")]
DataSet = Annotated[bool, typer.Option("--data-set", help="Keep inputs and outputs too, as an ONNX test_data_set.")]
Commands = Annotated[
    bool,
    typer.Option("--allow-commands", help="Run a record's command even where it is not graphtool's."),
]


@app.command("record", short_help="Record what a model is and computes.")
def record(
    name: Name,
    model: AnyModel = None,
    from_env: Variable = None,
    from_command: Command = None,
    from_run: Passes = None,
    set_: Settings = None,
    seed: Seed = 0,
    feed: FeedFiles = None,
    shape: Shapes = None,
    data_set: DataSet = False,
    dir_: Folder = Path("golden"),
) -> None:
    """Record what a model is and computes, under a new name; where the model is found again goes into the record."""
    from graphtool.golden.recording import prepare_record
    from graphtool.report.printing import line

    asked = _asked(
        model, from_env, from_command, pipeline_of(from_run), set_, _feed(feed, seed, shape, always=True), data_set
    )
    with progress() as watch:
        watch("running the model")
        made = prepare_record(name, dir_, asked)
        path = made.write()
    if made.warning:
        line(f"note: {made.warning}", "yellow")
    line(f"wrote {path}")


@app.command("update", short_help="Record anew, after showing what changes.")
def update(
    name: Name,
    model: AnyModel = None,
    from_env: Variable = None,
    from_command: Command = None,
    from_run: Passes = None,
    set_: Settings = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, metavar="N", help="Another seed.")] = None,
    feed: FeedFiles = None,
    shape: Shapes = None,
    data_set: DataSet = False,
    dir_: Folder = Path("golden"),
    allow_commands: Commands = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Record anew under a name that exists, after showing what changes: model, pipeline, feed as before or as named."""
    from graphtool.errors import UsageError
    from graphtool.golden.recording import prepare_update
    from graphtool.guard.phases import waits
    from graphtool.report.printing import line

    given = _feed(feed, seed or 0, shape, always=seed is not None or bool(feed or shape))
    asked = _asked(model, from_env, from_command, pipeline_of(from_run), set_, given, data_set, allow_commands)
    with progress() as watch:
        watch("running the model")
        made = prepare_update(name, dir_, asked)
        changes = made.changes()
    if not changes:
        line(f"golden {name}: nothing changes")
        return
    for text in changes:
        line(text, {"+": "green", "-": "red"}.get(text.strip()[:1], ""))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here (stdin is no terminal); --yes replaces the record")
        waits()
        if not typer.confirm("replace the record?", err=True):
            raise typer.Exit(1)
    line(f"wrote {made.write()}")


@app.command("check", short_help="Check models against their records.")
def check_golden(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A record, or a folder with ONNX test_data_sets.", show_default=False),
    ] = None,
    model: AnyModel = None,
    feed: FeedFiles = None,
    dir_: Folder = Path("golden"),
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, max=256, metavar="N", help="Records at a time; default: cores.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Skip a record whose model is not here; else that is an error.")
    ] = False,
    allow_commands: Commands = False,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="As --report junit:FILE.")] = None,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Check a model against a record, or without a name all of them; exit code 1 where one does not hold.

    Without MODEL each record finds or makes its own, and runs its pipeline again.
    """
    from graphtool.errors import UsageError
    from graphtool.golden.checking import Options
    from graphtool.golden.suite import check_goldens
    from graphtool.report.files import wanted, write
    from graphtool.report.golden import golden_data, golden_report, print_golden, print_goldens

    if feed and name is None:
        raise UsageError("--feed is for one record: name it")
    places = wanted([*(report or ()), *([f"junit:{junit}"] if junit else [])], json, [model] if model else [])
    with progress() as watch:
        folder, entries = check_goldens(
            name, dir_, model, _feed(feed, 0, None, always=False), Options(allow_missing, allow_commands), jobs, watch
        )  # fmt: skip
    shown = write(golden_report(entries, folder), places)
    if json:
        dump("golden-check", golden_data(entries))
    elif not shown:
        if name is not None and len(entries) == 1:
            print_golden(entries[0])
        else:
            print_goldens(entries)
    if not all(entry["ok"] for entry in entries):
        raise typer.Exit(1)


@app.command("list")
def list_goldens(dir_: Folder = Path("golden"), json: Json = False) -> None:
    """List the records: of which model, through which pipeline."""
    from graphtool.golden.suite import read_all
    from graphtool.report.golden import print_records, record_data
    from graphtool.report.printing import line

    found = read_all(dir_)
    if json:
        dump("golden-list", {"dir": str(dir_), "records": [record_data(name, kept) for name, kept in found]})
    elif found:
        print_records(found)
    else:
        line(f"no records in {dir_}")


def _feed(
    files: Sequence[str] | None, seed: int, shapes: Sequence[str] | None, always: bool
) -> Callable[..., Feed | None]:
    def given(graph: Graph, variant: int = 0) -> Feed | None:
        from graphtool.request import feed_for

        return feed_for(graph, files or (), seed, shapes or (), variant) if always or files else None

    return given


def _asked(
    model: Path | None,
    variable: str | None,
    command: str | None,
    passes: str | None,
    settings: Sequence[str] | None,
    feed: Callable[..., Feed | None],
    data_set: bool,
    commands: bool = False,
) -> Asked:
    from graphtool.golden.recording import Asked
    from graphtool.request import settings as read

    return Asked(model, variable, command, passes, read(settings or ()), feed, data_set, commands)
