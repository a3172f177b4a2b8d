"""``graphtool bisect``."""

from __future__ import annotations

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
from graphtool.cli.run import Max, Min, Passes, Settings, Truth


def bisect(
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
    truth: Truth = False,
    rank: Annotated[
        bool, typer.Option("--rank", help="Rank the matches of lossy passes: each alone, and all without it.")
    ] = False,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Find the pass, and the match of it, that breaks a promise or a budget; exit code 1 where one is broken."""
    from graphtool import finding
    from graphtool.atc.target import Target
    from graphtool.report.culprit import bisected_data, print_bisected, print_ranks, ranks_data
    from graphtool.report.files import wanted, write
    from graphtool.report.searches import bisected_report, ranks_report
    from graphtool.request import Request

    request = Request(
        model, pipeline_of(passes), tuple(set_ or ()), Target(profile), seed=seed, feed=tuple(feed or ()), feeds=feeds,
        extremes=extremes, shapes=tuple(shape or ()), minima=tuple(min_ or ()), maxima=tuple(max_ or ()), truth=truth,
    )  # fmt: skip
    places = wanted(report or (), json, [model])
    if rank:
        with progress() as watch:
            ranks = finding.run_rank(request, watch)
        shown = bool(places) and write(ranks_report(ranks), places)
        if json:
            dump("rank", ranks_data(ranks))
        elif not shown:
            print_ranks(ranks)
        return
    with progress() as watch:
        found = finding.run_bisect(request, watch)
    shown = bool(places) and write(bisected_report(found), places)
    if json:
        dump("bisect", bisected_data(found))
    elif not shown:
        print_bisected(found)
    if not found.finding.whole.ok:
        raise typer.Exit(1)
