"""What a model may grow by where passes make it smaller: results in place of nodes, constants in place of shared ones.

One budget counts for whatever adds constants to a model, from the first time that somebody asks for it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from onnx import TensorProto

from graphtool.graph.bodies import all_tensors
from graphtool.graph.weights import MARKER_BYTES, is_external, is_lazy, payload_bytes

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

SLACK = 1 << 16  # bytes by which any model may grow: the smallest ones have no tenth worth speaking of
FRAME_BYTES = 24  # of a tensor's field headers, type and dimensions, about


class Bound(NamedTuple):
    """By what part of its size a model may grow, and by how many bytes beyond that; none is negative."""

    part: float
    slack: int


class Budget:
    """The bytes by which passes may make a model larger.

    It outlives one application, since a pipeline folds again and again: ``grown`` is what was taken so far. What other
    passes freed since the first measurement may be used, what they added is gone. ``copies`` bounds what rewrites may
    add beside constants that others read; None, as where a pass is asked for by its name, is no bound.
    """

    def __init__(self, graph: Graph) -> None:
        self.grown = 0
        self.copies: Bound | None = None
        self._root = weakref.ref(graph)
        self._first: int | None = None  # the size of the model when it was first measured, without ``grown``
        self.renew(Bound(0, 0))

    def renew(self, bound: Bound) -> None:
        """Begin another application with its bound."""
        self._part, self._slack = bound
        self._share: float | None = None
        self._size: int | None = None  # of the model now, once it is measured

    @contextmanager
    def bounding(self, copies: Bound | None) -> Iterator[None]:
        """Hold rewrites to a bound; inside of another one that stays as it is."""
        before = self.copies
        self.copies = before or copies
        try:
            yield
        finally:
            self.copies = before

    def allows(self, growth: int) -> bool:
        """Whether the model may grow by that many bytes now."""
        return growth <= self._slack - self.grown or growth <= self.left

    @property
    def left(self) -> float:
        """How many bytes are left; at least 0."""
        if self._part == math.inf:
            return math.inf
        if self._share is None:  # to measure a model takes a while, and most foldings make it smaller
            size = self._measured() - self.grown
            self._first = size if self._first is None else self._first
            self._share = self._part * self._first + self._first - size
        return max(self._share + self._slack - self.grown, 0)

    def anew(self, grown: int) -> float:
        """Return the budget that another process would have, once this one has made the model larger by so much."""
        return self._part * (self._measured() + grown) + self._slack

    def _measured(self) -> int:
        """Return the size of the model as this application found it."""
        if self._size is None:
            root = self._root()
            assert root is not None, "a budget is asked about a graph that is there"
            self._size = file_bytes(root)
        return self._size


def file_bytes(graph: Graph) -> int:
    """Return the size of the model as it would be written, external data included."""
    proto = graph.proto
    return int(proto.ByteSize()) + sum(map(_elsewhere, all_tensors(proto)))


def _elsewhere(tensor: TensorProto) -> int:
    if is_external(tensor):
        return payload_bytes(tensor) or 0
    return (payload_bytes(tensor) or 0) - MARKER_BYTES if is_lazy(tensor) else 0
