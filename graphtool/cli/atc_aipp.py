"""``graphtool atc aipp``: write, check, apply."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphtool.cli.common import Json, dump

app = typer.Typer(help="AIPP: image preprocessing on the chip.", no_args_is_help=True, rich_markup_mode=None)

Against = Annotated[Path | None, typer.Option("--model", metavar="MODEL", help="Hold it against this model's input.")]
Size = Annotated[str | None, typer.Option(metavar="H,W", help="Height and width of the image.")]
Rank = Annotated[int, typer.Option("--input", min=0, metavar="N", help="Which input of the model, from 0.")]


@app.command("write", short_help="Write a configuration from mean, deviation and sizes.")
def write(
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="imagenet (torchvision's), cityscapes (the ICNet guide's, the same) or none."
        ),
    ] = None,
    mean: Annotated[str | None, typer.Option(metavar="A,B,C", help="Mean by channel of the model.")] = None,
    std: Annotated[str | None, typer.Option(metavar="A,B,C", help="Standard deviation by channel.")] = None,
    scale: Annotated[float, typer.Option(metavar="X", help="What a pixel is divided by before mean and std.")] = 255.0,
    layout: Annotated[
        str, typer.Option("--format", metavar="NAME", help="How the image lies in memory.")
    ] = "RGB888_U8",
    size: Size = None,
    crop: Annotated[str | None, typer.Option(metavar="T,L,H,W", help="The part that the model sees.")] = None,
    order: Annotated[str, typer.Option(metavar="rgb|bgr", help="Order of colours in the image.")] = "rgb",
    model_order: Annotated[str, typer.Option(metavar="rgb|bgr", help="Order that the model was trained on.")] = "rgb",
    csc: Annotated[str, typer.Option(metavar="NAME", help="Colours of YUV: jpeg or bt601-narrow.")] = "jpeg",
    rank: Rank = 0,
    model: Against = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout.")] = None,
) -> None:
    """Write a configuration: (pixel / scale - mean) / std; and say what changes for the input file."""
    from graphtool.atc.aipp_files import Words, written
    from graphtool.report.atc import print_findings
    from graphtool.report.printing import line

    words = Words(preset, mean, std, scale, layout, size, crop, order, model_order, csc, rank)
    text, notes, found = written(words, model, output)
    for note in notes:
        line(f"# {note}", "yellow")
    wrong = any(one.level == "error" for one in found)
    print_findings(found)
    if output is None:
        print(text, end="")
    elif not wrong:
        line(f"wrote {output}")
    raise typer.Exit(1 if wrong else 0)


@app.command("check", short_help="Check a configuration, and say what it does.")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A configuration; '-' is stdin.", show_default=False)],
    model: Against = None,
    dynamic_size: Annotated[
        bool, typer.Option("--dynamic-image-size", help="The model is compiled with dynamic_image_size.")
    ] = False,
    json: Json = False,
) -> None:
    """Check fields, types, sizes and order of a configuration; with --model against its input too."""
    from graphtool.atc.aipp_files import checked, steps
    from graphtool.atc.existing import read_text
    from graphtool.report.atc import finding_data, print_findings
    from graphtool.report.printing import line

    ops, found = checked(read_text(file), model, dynamic_size)
    wrong = any(one.level == "error" for one in found)
    if json:
        listed = [{"line": op.line, "fields": op.values, "steps": steps(op)} for op in ops]
        findings = [finding_data(one) for one in found]
        dump("atc-aipp-check", {"file": file, "ok": not wrong, "ops": listed, "findings": findings})
    else:
        for op in ops:
            line(
                f"line {op.line}: aipp_op for input {op.get('related_input_name', '') or op.get('related_input_rank')}"
            )
            for place, step in enumerate(steps(op), 1):
                line(f"  {place}. {step}")
        print_findings(found)
        line("cannot be used" if wrong else "can be used", "red" if wrong else "green")
    raise typer.Exit(1 if wrong else 0)


@app.command("apply", short_help="Compute what the model is fed for an image.")
def apply(
    file: Annotated[str, typer.Argument(metavar="CONFIG", help="A configuration.", show_default=False)],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="uint8: .npy or raw .bin.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .npy for --feed, or .bin.")],
    size: Size = None,
    rank: Rank = 0,
    half: Annotated[bool, typer.Option("--float16", help="Round as float16, which the chip computes in.")] = False,
) -> None:
    """Take an image through AIPP on the CPU, by the formulas of the manuals, and write the model's float32 input."""
    from graphtool.atc.aipp_files import applied, save
    from graphtool.atc.existing import read_text
    from graphtool.report.printing import line

    found = applied(read_text(file), image, rank, size, half)
    save(output, found)
    line(f"wrote {output}: float32{list(found.shape)}, {found.min():.6g} to {found.max():.6g}")
