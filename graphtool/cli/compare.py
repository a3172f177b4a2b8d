"""``graphtool compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphtool.cli.common import (
    Extremes,
    FeedFiles,
    ImageBgr,
    ImageMean,
    ImageStd,
    Json,
    Pictures,
    Reports,
    SaveOutputs,
    Seed,
    Shapes,
    dump,
    progress,
)
from graphtool.cli.run import Max, Min

if TYPE_CHECKING:
    from graphtool.graph import Graph
    from graphtool.request import Request

Feeds = Annotated[
    int | None,
    typer.Option(
        "--feeds", min=1, max=1000, metavar="N", help="Compare on N drawn feeds. Default: one, none beside --feed."
    ),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="A=B",
        help="Output (or input) A of the first model is B of the second; for a folder NUMBER=OUTPUT.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--inputs", metavar="DIR", help="The samples' inputs; one folder per input, in order or INPUT=DIR."),
]
PyTorch = Annotated[
    Path | None, typer.Option("--pytorch", metavar="DIR", help="PyTorch's outputs on the same samples.")
]
Dtypes = Annotated[
    list[str] | None, typer.Option("--dtype", metavar="TYPE", help="Element type of the files; or OUTPUT=TYPE.")
]


def compare(
    before: Annotated[Path, typer.Argument(metavar="MODEL", show_default=False)],
    after: Annotated[Path | None, typer.Argument(metavar="MODEL|DIR", show_default=False)] = None,
    seed: Seed = 0,
    feed: FeedFiles = None,
    feeds: Feeds = None,
    extremes: Extremes = False,
    image_mean: ImageMean = None,
    image_std: ImageStd = None,
    image_bgr: ImageBgr = False,
    shape: Shapes = None,
    min_: Min = None,
    max_: Max = None,
    map_: Maps = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show the inner tensors, too.")] = False,
    inputs: Inputs = None,
    pytorch: PyTorch = None,
    dtype: Dtypes = None,
    as_ascend: Annotated[
        bool, typer.Option("--as-ascend", help="Against a model of the Ascend 310, from public sources.")
    ] = False,
    save_outputs: SaveOutputs = None,
    pictures: Pictures = None,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Compare what two models compute, or a model and the output files of a board, or a model of the chip.

    MODEL MODEL: both run on one feed, or on several (--feeds, --extremes, --feed given again), of which the worst
    counts. Where an output is further off than rounding explains (or over its budget), the first inner tensor that
    diverges is named, with the nodes that make it on both sides; names may differ throughout. Exit code 1 where
    one is.

    MODEL DIR --inputs DIR: files as benchmark, msame or ais_bench write them against onnxruntime on the same inputs,
    and who is at fault: the conversion, the export (--pytorch DIR), or neither. Exit code 1 where somebody is, or a
    file is missing.

    MODEL --as-ascend: against a model of what the Ascend 310 computes, in float16 and with its plugins' semantics where
    they differ from ONNX. From public sources of a stated date; nothing was tried on a device.
    """
    from graphtool.errors import UsageError
    from graphtool.kept import Keep
    from graphtool.parity.feed_images import parse_preprocess
    from graphtool.request import Request

    images = image_mean or image_std or image_bgr
    if as_ascend or after is None or after.is_dir() or inputs:
        several = {"--feeds": feeds, "--extremes": extremes, "--image-mean, --image-std or --image-bgr": images}
        _fits({"--save-outputs": save_outputs, "--pictures": pictures, **several}, "they are for two models")
    if as_ascend and not inputs:
        idle = {"--map": map_, "--pytorch": pytorch, "--dtype": dtype}
        _fits({"a second model": after, **idle}, "--as-ascend takes one model and a feed, or a folder and --inputs")
        _ascend(before, seed, feed, shape, layers, (min_, max_), report, json)
    elif after is None:
        raise UsageError("compare a model with what: another model, a board's folder with --inputs DIR, or --as-ascend")
    elif after.is_dir() or inputs:
        _fits({"--layers": layers, "--feed": feed, "--seed": seed}, "a model and a folder are compared on --inputs")
        if not inputs:
            raise UsageError("a model and a board's files are compared on the inputs of the board: give --inputs DIR")
        _board(before, after, inputs, pytorch, dtype, shape, map_, (min_, max_), as_ascend, report, json)
    else:
        _fits({"--pytorch": pytorch, "--dtype": dtype}, "they are about a folder of files, given as the second word")
        how = parse_preprocess(image_mean, image_std, image_bgr) if images else None
        request = Request(
            before, seed=seed, feed=tuple(feed or ()), feeds=feeds, extremes=extremes, preprocess=how,
            keep=Keep(save_outputs, pictures) if save_outputs or pictures else None,
            shapes=tuple(shape or ()), minima=tuple(min_ or ()), maxima=tuple(max_ or ()),
        )  # fmt: skip
        _models(request, after, map_, layers, report, json)


def _fits(words: dict[str, object], why: str) -> None:
    from graphtool.errors import UsageError

    idle = [word for word, given in words.items() if given]
    if idle:
        raise UsageError(f"{', '.join(idle)}: {why}")


