"""Operators that move, repeat, cut or count elements and never compute with them: right for every element type.

Each follows the ONNX operator specification at every opset from 1 on, except where it raises Elsewhere. Results may be
views of the inputs.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from graphtool.errors import ModelError
from graphtool.graph.weights import Weights
from graphtool.natives._call import Array, Call, Elsewhere, Evaluator, Undefined


def _identity(call: Call) -> list[Array]:
    return [call.array(0)]


def _reshape(call: Call) -> list[Array]:
    if call.opset < 5:
        raise Elsewhere
    data, wanted = call.array(0), call.ints(1)
    if not call.attribute("allowzero"):
        wanted = [data.shape[place] if size == 0 else size for place, size in enumerate(wanted)]
    if -1 in wanted and 0 in wanted:
        raise Elsewhere  # -1 stands for no certain number
    return [data.reshape(wanted)]


def _flatten(call: Call) -> list[Array]:
    data, axis = call.array(0), call.attribute("axis")
    axis = axis + data.ndim if axis < 0 else axis
    return [data.reshape(math.prod(data.shape[:axis]), math.prod(data.shape[axis:]))]


def _transpose(call: Call) -> list[Array]:
    return [np.transpose(call.array(0), call.attribute("perm"))]


def _squeeze(call: Call) -> list[Array]:
    axes = call.axes(1, since=13)
    if axes == []:
        raise Elsewhere  # the specification does not say whether that is none or all
    return [np.squeeze(call.array(0), None if axes is None else tuple(axes))]


def _unsqueeze(call: Call) -> list[Array]:
    axes = call.axes(1, since=13)
    if axes is None:
        raise Elsewhere
    return [np.expand_dims(call.array(0), tuple(axes))]


def _concat(call: Call) -> list[Array]:
    arrays = [call.array(place) for place in range(len(call.inputs))]
    axis = call.attribute("axis")
    if axis is None or any(array.dtype != arrays[0].dtype for array in arrays):
        raise Elsewhere
    call.room([sum(array.size for array in arrays)], arrays[0].dtype)
    return [np.concatenate(arrays, axis)]


def _split(call: Call) -> list[Array]:
    data, axis, count = call.array(0), call.attribute("axis"), len(call.node.output)
    sizes = call.attribute("split") if call.opset < 13 else None if call.maybe(1) is None else call.ints(1)
    if call.opset < 2:
        raise Elsewhere
    length = data.shape[axis]
    if not sizes:
        part = -(-length // count)  # the last one is smaller where opset 18 and later allow it
        sizes = [part] * (count - 1) + [length - part * (count - 1)]
        if call.opset < 18 and length % count:
            raise Elsewhere
    if sum(sizes) != length or min(sizes) < 0 or len(sizes) != count:
        raise Elsewhere
    return list(np.split(data, np.cumsum(sizes)[:-1], axis))


def _slice(call: Call) -> list[Array]:
    data = call.array(0)
    if call.opset < 10:
        starts, ends = call.attribute("starts"), call.attribute("ends")
        axes, steps = call.attribute("axes"), None
    else:
        starts, ends = call.ints(1), call.ints(2)
        axes = call.ints(3) if call.maybe(3) is not None else None
        steps = call.ints(4) if call.maybe(4) is not None else None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cuts = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cuts[axis] = _cut(data.shape[axis], start, end, step)
    return [data[tuple(cuts)]]


def _cut(length: int, start: int, end: int, step: int) -> slice:
    """Return a slice operator's range as Python's: both clamp, but -1 as an end means different things."""
    if step == 0:
        raise Undefined("Slice with step 0")
    if step < 0 and end >= np.iinfo(np.int32).max:
        raise Elsewhere  # onnxruntime takes the largest integers for the far end, the specification does not say so
    start = start + length if start < 0 else start
    end = end + length if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), length), min(max(end, 0), length), step)
    start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
    return slice(start, None if end < 0 else end, step) if start >= 0 else slice(0, 0)


def _gather(call: Call) -> list[Array]:
    data, places, axis = call.array(0), call.array(1), call.attribute("axis")
    if places.dtype.kind not in "iu" or not -data.ndim <= axis < data.ndim:
        raise Elsewhere
    axis %= data.ndim
    call.room([*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]], data.dtype)
    return [data.take(places, axis)]


def _expand(call: Call) -> list[Array]:
    data = call.array(0)
    return [np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(call.ints(1))))]


def _tile(call: Call) -> list[Array]:
    if call.opset < 6:
        raise Elsewhere
    data, repeats = call.array(0), call.ints(1)
    if len(repeats) != data.ndim or any(count < 0 for count in repeats):
        raise Elsewhere
    call.room([size * count for size, count in zip(data.shape, repeats, strict=True)], data.dtype)
    return [np.tile(data, repeats)]


def _shape(call: Call) -> list[Array]:
    sizes = call.array(0).shape
    if call.opset >= 15:
        sizes = sizes[slice(call.attribute("start"), call.attribute("end"))]
    return [np.array(sizes, np.int64)]


def _size(call: Call) -> list[Array]:
    return [np.array(call.array(0).size, np.int64)]


def _constant_of_shape(call: Call) -> list[Array]:
    shape, value = call.ints(0), call.attribute("value")
    if any(size < 0 for size in shape):
        raise Undefined("ConstantOfShape with a negative size")
    one: Array = np.zeros(1, np.float32)
    if isinstance(value, TensorProto):
        if value.data_type == TensorProto.STRING:
            raise Elsewhere
        try:
            one = Weights(None, None).array(value).reshape(-1)
        except ModelError:
            raise Elsewhere from None
    if one.size != 1:
        raise Elsewhere
    return [np.broadcast_to(one[0], shape)]


def _where(call: Call) -> list[Array]:
    condition, yes, no = call.array(0), call.array(1), call.array(2)
    if condition.dtype != np.bool_ or yes.dtype != no.dtype:
        raise Elsewhere
    call.broadcast(condition, yes, no, dtype=yes.dtype)
    return [np.where(condition, yes, no)]


def _trilu(call: Call) -> list[Array]:
    data, k = call.array(0), call.maybe(1)
    if data.ndim < 2 or data.dtype.kind not in "biuf":
        raise Elsewhere
    call.room(data.shape, data.dtype)
    cut = np.triu if call.attribute("upper") else np.tril
    return [cut(data, 0 if k is None else int(k.reshape(-1)[0]))]


def _non_zero(call: Call) -> list[Array]:
    data = call.array(0)
    if data.ndim == 0 or data.dtype.kind not in "biuf":
        raise Elsewhere
    call.room([data.ndim, data.size], np.dtype(np.int64))
    return [np.array(np.nonzero(data), np.int64)]


def _dropout(call: Call) -> list[Array]:
    """Dropout at inference (:func:`graphtool.natives._foldable.is_pure` lets no other through)."""
    data = call.array(0)
    if len(call.node.output) > 1 and call.node.output[1]:
        raise Elsewhere
    return [data] + [np.ones(0, np.bool_)] * (len(call.node.output) - 1)


MOVES: dict[str, Evaluator] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "NonZero": _non_zero,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
