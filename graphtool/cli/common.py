"""Options that commands share, and progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX model.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Reports = Annotated[
    list[str] | None,
    typer.Option(
        "--report",
        metavar="FORMAT:FILE",
        help="Write a report: json, junit, sarif, github or markdown; FILE - is stdout, in place of the text.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, metavar="N", help="Seed of the drawn feed.")]
FeedFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--feed",
        metavar="FILE",
        help="Inputs from a .npz, .npy, .bin, a folder of them or an ONNX test_data_set; NAME=FILE for one input. "
        "Given several times, or a folder of several: each is judged on. Images too.",
    ),
]
FeedCount = Annotated[
    int | None,
    typer.Option(
        "--feeds", min=1, max=1000, metavar="N",
        help="Judge on N drawn feeds. Default: two for a small model, one for any other, none beside --feed.",
    ),
]  # fmt: skip
Extremes = Annotated[bool, typer.Option("--extremes", help="Judge also on zeros, large, negative and bounding values.")]
ImageMean = Annotated[
    str | None, typer.Option("--image-mean", metavar="R,G,B", help="Of images given with --feed, pixels from 0 to 1.")
]
ImageStd = Annotated[str | None, typer.Option("--image-std", metavar="R,G,B", help="Their deviation.")]
ImageBgr = Annotated[bool, typer.Option("--image-bgr", help="Their channels in the order blue, green, red.")]
SaveOutputs = Annotated[
    Path | None,
    typer.Option("--save-outputs", metavar="DIR", help="Keep the outputs before and after for graphtool judge."),
]
Pictures = Annotated[
    Path | None, typer.Option("--pictures", metavar="DIR", help="Draw histograms of errors and error maps (.png).")
]
Shapes = Annotated[
    list[str] | None, typer.Option("--shape", metavar="NAME:DIMS", help="An input's shape, such as x:1,3,224,224.")
]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="A profile, such as icnet_ascend310, or its .toml.")]
Soc = Annotated[str | None, typer.Option(metavar="NAME", help="The device for ATC, in place of a profile.")]
Cann = Annotated[str | None, typer.Option(metavar="VERSION", help="The CANN release to judge by, such as 5.0.2.")]
Batches = Annotated[str | None, typer.Option("--batch", metavar="N,N", help="Batches for ATC, such as 1,4,8,16.")]
AtcOptions = Annotated[
    list[str] | None, typer.Option("--atc", metavar="OPTION=VALUE", help="An ATC option; an empty value drops it.")
]


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show what is under way on stderr, where that is a terminal, and tell the supervisor."""
    from graphtool import guard

    if not sys.stderr.isatty():
        yield guard.begin
        return
    from rich.console import Console
    from rich.text import Text

    from graphtool.errors import show

    with Console(stderr=True).status("starting") as status:

        def watch(text: str) -> None:
            guard.begin(text)
            status.update(Text(show(text)))

        yield watch


def dump(kind: str, data: Mapping[str, Any]) -> None:
    """Print a document on stdout as JSON; its ``kind`` is described in ``graphtool/report/schema.py``."""
    from graphtool.report.data import document, dumps

    print(dumps(document(kind, data)))


def pipeline_of(given: list[str] | None) -> str | None:
    """Return the pipeline of ``--passes``; given again, it goes on."""
    return ",".join(given) if given else None


def words_of(given: list[str] | None) -> tuple[str, ...]:
    """Return the words of an option that takes several, apart by commas or given again."""
    return tuple(word.strip() for one in given or () for word in one.split(",") if word.strip())
