"""``graphtool reduce``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import FeedFiles, Json, Model, Profile, Reports, Seed, Shapes, dump, pipeline_of, progress
from graphtool.cli.run import Max, Min, Passes, Settings, Truth


class Level(StrEnum):
    """Optimizations of onnxruntime."""

    off = "off"
    all = "all"


def reduce(
    model: Model,
    passes: Passes = None,
    against: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="A model that should compute the same, and does not.")
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="A command that fails: {} is the model's file, {feed} a .npz."),
    ] = None,
    fail_regex: Annotated[
        str | None, typer.Option(metavar="REGEX", help="What the failing command of --check must print.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="A new folder. Default: STEM.reduced here.")
    ] = None,
    set_: Settings = None,
    profile: Profile = None,
    shape: Shapes = None,
    seed: Seed = 0,
    feed: FeedFiles = None,
    min_: Min = None,
    max_: Max = None,
    truth: Truth = False,
    level: Annotated[Level, typer.Option(help="onnxruntime's optimizations, where it alone fails.")] = Level.all,
    seconds: Annotated[float, typer.Option(min=1, metavar="N", help="Time for one model; then it hangs.")] = 60,
    attempts: Annotated[int, typer.Option(min=1, metavar="N", help="Most models to try.")] = 1000,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Find the smallest model that still fails, and write it with its feed and a command, for a bug report.

    What fails: a pass (--passes), the agreement with another model (--against), a command (--check), or, with none of
    these, onnxruntime. Each model is tried in a child process with limits.
    """
    from graphtool.atc.target import Target
    from graphtool.reduction import Wish, run_reduce
    from graphtool.report.files import wanted, write
    from graphtool.report.reduced import print_reduced, reduced_data
    from graphtool.report.searches import reduced_report
    from graphtool.request import Request

    request = Request(
        model, pipeline_of(passes), tuple(set_ or ()), Target(profile), output, seed, tuple(feed or ()),
        shapes=tuple(shape or ()), minima=tuple(min_ or ()), maxima=tuple(max_ or ()), truth=truth,
    )  # fmt: skip
    wish = Wish(request, against, check or "", fail_regex or "", level.value, seconds, attempts)
    places = wanted(report or (), json, [model, *([against] if against else [])])
    with progress() as watch:
        found = run_reduce(wish, watch)
    shown = bool(places) and write(reduced_report(found), places)
    if json:
        dump("reduce", reduced_data(found))
    elif not shown:
        print_reduced(found)
