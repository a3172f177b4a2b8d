"""Values that follow from the operator that reads an input: a target shape, paddings, axes, a trip count."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.parity.feed_reads import Known, Read

Array = NDArray[Any]

Rule = Callable[[Known, Read, tuple[int, ...]], "Array | None"]


def _always(value: object) -> Rule:
    return lambda known, read, shape: np.asarray(value)


def _count(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def _top_k(known: Known, read: Read, shape: tuple[int, ...]) -> Array:
    extent = known.extent(read.input(0), read.attribute("axis", -1))
    return np.array(max(1, (extent or 2) // 2))


def _target_shape(known: Known, read: Read, shape: tuple[int, ...]) -> Array:
    """Return a shape that Reshape can give its data: the output's own where it is known, else one long axis."""
    made, data = known.shape(read.node.output[0]), known.shape(read.input(0))
    if made is not None and data is not None and None not in made and None not in data and len(made) == _count(shape):
        sizes, total = [size or 0 for size in made], math.prod(size or 0 for size in data)
        if math.prod(sizes) == total:
            return np.array(sizes)
    return np.array([-1] + [1] * (_count(shape) - 1))


def _scales(known: Known, read: Read, shape: tuple[int, ...]) -> Array:
    count = _count(shape)
    return np.array([1.0] * (count - 2) + [2.0] * min(count, 2))


def _sizes(known: Known, read: Read, shape: tuple[int, ...]) -> Array | None:
    data = known.shape(read.input(0))
    if data is None or None in data or len(data) != _count(shape):
        return None
    return np.array([(size or 1) * (2 if axis >= len(data) - 2 else 1) for axis, size in enumerate(data)])


def _pads(known: Known, read: Read, shape: tuple[int, ...]) -> Array:
    half = _count(shape) // 2
    return np.array(([0] * (half - 1) + [1]) * 2 if half else [])


def _tiles(known: Known, read: Read, shape: tuple[int, ...]) -> Array:
    return np.array([1] * (_count(shape) - 1) + [2])


def _counting(known: Known, read: Read, shape: tuple[int, ...]) -> Array:
    return np.arange(_count(shape)).reshape(shape)


def _from_the_end(known: Known, read: Read, shape: tuple[int, ...]) -> Array:
    return -1 - np.arange(_count(shape))


def _axes_of_one(known: Known, read: Read, shape: tuple[int, ...]) -> Array | None:
    data = known.shape(read.input(0)) or ()
    ones = [axis for axis, size in enumerate(data) if size == 1]
    return np.array(ones[: _count(shape)]) if len(ones) >= _count(shape) else None


def _even_split(known: Known, read: Read, shape: tuple[int, ...]) -> Array | None:
    extent = known.extent(read.input(0), read.attribute("axis", 0))
    parts = _count(shape)
    if not shape:
        return np.array(1)  # SplitToSequence: pieces of one
    if extent is None or extent < parts:
        return None
    return np.array([extent // parts] * (parts - 1) + [extent - extent // parts * (parts - 1)])


def _time(axis: int) -> Rule:
    def rule(known: Known, read: Read, shape: tuple[int, ...]) -> Array | None:
        extent = known.extent(read.input(0), read.attribute("time_axis", axis))
        return None if extent is None else np.array(extent)

    return rule


def _one_hot_index(known: Known, read: Read, shape: tuple[int, ...]) -> Array | None:
    depth = known.graph.constant(read.input(1))
    extent = 5 if depth is None else int(depth.reshape(-1)[0])
    return (np.arange(_count(shape)) * 7 % max(extent, 1)).reshape(shape)


_REDUCE = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip

# by operator and place of the input
EXACT: dict[tuple[str, int], Rule] = {
    ("AffineGrid", 1): lambda known, read, shape: np.array([2, 3, 5, 7, 11][: _count(shape)]),
    ("CenterCropPad", 1): _tiles,
    ("ConstantOfShape", 0): _always(2),
    ("CumProd", 1): _always(0),
    ("CumSum", 1): _always(0),
    ("Dropout", 1): _always(0.5),
    ("Dropout", 2): _always(False),
    ("Expand", 1): _always(1),
    ("GRU", 4): _time(0),
    ("LSTM", 4): _time(0),
    ("Loop", 0): _always(3),
    ("Loop", 1): _always(True),
    ("MaxUnpool", 1): _counting,
    ("MaxUnpool", 2): _sizes,
    ("NonMaxSuppression", 2): _always(3),
    ("NonMaxSuppression", 3): _always(0.5),
    ("OneHot", 0): _one_hot_index,
    ("OneHot", 1): _always(5),
    ("Pad", 1): _pads,
    ("Pad", 3): _from_the_end,
    ("RNN", 4): _time(0),
    ("Range", 0): _always(0),
    ("Range", 1): _always(5),
    ("Range", 2): _always(1),
    **{(op, 1): _from_the_end for op in _REDUCE},
    ("Reshape", 1): _target_shape,
    ("Resize", 2): _scales,
    ("Resize", 3): _sizes,
    ("ReverseSequence", 1): _time(0),
    ("SequenceAt", 1): _always(0),
    ("SequenceErase", 1): _always(0),
    ("SequenceInsert", 2): _always(0),
    ("Slice", 1): _always(0),
    ("Slice", 2): _always(2**31 - 1),
    ("Slice", 3): _counting,
    ("Slice", 4): _always(1),
    ("Split", 1): _even_split,
    ("SplitToSequence", 1): _even_split,
    ("Squeeze", 1): _axes_of_one,
    ("Tile", 1): _tiles,
    ("TopK", 1): _top_k,
    ("Trilu", 1): _always(0),
    ("Unsqueeze", 1): _counting,
    ("Upsample", 1): _scales,
}
