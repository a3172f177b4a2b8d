"""``graphtool passes new``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """What a new pass does it with."""

    REWRITE = "rewrite"
    EDIT = "edit"
    REGION = "region"
    BOUNDARY = "boundary"
    NATIVE = "native"
    SEQUENCE = "sequence"


def _flag(kind: Kind, text: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(f"--{kind}", help=text)
    return found


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="In lower case with underscores.", show_default=False)],
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where to; passes in DIR 'passes' can be named in that folder.")
    ] = Path("passes"),
    rewrite: Annotated[bool, _flag(Kind.REWRITE, "A pattern and what takes its place (the default).")] = False,
    edit: Annotated[bool, _flag(Kind.EDIT, "Attributes of every node of a kind.")] = False,
    region: Annotated[bool, _flag(Kind.REGION, "Another form of computing on connected nodes.")] = False,
    boundary: Annotated[bool, _flag(Kind.BOUNDARY, "The model's inputs and outputs.")] = False,
    native: Annotated[bool, _flag(Kind.NATIVE, "A function of an installed distribution.")] = False,
    sequence: Annotated[bool, _flag(Kind.SEQUENCE, "Passes in order as one.")] = False,
) -> None:
    """Write a commented pass file that passes its own cases, to start from; nothing is overwritten."""
    from graphtool.errors import UsageError, show
    from graphtool.report.printing import line
    from graphtool.rewrite.template import create

    flags = (rewrite, edit, region, boundary, native, sequence)
    asked = [kind for kind, flag in zip(Kind, flags, strict=True) if flag]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]} exclude each other: a pass has one kind of body")
    path = create(name, asked[0] if asked else Kind.REWRITE, folder)
    line(f"wrote {show(path)}", "bold")
    line(f"  graphtool passes test {show(folder)}")
    line(f"  graphtool passes explain {name if folder == Path('passes') else show(path)} MODEL.onnx")
