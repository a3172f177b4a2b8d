"""Operators that move elements about, evaluated on contents whatever the elements are: numbers, symbols or unknown.

What says where elements go (indices, axes, repeats) must be known as numbers. Semantics are those of the ONNX operator
specification, https://onnx.ai/onnx/operators/; attributes of old operator sets are read too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from graphtool.graph.contents import FARTHEST, FLOATS, MOST_ITEMS, Content, content_of
from graphtool.graph.facts_call import Call, Sizes, Unknown, axes_in, axis_in

Outputs = list[Content]
_INT64 = int(TensorProto.INT64)


def _checked(shape: Sequence[int]) -> tuple[int, ...]:
    if any(size < 0 for size in shape) or prod(shape) > MOST_ITEMS:
        raise Unknown
    return tuple(shape)


# -- what shapes are made from


def shape(call: Call) -> Content:
    """Shape, with start and end (opset 15): clamped like a Python slice."""
    sizes = call.shape()
    start, end = call.attr("start", 0), call.attr("end")
    return Content(_INT64, (len(sizes[start:end]),), tuple(sizes[start:end]))


def size(call: Call) -> Content:
    """Size: the product of all sizes."""
    return Content(_INT64, (), (call.symbols.product(call.shape()),))


def constant_of_shape(call: Call) -> Content:
    """ConstantOfShape; without ``value`` it is float zeros."""
    to = _checked(call.ints(0))
    value = call.attr("value")
    dtype, item = int(TensorProto.FLOAT), 0.0
    if value is not None:
        dtype, item = value.data_type, numpy_helper.to_array(value).reshape(-1).tolist()[0]
    if isinstance(item, bool):
        item = int(item)
    if not isinstance(item, (int, float)):
        raise Unknown
    return Content(dtype, to, (item,) * prod(to))


def range_(call: Call) -> Content:
    """Range of integers."""
    if call.content(0).dtype in FLOATS:
        raise Unknown  # how onnxruntime sums them up is its own
    (start,), (limit,), (delta,) = call.ints(0), call.ints(1), call.ints(2)
    numbers = range(start, limit, delta)
    if len(numbers) > MOST_ITEMS:
        raise Unknown
    return Content(call.content(0).dtype, (len(numbers),), tuple(numbers))


# -- the same elements in another shape


def identity(call: Call) -> Content:
    """Identity."""
    return call.content(0)


def squeeze(call: Call) -> Content:
    """Squeeze; without axes, or with none named, every axis of size 1 goes (onnxruntime)."""
    content = call.content(0)
    rank = len(content.shape)
    axes = call.listed("axes", 1)
    gone = axes_in(axes, rank) if axes else [axis for axis in range(rank) if content.shape[axis] == 1]
    if any(content.shape[axis] != 1 for axis in gone):
        raise Unknown
    return Content(content.dtype, tuple(s for axis, s in enumerate(content.shape) if axis not in gone), content.items)


def unsqueeze(call: Call) -> Content:
    """Unsqueeze; axes count in the result."""
    content = call.content(0)
    axes = call.listed("axes", 1)
    if axes is None:
        raise Unknown
    new = axes_in(axes, len(content.shape) + len(axes))
    to = list(content.shape)
    for axis in new:
        to.insert(axis, 1)
    return Content(content.dtype, tuple(to), content.items)


def reshape(call: Call) -> Content:
    """Reshape to sizes that are numbers, or with the one that is no number (or -1) left to the count of elements."""
    content = call.content(0)
    to = list(call.sizes(1)) if call.has(1) else list(call.attr("shape", ()))
    if not call.attr("allowzero", 0):
        to = [content.shape[axis] if item == 0 else item for axis, item in enumerate(to)]
    sizes = [item if isinstance(item, int) and item >= 0 else None for item in to]
    known = prod(size for size in sizes if size is not None)
    if sizes.count(None) == 1 and known:
        sizes[sizes.index(None)] = len(content.items) // known
    numbers = tuple(size for size in sizes if size is not None)
    if len(numbers) != len(to) or prod(numbers) != len(content.items):
        raise Unknown
    return Content(content.dtype, numbers, content.items)


def flatten(call: Call) -> Content:
    """Flatten to two axes."""
    content = call.content(0)
    axis = call.attr("axis", 1)
    rank = len(content.shape)
    axis = rank if axis == rank else axis_in(axis, rank)
    return Content(content.dtype, (prod(content.shape[:axis]), prod(content.shape[axis:])), content.items)


def transpose(call: Call) -> Content:
    """Transpose; by default the axes are reversed."""
    content = call.content(0)
    perm = call.attr("perm") or list(reversed(range(len(content.shape))))
    return content_of(content.dtype, content.array.transpose(perm))


# -- other elements


def gather(call: Call) -> Content:
    """Gather by known indices, negative ones counted from the end."""
    content, where = call.content(0), call.content(1)
    axis = axis_in(call.attr("axis", 0), len(content.shape))
    if len(where.items) * prod(content.shape[:axis] + content.shape[axis + 1 :]) > MOST_ITEMS:
        raise Unknown
    places = _places(where, content.shape[axis])
    return content_of(content.dtype, np.take(content.array, places, axis))


def _places(where: Content, size: int) -> NDArray[np.int64]:
    places = where.ints
    if places is None or not all(-size <= place < size for place in places):
        raise Unknown
    return np.array(places, np.int64).reshape(where.shape)


def gather_elements(call: Call) -> Content:
    """GatherElements by known indices."""
    content, where = call.content(0), call.content(1)
    axis = axis_in(call.attr("axis", 0), len(content.shape))
    if any(a != b for at, (a, b) in enumerate(zip(content.shape, where.shape, strict=True)) if at != axis):
        raise Unknown  # numpy would broadcast, the operator takes the first ones
    return content_of(content.dtype, np.take_along_axis(content.array, _places(where, content.shape[axis]), axis))


def gather_nd(call: Call) -> Content:
    """GatherND by known indices, without batch axes."""
    content, where = call.content(0), call.content(1)
    depth = where.shape[-1]
    if call.attr("batch_dims", 0) or where.ints is None or not 0 < depth <= len(content.shape):
        raise Unknown
    index = np.array(where.ints, np.int64).reshape(where.shape)
    if index.size // depth * prod(content.shape[depth:]) > MOST_ITEMS:
        raise Unknown
    found = content.array[tuple(np.moveaxis(index, -1, 0))]
    return content_of(content.dtype, found)


def slice_(call: Call) -> Content:
    """Slice, by attributes (below opset 10) or inputs."""
    content = call.content(0)
    array = content.array
    starts, ends = call.listed("starts", 1), call.listed("ends", 2)
    if starts is None or ends is None:
        raise Unknown
    axes = call.listed("axes", 3)
    steps = call.listed("steps", 4) or (1,) * len(starts)
    axes = tuple(range(len(starts))) if axes is None else axes
    axes_in(axes, array.ndim)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = np.array(taken(array.shape[axis], start, end, step), np.int64)
        array = np.take(array, places, axis)
    return content_of(content.dtype, array)


def taken(size: int, start: int, end: int, step: int) -> range:
    """Return the places that a Slice takes of an axis: out of range is clamped (ONNX specification of Slice).

    Raises Unknown for a step of 0, and for one backward to the largest integer: by the specification nothing is taken,
    in onnxruntime all.
    """
    if step == 0 or (step < 0 and end in FARTHEST):
        raise Unknown
    last = size if step > 0 else size - 1
    first = 0 if step > 0 else -1
    start = min(max(start + size if start < 0 else start, 0), last)
    end = min(max(end + size if end < 0 else end, first), last)
    return range(start, end, step)


def concat(call: Call) -> Content:
    """Concat; below opset 4 the axis is 1 where it is not given."""
    inputs = [call.content(place) for place in range(len(call.node.input))]
    if sum(len(content.items) for content in inputs) > MOST_ITEMS or len({content.dtype for content in inputs}) > 1:
        raise Unknown
    return content_of(inputs[0].dtype, np.concatenate([content.array for content in inputs], call.attr("axis", 1)))


def split(call: Call) -> Outputs:
    """Split into parts of given or equal sizes; the last may be smaller (opset 18)."""
    content = call.content(0)
    axis = axis_in(call.attr("axis", 0), len(content.shape))
    parts = split_sizes(call, content.shape[axis])
    if any(not isinstance(part, int) for part in parts):
        raise Unknown
    ends = np.cumsum([part for part in parts if isinstance(part, int)])
    if ends[-1] != content.shape[axis]:
        raise Unknown
    return [content_of(content.dtype, array) for array in np.split(content.array, ends[:-1], axis)]


def split_sizes(call: Call, size: int) -> Sizes:
    """Return the sizes of the parts of a split axis; raises Unknown."""
    count = len(call.node.output)
    if call.version < 2 or call.attr("num_outputs", count) != count:
        raise Unknown
    if call.has(1):
        parts = call.sizes(1)
    elif call.attr("split"):
        parts = tuple(call.attr("split"))
    else:
        part = -(-size // count)
        if size % count and call.version < 18:
            raise Unknown
        parts = (part,) * (count - 1) + (size - part * (count - 1),)
    if len(parts) != count or any(isinstance(part, int) and part < 0 for part in parts):
        raise Unknown
    return parts


def expand(call: Call) -> Content:
    """Expand to sizes that are known."""
    content = call.content(0)
    to = _checked(np.broadcast_shapes(content.shape, call.ints(1)))
    return content_of(content.dtype, np.broadcast_to(content.array, to))


def tile(call: Call) -> Content:
    """Tile by known repeats (as an input vector, opset 6)."""
    content, repeats = call.content(0), call.ints(1)
    if len(repeats) != len(content.shape) or call.version < 6:
        raise Unknown
    _checked([size * times for size, times in zip(content.shape, repeats, strict=True)])
    return content_of(content.dtype, np.tile(content.array, repeats))


def nonzero(call: Call) -> Content:
    """NonZero of numbers, not of a scalar: the places of those that are not 0, axis by axis."""
    content = call.content(0)
    if not content.known or not content.shape:
        raise Unknown
    found = np.array(np.nonzero(content.array.astype(float)), np.int64).reshape(len(content.shape), -1)
    return Content(_INT64, found.shape, tuple(found.ravel().tolist()))


def compress(call: Call) -> Content:
    """Compress by a known condition."""
    content = call.content(0)
    chosen = [bool(item) for item in call.ints(1)]
    return content_of(content.dtype, np.compress(chosen, content.array, call.attr("axis")))


def scatter_elements(call: Call) -> Content:
    """ScatterElements (and Scatter) without reduction, to known places."""
    content, where, updates = call.content(0), call.content(1), call.content(2)
    axis = axis_in(call.attr("axis", 0), len(content.shape))
    places = _places(where, content.shape[axis])
    if call.attr("reduction", b"none") != b"none" or (updates.dtype, updates.shape) != (content.dtype, where.shape):
        raise Unknown
    array = content.array
    at = [*np.indices(where.shape)]
    at[axis] = np.where(places < 0, places + content.shape[axis], places)
    _once(list(zip(*(index.ravel().tolist() for index in at), strict=True)))
    array[tuple(at)] = updates.array
    return content_of(content.dtype, array)


def scatter_nd(call: Call) -> Content:
    """ScatterND without reduction, to known places."""
    content, where, updates = call.content(0), call.content(1), call.content(2)
    depth = where.shape[-1]
    wanted = (content.dtype, where.shape[:-1] + content.shape[depth:])
    if call.attr("reduction", b"none") != b"none" or where.ints is None or (updates.dtype, updates.shape) != wanted:
        raise Unknown
    if not 0 < depth <= len(content.shape):
        raise Unknown
    array = content.array
    index = np.array(where.ints, np.int64).reshape(-1, depth)
    index = np.where(index < 0, index + np.array(content.shape[:depth], np.int64), index)
    _once([tuple(row) for row in index.tolist()])
    array[tuple(index.T)] = updates.array.reshape(len(index), *content.shape[depth:])
    return content_of(content.dtype, array)


def _once(places: list[tuple[int, ...]]) -> None:
    if len(set(places)) < len(places):
        raise Unknown  # the order of writes is the runtime's


RULES: dict[str, Callable[[Call], Content]] = {
    "Shape": shape, "Size": size, "ConstantOfShape": constant_of_shape, "Range": range_, "Identity": identity,
    "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Reshape": reshape, "Flatten": flatten, "Transpose": transpose,
    "Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd, "Slice": slice_, "Concat": concat,
    "Expand": expand, "Tile": tile, "NonZero": nonzero, "Compress": compress, "ScatterElements": scatter_elements,
    "Scatter": scatter_elements, "ScatterND": scatter_nd,
}  # fmt: skip
