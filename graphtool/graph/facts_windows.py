"""Shapes of operators that slide windows, pad or resize, where a size on the way is a symbol.

So the height that a convolution with ``pads = 1`` and a kernel of 3 keeps is seen to be the height it was given. With
all sizes known as numbers onnx's own inference is asked. Formulas are those of the ONNX operator specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto

from graphtool.graph.facts_call import Call, Fact, Sizes, Unknown, axis_in
from graphtool.graph.facts_rules import vector
from graphtool.graph.facts_symbols import Size, Symbols


def _open(call: Call) -> Sizes:
    """Return the sizes of the first input, of which some is no number; raises Unknown if all are."""
    sizes = call.shape()
    if all(isinstance(size, int) for size in sizes):
        raise Unknown
    return sizes


def windows(call: Call, sizes: Sizes, kernel: Sequence[int]) -> Sizes:
    """Return how many places a window has on each spatial axis."""
    count = len(sizes)
    strides = list(call.attr("strides") or [1] * count)
    dilations = list(call.attr("dilations") or [1] * count)
    pads = list(call.attr("pads") or [0] * 2 * count)
    padding = call.attr("auto_pad", b"NOTSET")
    if not len(kernel) == len(strides) == len(dilations) == count or len(pads) != 2 * count:
        raise Unknown
    found: list[Size] = []
    for axis, (size, width, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        if padding in (b"SAME_UPPER", b"SAME_LOWER"):
            found.append(call.symbols.div(call.symbols.add(size, stride - 1), stride))
            continue
        padded = 0 if padding == b"VALID" else pads[axis] + pads[axis + count]
        if call.attr("ceil_mode", 0) and stride != 1:
            if not isinstance(size, int):
                raise Unknown
            places = -(-(size + padded - dilation * (width - 1) - 1) // stride) + 1
            begin = 0 if padding == b"VALID" else pads[axis]
            # onnxruntime drops a last window that begins behind the data; onnx 1.23 counts it
            found.append(places - ((places - 1) * stride >= size + begin))
            continue
        last = call.symbols.add(size, padded - dilation * (width - 1) - 1)
        found.append(call.symbols.add(call.symbols.div(last, stride), 1))
    return tuple(found)


def conv(call: Call) -> list[Fact]:
    """Conv: images, maps, then the places of the kernel."""
    sizes, weight = _open(call), call.shape(1)
    return [Fact(call.dtype(), (sizes[0], weight[0], *windows(call, sizes[2:], kernel_of(call, weight[2:]))))]


def integer_conv(call: Call) -> list[Fact]:
    """QLinearConv and ConvInteger: as Conv, the weights and the type of the result elsewhere."""
    linear = call.node.op_type == "QLinearConv"
    sizes, weight = _open(call), call.shape(3 if linear else 1)
    places = windows(call, sizes[2:], kernel_of(call, weight[2:]))
    return [Fact(call.dtype(7) if linear else int(TensorProto.INT32), (sizes[0], weight[0], *places))]


def kernel_of(call: Call, sizes: Sizes) -> list[int]:
    """Return the sizes of a kernel, ``sizes`` being those of the weights; raises Unknown."""
    found = [size for size in call.attr("kernel_shape") or sizes if isinstance(size, int)]
    if len(found) != len(sizes):
        raise Unknown
    return found


def pool(call: Call) -> list[Fact]:
    """MaxPool (with the places of the largest), AveragePool, LpPool."""
    sizes = call.shape() if call.attr("ceil_mode", 0) else _open(call)
    kernel = call.attr("kernel_shape")
    if kernel is None:
        raise Unknown
    result = (*sizes[:2], *windows(call, sizes[2:], kernel))
    return [Fact(call.dtype(), result), Fact(int(TensorProto.INT64), result)][: len(call.node.output)]


def conv_transpose(call: Call) -> list[Fact]:
    """ConvTranspose without ``output_shape``."""
    sizes, weight, symbols = _open(call), call.shape(1), call.symbols
    count = len(sizes) - 2
    kernel = kernel_of(call, weight[2:])
    strides = list(call.attr("strides") or [1] * count)
    dilations = list(call.attr("dilations") or [1] * count)
    pads = list(call.attr("pads") or [0] * 2 * count)
    more = list(call.attr("output_padding") or [0] * count)
    if call.attr("output_shape") or call.attr("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise Unknown
    found: list[Size] = []
    for axis in range(count):
        rest = dilations[axis] * (kernel[axis] - 1) + 1 + more[axis] - pads[axis] - pads[axis + count] - strides[axis]
        found.append(symbols.add(symbols.mul(sizes[axis + 2], strides[axis]), rest))
    maps = symbols.mul(weight[1], call.attr("group", 1))
    return [Fact(call.dtype(), (sizes[0], maps, *found))]


def pad(call: Call) -> list[Fact]:
    """Pad by amounts that are an attribute (below opset 11) or an input."""
    sizes = list(call.shape())
    if call.version < 2:
        raise Unknown
    amounts = vector(call, 1) if call.has(1) else tuple(call.attr("pads", ()))
    axes = [axis_in(axis, len(sizes)) for axis in call.ints(3)] if call.has(3) else list(range(len(sizes)))
    if len(amounts) != 2 * len(axes):
        raise Unknown
    for place, axis in enumerate(axes):
        both = call.symbols.add(amounts[place], amounts[place + len(axes)])
        sizes[axis] = call.symbols.add(sizes[axis], both)
    return [Fact(call.dtype(), tuple(sizes))]


def resize(call: Call) -> list[Fact]:
    """Resize to sizes, or by scales; Upsample by scales."""
    sizes = list(call.shape())
    axes = [axis_in(axis, len(sizes)) for axis in call.attr("axes") or range(len(sizes))]
    old = call.node.op_type == "Upsample" or call.version < 11
    if not old and call.has(3) and _is_given(call, 3):
        if call.attr("keep_aspect_ratio_policy", b"stretch") != b"stretch":
            raise Unknown
        wanted = vector(call, 3)
        for axis, size in zip(axes, wanted, strict=True):
            sizes[axis] = size
        return [Fact(call.dtype(), tuple(sizes))]
    place = 1 if old else 2
    if call.has(place):
        content = call.content(place)
        scales = [item if isinstance(item, float) else None for item in content.items]
    else:
        scales = [float(np.float32(scale)) for scale in call.attr("scales", ())]
    if call.attr("coordinate_transformation_mode", b"") == b"tf_crop_and_resize":
        raise Unknown  # the crop changes the size too
    for axis, scale in zip(axes, scales, strict=True):
        sizes[axis] = _scaled(call.symbols, sizes[axis], scale)
    return [Fact(call.dtype(), tuple(sizes))]


def _is_given(call: Call, place: int) -> bool:
    """Whether an optional vector is there and not empty, as opset 11 has what is not used."""
    return call.contents[place] is not None or call.shape(place) != (0,)


def _scaled(symbols: Symbols, size: Size, scale: float | None) -> Size:
    if size is None or scale is None or not 0 < scale < 2**31:
        return None
    if isinstance(size, int):
        return int(np.floor(np.float32(size) * np.float32(scale)))
    # a float holds whole numbers up to 2**24 exactly, and a product by a whole number rounds to nothing below
    return symbols.mul(size, int(scale)) if scale.is_integer() else None


def depth_to_space(call: Call) -> list[Fact]:
    """DepthToSpace: maps become height and width."""
    sizes, block, symbols = _open(call), call.attr("blocksize"), call.symbols
    n, c, h, w = sizes
    fewer = symbols.exact_quotient(c, block * block)
    return [Fact(call.dtype(), (n, fewer, symbols.mul(h, block), symbols.mul(w, block)))]


def space_to_depth(call: Call) -> list[Fact]:
    """SpaceToDepth: height and width become maps."""
    sizes, block, symbols = _open(call), call.attr("blocksize"), call.symbols
    n, c, h, w = sizes
    return [Fact(call.dtype(), (n, symbols.mul(c, block * block), symbols.div(h, block), symbols.div(w, block)))]


RULES: dict[str, Callable[[Call], list[Fact]]] = {
    "Conv": conv, "ConvTranspose": conv_transpose, "MaxPool": pool, "AveragePool": pool, "LpPool": pool, "Pad": pad,
    "QLinearConv": integer_conv, "ConvInteger": integer_conv, "Resize": resize, "Upsample": resize,
    "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth,
}  # fmt: skip
