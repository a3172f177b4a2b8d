"""``graphtool tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import (
    Extremes,
    FeedCount,
    FeedFiles,
    Json,
    Model,
    Profile,
    Reports,
    Seed,
    Shapes,
    dump,
    pipeline_of,
    progress,
)
from graphtool.cli.run import Max, Min, Passes, Settings


def tune(
    model: Model,
    passes: Passes = None,
    set_: Settings = None,
    profile: Profile = None,
    shape: Shapes = None,
    seed: Seed = 0,
    feed: FeedFiles = None,
    feeds: FeedCount = None,
    extremes: Extremes = False,
    min_: Min = None,
    max_: Max = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            "--held-out", metavar="SEED|FILE", help="A feed to verify on. Default: the two seeds after --seed."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.toml", help="Write a profile with the pipeline.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the metric against matches taken: .png, .svg.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not rank the matches: take them in order. For hundreds of them.")
    ] = False,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Find the most matches of lossy passes that keep a budget, and verify them on other feeds."""
    from graphtool import finding
    from graphtool.atc.target import Target
    from graphtool.report.culprit import plot_tuned, print_tuned, tuned_data
    from graphtool.report.files import wanted, write
    from graphtool.report.pictures import require
    from graphtool.report.searches import tuned_report
    from graphtool.request import Request

    if plot is not None:
        require()
    request = Request(
        model, pipeline_of(passes), tuple(set_ or ()), Target(profile), output, seed, tuple(feed or ()), feeds,
        extremes, shapes=tuple(shape or ()), minima=tuple(min_ or ()), maxima=tuple(max_ or ()),
    )  # fmt: skip
    places = wanted(report or (), json, [model, *([output] if output else [])])
    with progress() as watch:
        found = finding.run_tune(request, held_out or (), plot is not None, quick, watch)
    if plot is not None:
        plot_tuned(found, plot)
    shown = bool(places) and write(tuned_report(found), places)
    if json:
        dump("tune", tuned_data(found))
    elif not shown:
        print_tuned(found)
