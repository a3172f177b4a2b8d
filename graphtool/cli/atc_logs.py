"""``graphtool atc diagnose`` and ``graphtool atc patch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import Batches, Cann, Json, Model, Profile, dump

patch_app = typer.Typer(
    help="Changes of vendor files, as diffs that can be taken back.", no_args_is_help=True, rich_markup_mode=None
)


@patch_app.callback()
def _group() -> None:
    pass


def diagnose(
    log: Annotated[str, typer.Argument(metavar="LOG", help="What atc printed or logged; '-' is stdin.")],
    model: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help="The model that was compiled: its nodes are named.")
    ] = None,
    profile: Profile = None,
    batch: Batches = None,
    json: Json = False,
) -> None:
    """Say what codes and known messages of a log mean, what causes them and what helps; with MODEL which nodes."""
    from graphtool.atc.diagnose import diagnose
    from graphtool.atc.existing import read_text
    from graphtool.report.atc_logs import diagnosis_data, print_diagnosis

    found = diagnose(read_text(log), model, profile, batch)
    if json:
        dump("atc-diagnose", {"log": log, "model": str(model) if model else None, **diagnosis_data(found)})
    else:
        print_diagnosis(found)


@patch_app.command("five_2_four", short_help="Add a model's outputs to TransData's white list.")
def five_2_four(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The vendor's five_2_four.py.", show_default=False)],
    profile: Profile = None,
    batch: Batches = None,
    cann: Cann = None,
    write: Annotated[bool, typer.Option("--write", help="Change the file; the original is kept beside it.")] = False,
    revert: Annotated[bool, typer.Option("--revert", help="Put the original back.")] = False,
    tell: Annotated[
        bool, typer.Option("--print", help="Also print the shape there, which `atc diagnose` looks for.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the lines to add as a unified diff; with --write change the file, with --revert take it back.

    The list is consulted in CANN releases of about 2021-05 to 2021-09 only (5.0.1 and 5.0.2); elsewhere it says "not
    applicable". Shapes that are there already are not added again.
    """
    from graphtool.atc.diagnose import run_patch
    from graphtool.report.atc_logs import patch_data, print_patch

    found = run_patch(model, file, profile, batch, cann, write, revert, tell)
    if json:
        dump("atc-patch", patch_data(found))
    else:
        print_patch(found)
