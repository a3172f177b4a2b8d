"""What the operators that read an input demand of its values: indices inside a table, sizes that fit, no zero divisor.

An input is followed through operators that only move or convert it (Cast, Reshape, Unsqueeze ...), into bodies of If
and Loop too. The rules are those of the ONNX operator specification for the input at that place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.graph import Graph, Value
from graphtool.parity.feed_exact import EXACT
from graphtool.parity.feed_reads import Known, Read, readers_of

Array = NDArray[Any]

_MASKED = frozenset({"And", "Mul", "Not", "Or", "Sub", "Where", "Xor"})
_POSITIVE = {
    ("BatchNormalization", 4), ("DequantizeLinear", 1), ("Log", 0), ("QuantizeLinear", 1), ("Sqrt", 0),
}  # fmt: skip
_TABLES = {
    ("Gather", 1), ("GatherElements", 1), ("GatherND", 1), ("RoiAlign", 2), ("Scatter", 1), ("ScatterElements", 1),
    ("ScatterND", 1), ("TensorScatter", 2), ("NegativeLogLikelihoodLoss", 1), ("SoftmaxCrossEntropyLoss", 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of an input's values: ``kind``, and for integers the range ``low <= n < high``."""

    kind: Literal["table", "mask", "positive", "other"]
    low: int = 0
    high: int = 8


def use_of(known: Known, value: Value, shape: tuple[int, ...]) -> Array | Bounds | None:
    """Return the values an input must have (to be broadcast), or the range for them, or None where any will do."""
    reads = list(readers_of(known.graph, value.name))
    for read in reads:
        rule = EXACT.get((read.node.op_type, read.place))
        if rule is not None:
            exact = rule(known, read, shape)
            if exact is not None:
                return exact
    tables = [read for read in reads if (read.node.op_type, read.place) in _TABLES]
    if tables:
        # where the table's size is not known, 0 is inside any
        return _inside(known, tables, shape)
    if any((read.node.op_type, read.place) in _POSITIVE for read in reads):
        return Bounds("positive", 1)
    name = value.name.lower()
    converted = any({"Cast", "CastLike"} & set(r.through) and r.node.op_type in _MASKED for r in reads)
    # a byte that is converted is a pixel
    if "mask" in name or (converted and value.dtype in (TensorProto.INT32, TensorProto.INT64)):
        return Bounds("mask", 0, 2)
    if any(read.node.op_type in ("Div", "Mod") and read.place == 1 for read in reads):
        return Bounds("other", 1)  # dividing integers by zero ends the process
    if "len" in name:
        return Bounds("other", 1, 2)
    return None


def demanded_dims(graph: Graph, name: str) -> dict[int, int]:
    """Return sizes of axes that follow from the weight which a Conv, MatMul or Gemm applies to an input."""
    found: dict[int, int] = {}
    value = graph.value(name)
    for read in readers_of(graph, name):
        weight = graph.initializers.get(read.input(1))
        if read.place != 0 or weight is None or not set(read.through) <= {"Identity", "Cast"}:
            continue
        if read.node.op_type == "Conv" and len(weight.dims) > 2:
            found[1] = weight.dims[1] * read.attribute("group", 1)
        elif read.node.op_type == "MatMul" and len(weight.dims) > 1 and value is not None and value.rank:
            found[value.rank - 1] = weight.dims[-2]
        elif read.node.op_type == "Gemm" and not read.attribute("transA", 0):
            found[1] = weight.dims[1 if read.attribute("transB", 0) else 0]
    return found


# -- indices


def _inside(known: Known, reads: list[Read], shape: tuple[int, ...]) -> Array | Bounds:
    """Return indices that lie in every table they are used with; those to scatter to are distinct."""
    extents = [_table_extents(known, read, shape) for read in reads]
    lowest = [min(column) for column in zip(*extents, strict=False)] or [1]
    if any(_is_part(read, known, shape) for read in reads):
        return Bounds("table", 0, min(lowest))
    scatter = next((read for read in reads if read.node.op_type.startswith("Scatter")), None)
    if scatter is not None and shape:
        return _distinct(scatter, lowest, shape)
    if len(lowest) > 1 and shape:
        # one column of the last axis for each axis of the table
        columns = [np.arange(math.prod(shape[:-1])) * 7 % extent for extent in lowest]
        return np.stack(columns, axis=-1).reshape(shape)
    return Bounds("table", 0, lowest[0])


def _table_extents(known: Known, read: Read, shape: tuple[int, ...]) -> list[int]:
    """Return the extents that the numbers of one index address, 1 where unknown."""
    table = read.input(0)
    if read.node.op_type in ("GatherND", "ScatterND"):
        first = read.attribute("batch_dims", 0)
        rank = len(known.shape(table) or ())
        axes = range(first, rank if _is_part(read, known, shape) else first + (shape[-1] if shape else 1))
    else:
        axis = 1 if read.node.op_type.endswith("Loss") else read.attribute("axis", 0)
        axes = range(axis, axis + 1)
    return [known.extent(table, axis) or 1 for axis in axes]


def _is_part(read: Read, known: Known, shape: tuple[int, ...]) -> bool:
    """Whether an input of ``shape`` is made into the places of a table by other nodes: it is a column of them, say."""
    if read.node.op_type not in ("GatherND", "ScatterND") or not read.through:
        return False
    return known.shape(read.input(1)) != shape


def _distinct(read: Read, extents: list[int], shape: tuple[int, ...]) -> Array:
    if read.node.op_type == "ScatterND":
        count = math.prod(shape[:-1])
        flat = np.arange(count) % math.prod(extents)
        return np.stack(np.unravel_index(flat, extents), axis=-1).reshape(shape)
    axis = read.attribute("axis", 0) % len(shape)
    along = np.arange(shape[axis]) % extents[0]
    return np.broadcast_to(along.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)
