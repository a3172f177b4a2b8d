"""``graphtool check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import (
    AtcOptions,
    Batches,
    FeedFiles,
    Json,
    Model,
    Profile,
    Reports,
    Seed,
    Shapes,
    Soc,
    dump,
    progress,
    words_of,
)

Prefixes = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="RULE,RULE", help="Only rules whose id begins so, such as RSZ or AVG003."),
]
Ignored = Annotated[list[str] | None, typer.Option("--ignore", metavar="RULE,RULE", help="Not the rules of such ids.")]


def check(
    model: Model,
    profile: Profile = None,
    soc: Soc = None,
    cann: Annotated[
        str | None, typer.Option("--cann", metavar="RELEASE", help="In place of the profile's, such as 5.0.2.alpha003.")
    ] = None,
    batch: Batches = None,
    atc: AtcOptions = None,
    select: Prefixes = None,
    ignore: Ignored = None,
    run: Annotated[
        bool, typer.Option("--run", help="Run the model on a drawn feed and look at activations too.")
    ] = False,
    feed: FeedFiles = None,
    shape: Shapes = None,
    seed: Seed = 0,
    fix: Annotated[bool, typer.Option("--fix", help="Run the passes that help, each under parity.")] = False,
    unsafe_fixes: Annotated[
        bool, typer.Option("--unsafe-fixes", help="Those too that change numbers, inputs or outputs.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Of --fix. Default: STEM.graphtool.onnx here.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings too.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="List every place, and what could not be decided.")] = False,
    report: Reports = None,
    json: Json = False,
) -> None:
    """Find what the target refuses, runs on AI CPU, computes otherwise or slows down, before ATC runs."""
    from graphtool.atc.target import Target
    from graphtool.checking import CheckRequest, check_model
    from graphtool.errors import UsageError
    from graphtool.report.checks import check_data, check_report, print_check
    from graphtool.report.files import wanted, write

    if output is not None and not (fix or unsafe_fixes):
        raise UsageError("-o names the fixed model; give --fix with it")
    target = Target(profile, soc, batch, tuple(atc or ()))
    request = CheckRequest(
        model, target, cann, words_of(select), words_of(ignore), run, tuple(feed or ()), tuple(shape or ()), seed,
        fix or unsafe_fixes, unsafe_fixes, output, strict,
    )  # fmt: skip
    places = wanted(report or (), json, [model, *([output] if output else [])])
    with progress() as watch:
        result = check_model(request, watch)
        shown = bool(places) and write(check_report(result), places)
    if json:
        dump("check", check_data(result))
    elif not shown:
        print_check(result, all_)
    if not result.ok:
        raise typer.Exit(1)