def _loaded(path: Path) -> Graph:
    """Return the model in a file as onnxruntime is to run it."""
    from graphtool.graph import Graph
    from graphtool.parity.runnable import runnable
    from graphtool.request import sound
    from graphtool.rewrite import Catalog

    graph = Graph.load(path)
    sound(graph)
    return runnable(graph, Catalog().semantics())


def _models(
    request: Request, after: Path, maps: list[str] | None, layers: bool, report: list[str] | None, json: bool
) -> None:
    from graphtool.atc.target import shapes_of
    from graphtool.comparator import compare_drawn, trials_for
    from graphtool.errors import PromiseError
    from graphtool.kept import Pairs
    from graphtool.parity.feed import Feed
    from graphtool.parity.feed_sets import feeds_from
    from graphtool.parity.trials import Trial
    from graphtool.report.compare import compare_report, comparison_data, print_comparison
    from graphtool.report.files import wanted, write
    from graphtool.report.printing import line
    from graphtool.request import budgets_of

    before, keep = request.model, request.keep
    if keep is not None:
        keep.check()
    places = wanted(report or (), json, [before, after])
    budgets = budgets_of(request.minima, request.maxima)
    a, b = _loaded(before), _loaded(after)
    given = feeds_from(request.feed, a, request.preprocess) if request.feed else []
    kept: list[tuple[str, Pairs]] = []

    def hold(feed: Feed, pairs: Pairs) -> None:
        if keep is not None:
            kept.append((feed.text(), pairs))

    def drawn(variant: int) -> list[Trial]:
        return trials_for(
            a, b, maps or (), [Trial(feed, must=True) for feed in given], request.seed, shapes_of(request.shapes),
            request.feeds, request.extremes, variant,
        )  # fmt: skip

    with progress() as watch:
        found = compare_drawn(
            a, b, drawn, maps=maps or (), budgets=budgets, layers=layers, watch=watch, keep=hold
        )  # fmt: skip
        hints = keep.write(kept) if keep is not None and kept else []
    shown = write(compare_report(str(before), str(after), found, layers), places)
    if json:
        dump("compare", comparison_data(found, layers))
    elif not shown:
        print_comparison(found, layers)
        for hint in hints:
            line(hint, "cyan")
    if found.fault:
        raise PromiseError(found.fault)


def _board(
    model: Path, folder: Path, inputs: list[str], pytorch: Path | None, dtypes: list[str] | None,
    shape: list[str] | None, maps: list[str] | None, bounds: tuple[list[str] | None, list[str] | None],
    as_ascend: bool, report: list[str] | None, json: bool,
) -> None:  # fmt: skip
    from graphtool.atc.ascend_model import with_semantics
    from graphtool.atc.target import shapes_of
    from graphtool.comparator.board import compare_board
    from graphtool.comparator.board_types import read_dtypes, read_numbers
    from graphtool.errors import PromiseError
    from graphtool.report.board import board_data, board_report, fault_text, print_board, print_board_chip
    from graphtool.report.files import wanted, write
    from graphtool.request import budgets_of

    places = wanted(report or (), json, [model])
    budgets = budgets_of(bounds[0] or (), bounds[1] or ())
    graph = _loaded(model)
    kinds = read_dtypes(dtypes or (), [value.name for value in graph.outputs])
    other, changes = with_semantics(graph) if as_ascend else (graph, [])
    with progress() as watch:
        found, chip = (
            compare_board(
                one, folder, inputs, pytorch=pytorch, dtypes=kinds, maps=read_numbers(maps or ()),
                shapes=shapes_of(shape or ()), budgets=budgets, watch=watch,
            )
            if one is graph or changes else None
            for one in (graph, other)
        )  # fmt: skip
    assert found is not None
    shown = write(board_report(str(model), found), places)
    if json:
        dump("compare-board", board_data(found, (changes, chip) if as_ascend else None))
    elif not shown:
        print_board(found)
        if as_ascend:
            print_board_chip(changes, chip)
    if fault_text(found):
        raise PromiseError(fault_text(found))


def _ascend(
    model: Path, seed: int, feed: list[str] | None, shape: list[str] | None, by_layer: bool,
    bounds: tuple[list[str] | None, list[str] | None], report: list[str] | None, json: bool,
) -> None:  # fmt: skip
    from graphtool.atc.ascend_layers import layers
    from graphtool.atc.ascend_model import compare_ascend
    from graphtool.errors import PromiseError
    from graphtool.parity.budget import broken
    from graphtool.report.ascend import ascend_data, ascend_report, print_ascend, print_layers
    from graphtool.report.files import wanted, write
    from graphtool.request import budgets_of, feed_for

    places = wanted(report or (), json, [model])
    budgets = budgets_of(bounds[0] or (), bounds[1] or ())
    graph = _loaded(model)
    given = feed_for(graph, feed or (), seed, shape or ())
    with progress() as watch:
        found = compare_ascend(graph, given.arrays, watch)
        rows = layers(graph, given.arrays, watch) if by_layer and not found.fault else None
    reasons = tuple(broken(budgets, found.both)) if budgets else ()
    shown = write(ascend_report(str(model), found, reasons), places)
    if json:
        dump("compare-ascend", ascend_data(found, reasons, rows))
    elif not shown:
        print_ascend(found, given.text())
        if rows is not None:
            print_layers(rows)
    if reasons:
        raise PromiseError(f"over the budget: {reasons[0]}")
