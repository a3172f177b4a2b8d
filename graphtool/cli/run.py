"""``graphtool run`` and ``graphtool optimize``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphtool.cli.common import (
    AtcOptions,
    Batches,
    Extremes,
    FeedCount,
    FeedFiles,
    ImageBgr,
    ImageMean,
    ImageStd,
    Json,
    Model,
    Pictures,
    Profile,
    Reports,
    SaveOutputs,
    Seed,
    Shapes,
    Soc,
    dump,
    pipeline_of,
    progress,
)

if TYPE_CHECKING:
    from graphtool.report.files import Wanted
    from graphtool.request import Request

Out = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: STEM.graphtool.onnx here.")]
Min = Annotated[
    list[str] | None,
    typer.Option(
        "--min",
        metavar="METRIC=X",
        help="Least cosine, argmax_agreement, top5_agreement, miou, agreement (of labels), snr or psnr (dB): "
        "cosine=0.99, OUTPUT:cosine=0.99, or PASS/OUTPUT:cosine=0.99 for what one pass changes.",
    ),
]
Max = Annotated[
    list[str] | None,
    typer.Option(
        "--max",
        metavar="METRIC=X",
        help="Most max, mean, median, q90, q99 or q999 of _abs or _rel: max_abs=1e-3, OUTPUT:q99_rel=1e-2, "
        "PASS/max_abs=1e-3.",
    ),
]
Passes = Annotated[
    list[str] | None,
    typer.Option("--passes", "-p", metavar="NAME,NAME", help="Passes in order; parameters as NAME:PARAM=VALUE."),
]
Truth = Annotated[
    bool, typer.Option("--truth", help="Hold close passes against double precision, match by match, always.")
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="PASS.PARAM=VALUE", help="A parameter of a pass.")]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not run the model: no promise is checked.")]
KeepGoing = Annotated[bool, typer.Option("--keep-going", help="Roll a broken pass back and go on; still exit 1.")]


def run(
    model: Model,
    passes: Passes = None,
    output: Out = None,
    set_: Settings = None,
    profile: Profile = None,
    soc: Soc = None,
    batch: Batches = None,
    shape: Shapes = None,
    atc: AtcOptions = None,
    seed: Seed = 0,
    feed: FeedFiles = None,
    feeds: FeedCount = None,
    extremes: Extremes = False,
    image_mean: ImageMean = None,
    image_std: ImageStd = None,
    image_bgr: ImageBgr = False,
    min_: Min = None,
    max_: Max = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would match, and where not, and why.")
    ] = False,
    keep_going: KeepGoing = False,
    truth: Truth = False,
    require_match: Annotated[bool, typer.Option("--require-match", help="Exit 1 if a pass matches nothing.")] = False,
    no_check: NoCheck = False,
    save_outputs: SaveOutputs = None,
    pictures: Pictures = None,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Apply passes, check each with onnxruntime, write the result and the ATC command lines."""
    from graphtool.atc.target import Target
    from graphtool.kept import Keep
    from graphtool.parity.feed_images import parse_preprocess
    from graphtool.request import Request

    asked = image_mean or image_std or image_bgr
    images = parse_preprocess(image_mean, image_std, image_bgr) if asked else None  # as the profile says
    request = Request(
        model, pipeline_of(passes), tuple(set_ or ()), Target(profile, soc, batch, tuple(atc or ())), output, seed,
        feed=tuple(feed or ()), feeds=feeds, extremes=extremes, shapes=tuple(shape or ()), minima=tuple(min_ or ()),
        maxima=tuple(max_ or ()), keep_going=keep_going, checked=not no_check, require_match=require_match, truth=truth,
        keep=Keep(save_outputs, pictures) if save_outputs or pictures else None, preprocess=images,
    )  # fmt: skip
    if dry_run:
        _dry_run(request, json, report or ())
    else:
        _run(request, "run", json, report or ())


def optimize(
    model: Model,
    output: Out = None,
    seed: Seed = 0,
    feed: FeedFiles = None,
    feeds: FeedCount = None,
    extremes: Extremes = False,
    shape: Shapes = None,
    min_: Min = None,
    max_: Max = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would match.")] = False,
    no_check: NoCheck = False,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Make a model smaller without changing what it computes: the 'optimize' pass, no target."""
    from graphtool.request import Request

    request = Request(
        model, "optimize", out=output, seed=seed, feed=tuple(feed or ()), feeds=feeds, extremes=extremes,
        shapes=tuple(shape or ()), minima=tuple(min_ or ()), maxima=tuple(max_ or ()), checked=not no_check,
    )  # fmt: skip
    if dry_run:
        _dry_run(request, json, report or ())
    else:
        _run(request, "optimize", json, report or ())


def _dry_run(request: Request, json: bool, report: Sequence[str]) -> None:
    from graphtool import pipeline
    from graphtool.errors import PromiseError, UsageError
    from graphtool.report.console import print_dry_run
    from graphtool.report.data import step_data
    from graphtool.request import prepare, sound

    if report:
        raise UsageError("--report says what a run came to, and --dry-run runs nothing; use --json")
    with progress() as watch:
        watch("matching")
        graph, stages, catalog, _ = prepare(request)
        sound(graph)
        steps = pipeline.dry_run(graph, stages, catalog)
    if json:
        dump("dry-run", {"model": str(request.model), "dry_run": True, "steps": [step_data(step) for step in steps]})
    else:
        print_dry_run(steps)
    unmatched = [step.name for step in steps if not step.matches]
    if request.require_match and unmatched:
        raise PromiseError(f"{unmatched[0]} matches nothing, and --require-match was given")


def _run(request: Request, command: str, json: bool, report: Sequence[str]) -> None:
    from graphtool import job
    from graphtool.errors import PromiseError
    from graphtool.report.console import print_result

    places: list[Wanted] = []
    if report:
        from graphtool.report.files import wanted, write
        from graphtool.report.reports import run_report

        places = wanted(report, json, [request.model, *([request.out] if request.out else [])])
    with progress() as watch:
        result = job.run(request, watch)
        shown = bool(places) and write(run_report(result, command), places)
    if json:
        from graphtool.report.data import result_data

        dump("run", result_data(result))
    elif not shown:
        print_result(result)
    if result.fault:
        sys.stdout.flush()
        raise PromiseError(result.fault)
