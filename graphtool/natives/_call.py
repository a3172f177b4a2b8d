"""A node with the values of its inputs, as the evaluators in this package take it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from graphtool.graph.opset import effective

Array = NDArray[Any]


class Elsewhere(Exception):  # noqa: N818
    """Not computed here: a form, a type or a size that is left to onnxruntime."""


class Undefined(Exception):  # noqa: N818
    """The node has no value, or one that differs from machine to machine: it must stay. The message is the reason."""


class Call(NamedTuple):
    """A node of the default domain at an opset; ``inputs`` are its values, None for an absent one.

    ``limit`` is the size in bytes that a result may have.
    """

    node: NodeProto
    opset: int
    inputs: Sequence[Array | None]
    limit: int

    def array(self, place: int) -> Array:
        """Return an input that must be there; raises Elsewhere where it is not."""
        found = self.maybe(place)
        if found is None:
            raise Elsewhere
        return found

    def maybe(self, place: int) -> Array | None:
        """Return an input, None where it is absent."""
        return self.inputs[place] if place < len(self.inputs) else None

    def ints(self, place: int) -> list[int]:
        """Return an input of integers (a shape, axes) as a list."""
        found = self.array(place)
        if found.dtype.kind not in "iu":
            raise Elsewhere
        return [int(item) for item in found.reshape(-1).tolist()]

    def attribute(self, name: str) -> Any:
        """Return an attribute as set or by the opset's default; None where there is neither."""
        return effective(self.node, name, self.opset)

    def axes(self, place: int, since: int) -> list[int] | None:
        """Return axes, which are an attribute before opset ``since`` and then input ``place``; None where absent."""
        if self.opset >= since:
            return self.ints(place) if self.maybe(place) is not None else None
        found = self.attribute("axes")
        return None if found is None else list(found)

    def room(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        """Raise Elsewhere where a result of that shape and type is over the limit."""
        if math.prod(shape) * max(dtype.itemsize, 1) > self.limit:
            raise Elsewhere

    def broadcast(self, *arrays: Array, dtype: np.dtype[Any] | None = None) -> tuple[int, ...]:
        """Return the common shape of arrays; raises Elsewhere where there is none or it is over the limit."""
        if self.opset < 7 and any(array.shape != arrays[0].shape for array in arrays):
            raise Elsewhere  # there broadcasting is asked for by an attribute
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        self.room(shape, dtype or arrays[0].dtype)
        return shape


Evaluator = Callable[[Call], list[Array]]
