"""AIPP on files: a configuration from words, one that exists explained, an image taken through it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.atc import aipp, aipp_cpu, aipp_make
from graphtool.atc.aipp import Aipp
from graphtool.atc.finding import Finding
from graphtool.errors import UsageError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.graph.save import replacing, write_text

_COLOURS = ("rgb", "bgr")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of ``atc aipp write``; None where one is not given."""

    preset: str | None = None
    mean: str | None = None
    std: str | None = None
    scale: float = 255.0
    layout: str = "RGB888_U8"
    size: str | None = None
    crop: str | None = None
    order: str = "rgb"
    model_order: str = "rgb"
    csc: str = "jpeg"
    rank: int = 0


def written(words: Words, model: Path | None, out: Path | None) -> tuple[str, list[str], list[Finding]]:
    """Return the text of a configuration, what changes for the input file, and what does not fit the model.

    With ``out`` it is written there; an existing file of another content is not overwritten.
    """
    shape = _shape(model, words.rank) if model is not None else None
    op = aipp_make.make(_wish(words, shape))
    text = aipp.write([op])
    graph = Graph.load(model) if model is not None else None
    found = [*aipp.check([op]), *(aipp_cpu.against([op], graph) if graph is not None else ())]
    if out is not None and not any(one.level == "error" for one in found):
        if out.exists() and (not out.is_file() or out.read_bytes() != text.encode()):
            raise UsageError(f"{quoted(out)} is there already, and says something else; rename or remove it")
        write_text(out, text)
    return text, aipp_make.input_notes(op, shape), found


def _wish(words: Words, shape: tuple[int, ...] | None) -> aipp_make.Wish:
    for name, word in (("--order", words.order), ("--model-order", words.model_order)):
        if word not in _COLOURS:
            raise UsageError(f"{name}: {quoted(word)} is not one of {', '.join(_COLOURS)}")
    if words.csc not in aipp_make.MATRICES:
        raise UsageError(f"--csc: {quoted(words.csc)} is not one of {', '.join(aipp_make.MATRICES)}")
    if words.preset is not None and words.preset not in aipp_make.PRESETS:
        hint = did_you_mean(words.preset, aipp_make.PRESETS)
        raise UsageError(f"--preset: {quoted(words.preset)} is not one of {', '.join(aipp_make.PRESETS)}{hint}")
    mean, std = aipp_make.PRESETS[words.preset or "none"]
    if words.preset is None and (words.mean is None or words.std is None):
        raise UsageError("give --preset, or --mean and --std in units of --scale (0.485,0.456,0.406)")
    crop = _numbers("--crop", words.crop, 4) if words.crop else None
    size = _numbers("--size", words.size, 2) if words.size else None
    if size is None and crop is None and shape is not None:
        size = shape[2:]
    return aipp_make.Wish(
        mean=_floats("--mean", words.mean) if words.mean else mean,
        std=_floats("--std", words.std) if words.std else std,
        scale=words.scale,
        layout=words.layout,
        size=(size[0], size[1]) if size else None,
        crop=(crop[0], crop[1], crop[2], crop[3]) if crop else None,
        swap=words.order != words.model_order,
        csc=words.csc,
        rank=words.rank,
    )


def _numbers(name: str, text: str, count: int) -> tuple[int, ...]:
    parts = text.replace("x", ",").split(",")
    if len(parts) != count or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        form = "HEIGHT,WIDTH" if count == 2 else "TOP,LEFT,HEIGHT,WIDTH"
        raise UsageError(f"{name}: {quoted(text)} is not {form}")
    return tuple(int(part) for part in parts)


