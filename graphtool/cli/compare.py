"""``graphtool compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import FeedFiles, Json, Reports, Seed, Shapes, dump, progress
from graphtool.cli.run import Max, Min


def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="AFTER", show_default=False)],
    seed: Seed = 0,
    feed: FeedFiles = None,
    shape: Shapes = None,
    min_: Min = None,
    max_: Max = None,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Run two models on one feed and compare their outputs; exit code 1 where a budget does not hold."""
    from graphtool import api, job
    from graphtool.errors import PromiseError, show
    from graphtool.graph import Graph
    from graphtool.parity.budget import broken
    from graphtool.report.console import figure_text, line
    from graphtool.report.data import compare_data
    from graphtool.report.files import wanted, write
    from graphtool.report.reports import compare_report

    places = wanted(report or (), json, [before, after])
    budgets = job.budgets_of(min_ or (), max_ or ())
    graphs = [Graph.load(before), Graph.load(after)]
    for graph in graphs:
        job.sound(graph)
    with progress() as watch:
        watch("running both models")
        arrays = job.feed_for(graphs[0], feed or (), seed, shape or ()).arrays
        found = api.compare(*graphs, feed=arrays)
    reasons = broken(budgets, found)
    shown = write(compare_report(str(before), str(after), found, reasons), places)
    if json:
        dump("compare", compare_data(found, reasons))
    elif not shown:
        for name, figures in found.items():
            line(f"{show(name)}: {figure_text(figures)}")
    if reasons:
        raise PromiseError(f"over the budget: {reasons[0]}")
