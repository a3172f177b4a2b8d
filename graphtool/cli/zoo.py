"""``graphtool zoo``: icnet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import progress

app = typer.Typer(help="Reference networks with seeded weights.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("icnet", short_help="Build ICNet with seeded weights.")
def icnet(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.", show_default=False)],
    height: Annotated[int, typer.Option(help="Pixels.")] = 1024,
    width: Annotated[int, typer.Option(help="Pixels.")] = 2048,
    batch: Annotated[int, typer.Option(help="Images.")] = 1,
    pool: Annotated[
        str, typer.Option(help="Pyramid pooling: avg (the guide's), adaptive (custom op) or exact.")
    ] = "avg",
) -> None:
    """Build ICNet (arXiv 1704.08545) with seeded weights: the graph of the deployment guide, without torch."""
    from graphtool.report.printing import line
    from graphtool.zoo.icnet import write_icnet

    with progress() as watch:
        watch("building ICNet")
        write_icnet(out, height, width, batch, pool)
    line(f"wrote {out}")