def _floats(name: str, text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{name}: {quoted(text)} is not NUMBER,NUMBER,NUMBER") from None
    if not all(np.isfinite(found)):
        raise UsageError(f"{name}: {quoted(text)} holds a number that is not finite")
    return found


def _shape(model: Path, rank: int) -> tuple[int, ...] | None:
    inputs = Graph.load(model).inputs
    if rank >= len(inputs):
        raise UsageError(f"--input {rank}: the model has {len(inputs)} inputs, counted from 0")
    dims = inputs[rank].shape
    if dims is None or len(dims) != 4:
        raise UsageError(f"input {quoted(inputs[rank].name)} is {inputs[rank].type_text()}; AIPP feeds four dimensions")
    sized = [dim if isinstance(dim, int) else 0 for dim in dims]
    return tuple(sized) if all(sized[1:]) else None


def checked(text: str, model: Path | None, dynamic_size: bool) -> tuple[list[Aipp], list[Finding]]:
    """Return the operators of a configuration and all that is to be said of them."""
    ops, found = aipp.read(text)
    found += aipp.check(ops, dynamic_size)
    if model is not None:
        found += aipp_cpu.against(ops, Graph.load(model))
    return ops, found


def steps(op: Aipp) -> list[str]:
    """Say what a configuration does, step by step in the order of work."""
    if op.get("aipp_mode") == "dynamic":
        return ["dynamic: a program sets everything at run time"]
    words = [f"reads {op.get('input_format', 'an unnamed format')}"]
    size = [op.get(f"src_image_size_{side}") for side in "hw"]
    words[0] += f" of {size[0]}x{size[1]}" if all(size) else ", as large as the model's input"
    if op.get("rbuv_swap_switch", False):
        words.append("exchanges the first and third channel (U and V for YUV)")
    if op.get("crop", False):
        at = [op.get(f"load_start_pos_{side}") for side in "hw"]
        words.append(f"cuts {op.get('crop_size_h')}x{op.get('crop_size_w')} at {at[0]},{at[1]}")
    if op.get("csc_switch", False):
        words.append("converts colours by the matrix")
    triples = [op.channels(name, 3, 1.0 if name == "var_reci_chn" else 0.0) for name in _NORMAL]
    if any(triples[0]) or any(triples[1]) or triples[2] != [1.0] * 3:
        less = ", ".join(f"{a + b:g}" for a, b in zip(*triples[:2], strict=True))
        words.append(f"subtracts {less} and multiplies by {', '.join(f'{value:.6g}' for value in triples[2])}")
    if op.get("padding", False):
        sides = ", ".join(str(op.get(f"{side}_padding_size")) for side in ("top", "bottom", "left", "right"))
        words.append(f"adds a border of {sides} (top, bottom, left, right)")
    return words


_NORMAL = ("mean_chn", "min_chn", "var_reci_chn")


def applied(text: str, image: Path, rank: int, size: str | None, half: bool) -> NDArray[np.float32]:
    """Return what the model is fed for an image file: ``.npy`` (uint8, [H,W,C] or [N,H,W,C]) or raw ``.bin``."""
    ops, found = aipp.read(text)
    wrong = next((one for one in found if one.level == "error"), None)
    if wrong is not None:
        raise UsageError(f"the configuration cannot be used: {wrong.text()}")
    op = next((one for one in ops if one.get("related_input_rank") == rank), None)
    if op is None:
        raise UsageError(f"the configuration has no aipp_op for input {rank}")
    array = _image(image, op, _numbers("--size", size, 2) if size else None)
    flat = 2 if op.get("input_format") in ("YUV420SP_U8", "YUV400_U8") else 3
    batch = list(array) if array.ndim == flat + 1 else [array]
    return np.concatenate([aipp_cpu.apply(op, one, half) for one in batch])


def _image(path: Path, op: Aipp, size: tuple[int, ...] | None) -> NDArray[Any]:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
        raw = np.fromfile(path, np.uint8)
    except (OSError, ValueError) as why:
        raise UsageError(f"{quoted(path)}: {getattr(why, 'strerror', None) or why}") from None
    height, width = size or (op.get("src_image_size_h"), op.get("src_image_size_w"))
    if not height or not width:
        raise UsageError(f"{quoted(path)} is raw: give --size HEIGHT,WIDTH")
    layout = str(op.get("input_format"))
    each = {"YUV420SP_U8": (height * 3 // 2, width), "YUV400_U8": (height, width)}
    shape = each.get(layout, (height, width, 4 if layout in ("XRGB8888_U8", "ARGB8888_U8") else 3))
    one = int(np.prod(shape))
    if not raw.size or raw.size % one:
        raise UsageError(f"{quoted(path)} has {raw.size} bytes, an image of {height}x{width} {layout} {one}")
    return raw.reshape(-1, *shape)


def save(path: Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy``, or raw where the name ends in ``.bin``."""
    with replacing(path) as file:
        if path.suffix == ".bin":
            file.write(array.tobytes())
        else:
            np.save(file, array)
