"""Labels may flip where two classes are level: which positions of an output those are.

Where every score moves by at most a tolerance, the largest one can only become another where the margin to the next is
at most twice that. So a label at any other position is held exactly, and a class has as many more or fewer members as
there are such ties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.parity.containers import is_sequence
from graphtool.parity.eps import eps_of
from graphtool.parity.session import Session
from graphtool.parity.tolerance import TIMES_NOISE, close_tolerance, disturbed

Array = NDArray[Any]
Mask = NDArray[np.bool_]

_MOST_CLASSES = 1000
# labels in the same order, of another shape or type
_SAME_ORDER = frozenset("Cast Flatten Identity Reshape Squeeze Unsqueeze".split())


@dataclass(frozen=True, slots=True)
class Loose:
    """Where a label may be another one (``at``, of the output's shape), and at how many positions in all."""

    at: Mask
    count: int


def is_class_map(array: Array) -> bool:
    """Whether an output holds scores by class: float, ``[N,C,H,W]`` or ``[N,C]``, 2 to 1000 classes at axis 1."""
    shaped = array.ndim in (2, 4) and 2 <= array.shape[1] <= _MOST_CLASSES and array.size > 0
    return shaped and eps_of(array.dtype) > 0 and array.dtype.kind != "c"


def ranked(scores: Array, axis: int) -> tuple[NDArray[np.int64], Array]:
    """Return for each position the first class with the largest score along ``axis``, and its margin to the next."""
    planes = np.moveaxis(scores, axis, 0)
    wide = np.float32 if eps_of(scores.dtype) > eps_of(np.float32) else scores.dtype
    first = planes[0].astype(wide)
    second = np.full_like(first, -np.inf)
    labels = np.zeros(first.shape, np.int64)
    for number, plane in enumerate(planes[1:], 1):
        score = plane.astype(wide, copy=False)
        better = score > first
        second = np.where(better, first, np.maximum(second, score))
        first = np.where(better, score, first)
        labels[better] = number
    with np.errstate(invalid="ignore"):  # two infinities are level
        return labels, first - second


def level(margin: Array, tolerance: float) -> Mask:
    """Return where the label may flip when each score moves by at most ``tolerance``; NaN is no margin at all."""
    return np.asarray(~(margin > 2 * tolerance), np.bool_)


def loose_labels(graph: Graph, feed: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Loose]:
    """Return for each output that is no float and no sequence where it may be another number on another machine.

    For the labels of an ArgMax or ArgMin: at the ties of its scores. For any other: where it changed in one of two
    disturbed runs, and at 8 times as many positions in all. Takes up to six more runs; none where all are floats.
    """
    labels = {name: array for name, array in outputs.items() if not eps_of(array.dtype) and not is_sequence(array)}
    sources = {name: place for name in labels if (place := _scores(graph, name)) is not None}
    found = {}
    if sources:
        scores = Session(graph, outputs=sorted({tensor for tensor, _, _ in sources.values()})).run(feed)
        tolerance = close_tolerance(graph, feed, scores)
        for name, (tensor, axis, smallest) in sources.items():
            margin = ranked(-scores[tensor] if smallest else scores[tensor], axis)[1]
            at = level(margin, tolerance[tensor]).reshape(labels[name].shape)
            found[name] = Loose(at, int(at.sum()))
    others = {name: np.zeros(array.shape, np.bool_) for name, array in labels.items() if name not in found}
    for run in disturbed(graph, feed, list(others)) if others else ():
        for name, array in run.items():
            others[name] |= array != labels[name] if array.shape == labels[name].shape else True
    return found | {name: Loose(at, min(int(TIMES_NOISE * at.sum()), at.size)) for name, at in others.items()}


def _scores(graph: Graph, name: str) -> tuple[str, int, bool] | None:
    """Return the float tensor whose labels are at ``name``, their axis, and whether they are of the smallest score."""
    while (node := graph.index.producer(name)) is not None and node.op_type in _SAME_ORDER:
        name = node.input[0]
    if node is None or node.op_type not in ("ArgMax", "ArgMin") or node.domain not in ("", "ai.onnx"):
        return None
    value = graph.value(node.input[0]) if graph.index.producer(node.input[0]) is not None else None
    if value is None or value.dtype == 0 or eps_of(ops.numpy_dtype(value.dtype)) == 0:
        return None
    axis = ops.effective(node, "axis", graph.opset())
    return node.input[0], axis if isinstance(axis, int) else 0, node.op_type == "ArgMin"
