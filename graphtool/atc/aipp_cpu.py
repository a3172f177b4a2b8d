"""AIPP on the CPU: what a model is fed when an image goes through an AIPP configuration. A model from documents.

The steps and formulas are those of the manuals (DOC 8.0.0 atlasatc_16_0021, _0022, _0025); the device itself was not
asked. It computes in float16, which ``half`` imitates by rounding parameters and result once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from graphtool.atc.aipp import Aipp, output_size
from graphtool.atc.finding import Finding
from graphtool.errors import UsageError, quoted
from graphtool.graph import Graph

_CHANNELS = {"RGB888_U8": 3, "XRGB8888_U8": 4, "ARGB8888_U8": 4, "YUV400_U8": 1, "YUV420SP_U8": 3, "AYUV444_U8": 4}
_DOC = "DOC 8.0.0 atlasatc_16_0025"


def apply(op: Aipp, image: NDArray[np.uint8], half: bool = False) -> NDArray[np.float32]:
    """Return the float32 NCHW tensor that the model is fed for one uint8 image.

    ``image`` is ``[H, W, C]`` (``[H, W]`` for YUV400), or ``[H * 3 / 2, W]`` for YUV420SP. Raises UsageError where the
    configuration is dynamic, of a format that is not modelled, or does not fit the image.
    """
    layout = str(op.get("input_format", ""))
    if op.get("aipp_mode", "") != "static":
        raise UsageError("only static AIPP can be computed here: a program sets the dynamic one at run time")
    if layout not in _CHANNELS:
        raise UsageError(f"input_format {quoted(layout)} is not modelled; {', '.join(_CHANNELS)} are")
    if image.dtype != np.uint8:
        raise UsageError(f"the image is {image.dtype}, AIPP takes uint8")
    cut = _cropped(op, _exchanged(op, _planes(layout, image)))
    return _bordered(op, _normalised(op, _converted(op, cut), half))[None].astype(np.float32)


def _planes(layout: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image as C,H,W; U and V of YUV420SP are repeated to full size."""
    if layout == "YUV420SP_U8":
        if image.ndim != 2 or image.shape[0] % 3 or image.shape[1] % 2:
            raise UsageError(f"a YUV420SP image is [H * 3 / 2, W] with even H and W, not {list(image.shape)}")
        height = image.shape[0] * 2 // 3
        chroma = image[height:].reshape(height // 2, -1, 2)
        full = np.repeat(np.repeat(chroma, 2, axis=0), 2, axis=1)
        return np.concatenate([image[None, :height], full.transpose(2, 0, 1)])
    flat = image[:, :, None] if image.ndim == 2 else image
    if flat.ndim != 3 or flat.shape[2] != _CHANNELS[layout]:
        wanted = f"[H, W, {_CHANNELS[layout]}]"
        raise UsageError(f"a {layout} image is {wanted}, not {list(image.shape)}")
    return flat.transpose(2, 0, 1)


def _exchanged(op: Aipp, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if len(planes) == 4 and op.get("ax_swap_switch", False):
        planes = np.roll(planes, 1, axis=0)  # RGBA to ARGB
    if len(planes) == 4:
        planes = planes[1:]  # the unused channel comes first
    if op.get("rbuv_swap_switch", False) and len(planes) == 3:
        order = [0, 2, 1] if str(op.get("input_format")).startswith(("YUV", "AYUV")) else [2, 1, 0]
        planes = planes[order]
    return planes


def _cropped(op: Aipp, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = planes.shape[1:]
    for side, size in (("h", height), ("w", width)):
        wanted = op.get(f"src_image_size_{side}")
        if wanted and wanted != size:
            raise UsageError(f"src_image_size_{side} is {wanted}, the image has {size}")
    if not op.get("crop", False):
        return planes
    top, left = op.get("load_start_pos_h"), op.get("load_start_pos_w")
    rows, columns = op.get("crop_size_h") or height - top, op.get("crop_size_w") or width - left
    if top + rows > height or left + columns > width:
        raise UsageError(f"the crop ends at {top + rows}x{left + columns}, beyond the image's {height}x{width}")
    return planes[:, top : top + rows, left : left + columns]


def _converted(op: Aipp, planes: NDArray[np.uint8]) -> NDArray[np.int64]:
    found = planes.astype(np.int64)
    if not op.get("csc_switch", False) or len(planes) != 3:
        return found
    matrix = np.array([[op.get(f"matrix_r{row}c{column}") for column in range(3)] for row in range(3)], np.int64)
    before = np.array([op.get(f"input_bias_{i}") for i in range(3)], np.int64)[:, None, None]
    after = np.array([op.get(f"output_bias_{i}") for i in range(3)], np.int64)[:, None, None]
    mixed = np.einsum("rc,chw->rhw", matrix, found - before)
    clipped: NDArray[np.int64] = np.clip((mixed >> 8) + after, 0, 255)
    return clipped


def _normalised(op: Aipp, planes: NDArray[np.int64], half: bool) -> NDArray[np.float64]:
    count = len(planes)
    words = (("mean_chn", 0.0), ("min_chn", 0.0), ("var_reci_chn", 1.0))
    mean, least, factor = (np.array(op.channels(name, count, default))[:, None, None] for name, default in words)
    if half:
        least, factor = least.astype(np.float16).astype(np.float64), factor.astype(np.float16).astype(np.float64)
    found: NDArray[np.float64] = (planes - mean - least) * factor
    return found.astype(np.float16).astype(np.float64) if half else found


def _bordered(op: Aipp, planes: NDArray[np.float64]) -> NDArray[np.float64]:
    if not op.get("padding", False):
        return planes
    sizes = [op.get(f"{side}_padding_size") for side in ("top", "bottom", "left", "right")]
    value = float(op.get("padding_value", op.get("cpadding_value", 0)))
    return np.pad(planes, ((0, 0), tuple(sizes[:2]), tuple(sizes[2:])), constant_values=value)


def against(ops: list[Aipp], graph: Graph, shapes: dict[str, tuple[int, ...]] | None = None) -> Iterator[Finding]:
    """Yield where a configuration does not fit the inputs of a graph: which input, its rank, channels and size."""
    inputs = list(graph.inputs)
    for op in ops:
        rank, name = op.get("related_input_rank"), op.get("related_input_name", "")
        value = next((one for one in inputs if one.name == name), None) if name else None
        if name and value is None:
            yield _misfit("related_input_name", f"line {op.line}: the graph has no input {quoted(name)}")
            continue
        if value is None and rank >= len(inputs):
            yield _misfit("related_input_rank", f"line {op.line}: {rank}, but the graph has {len(inputs)} inputs")
            continue
        value = value or inputs[rank]
        dims = (shapes or {}).get(value.name, value.shape)
        if dims is None:
            continue
        if len(dims) != 4:
            reason = f"line {op.line}: input {quoted(value.name)} is {value.type_text()}; AIPP feeds four dimensions"
            yield _misfit("insert_op_conf", reason)
            continue
        channels = _CHANNELS.get(str(op.get("input_format", "")))
        seen = 3 if channels == 4 else channels
        if seen is not None and isinstance(dims[1], int) and dims[1] > 0 and dims[1] != seen:
            reason = f"line {op.line}: gives {seen} channels, input {quoted(value.name)} has {dims[1]}"
            yield _misfit("input_format", reason)
        size = output_size(op) if op.get("aipp_mode") == "static" else None
        height, width = dims[2:]
        sized = all(isinstance(dim, int) and dim > 0 for dim in (height, width))
        if size is not None and sized and size != (height, width):
            takes = f"input {quoted(value.name)} takes {height}x{width}"
            reason = f"line {op.line}: AIPP gives {size[0]}x{size[1]}, {takes}"
            yield _misfit("crop_size_h" if op.get("crop", False) else "src_image_size_h", reason)


def _misfit(name: str, reason: str) -> Finding:
    return Finding(name, "error", "E10052", reason, "", _DOC)
