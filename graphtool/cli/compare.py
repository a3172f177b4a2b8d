"""``graphtool compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import FeedFiles, Json, Reports, Seed, Shapes, dump, progress
from graphtool.cli.run import Max, Min

Maps = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="A=B", help="Output (or input) A of the first model is B of the second."),
]


def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="AFTER", show_default=False)],
    seed: Seed = 0,
    feed: FeedFiles = None,
    shape: Shapes = None,
    min_: Min = None,
    max_: Max = None,
    report: Reports = None,
    map_: Maps = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show every inner tensor that both compute.")] = False,
    json: Json = False,
) -> None:
    """Run two models on one feed and compare their outputs; exit code 1 where a budget does not hold.

    Where an output is further off than noise explains (or over its budget), the first inner tensor that diverges is
    named, with the nodes that make it on both sides; names may differ throughout.
    """
    from graphtool import job
    from graphtool.atc.target import shapes_of
    from graphtool.comparator import compare_models
    from graphtool.errors import PromiseError
    from graphtool.graph import Graph
    from graphtool.parity.runnable import runnable
    from graphtool.report.compare import compare_report, comparison_data, print_comparison
    from graphtool.report.files import wanted, write
    from graphtool.rewrite import Catalog

    places = wanted(report or (), json, [before, after])
    budgets = job.budgets_of(min_ or (), max_ or ())
    graphs = [Graph.load(before), Graph.load(after)]
    for graph in graphs:
        job.sound(graph)
    meanings = Catalog().semantics()
    a, b = (runnable(graph, meanings) for graph in graphs)
    with progress() as watch:
        found = compare_models(
            a, b, feed=job.feed_for(a, feed, seed, ()).arrays if feed else None, seed=seed,
            shapes=shapes_of(shape or ()), maps=map_ or (), budgets=budgets, layers=layers, watch=watch,
        )  # fmt: skip
    shown = write(compare_report(str(before), str(after), found, layers), places)
    if json:
        dump("compare", comparison_data(found, layers))
    elif not shown:
        print_comparison(found, layers)
    if found.broken:
        raise PromiseError(f"over the budget: {found.broken[0]}")
