"""Content: what is known of the elements of a small tensor, symbol by symbol.

Shapes are computed in the graph from other shapes, on tensors of a few integers. A :class:`Content` holds such a tensor
element by element, an element being a number, a symbol or None. Floats are held too, but as numbers only: exporters
scale sizes through ``Cast``, ``Mul``, ``Floor`` and ``Cast``.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.graph.opset import numpy_dtype

Item = int | float | str | None
Items = NDArray[np.object_]

MOST_ITEMS = 256  # elements of a tensor whose numbers are looked at
MOST_UNKNOWN = 64  # ... of which each can be a symbol of its own: vectors of sizes are short

FARTHEST = ((1 << 31) - 1, (1 << 63) - 1)  # what stands for "to the end" in Slice

# the integers each element type holds
RANGES: dict[int, tuple[int, int]] = {
    TensorProto.BOOL: (0, 1),
    **{
        code: (-(1 << bits - 1), (1 << bits - 1) - 1)
        for code, bits in (
            (TensorProto.INT8, 8),
            (TensorProto.INT16, 16),
            (TensorProto.INT32, 32),
            (TensorProto.INT64, 64),
        )
    },
    **{
        code: (0, (1 << bits) - 1)
        for code, bits in (
            (TensorProto.UINT8, 8),
            (TensorProto.UINT16, 16),
            (TensorProto.UINT32, 32),
            (TensorProto.UINT64, 64),
        )
    },
}
FLOATS = frozenset({TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE})


class Content(NamedTuple):
    """The elements of a tensor: element type (``TensorProto.DataType``), shape, elements in row-major order.

    An element is a number (booleans are 0 and 1), a symbol or None (unknown). A symbol is one of the model, or one
    that starts with ``?`` and stands for some number that is the same wherever the symbol occurs in this graph.
    """

    dtype: int
    shape: tuple[int, ...]
    items: tuple[Item, ...]

    @property
    def known(self) -> bool:
        """Whether every element is a number."""
        return not any(item is None or isinstance(item, str) for item in self.items)

    @property
    def numeric(self) -> NDArray[Any] | None:
        """The tensor as an array; None where an element is no number."""
        if not self.known:
            return None
        return np.array(self.items, numpy_dtype(self.dtype)).reshape(self.shape)

    @property
    def array(self) -> Items:
        """The elements as an array of objects, in the tensor's shape."""
        return boxed(self.items, self.shape)

    @property
    def ints(self) -> tuple[int, ...] | None:
        """The elements as integers; None where one is none."""
        found = tuple(item for item in self.items if isinstance(item, int))
        return found if len(found) == len(self.items) else None


def boxed(items: Any, shape: tuple[int, ...]) -> Items:
    """Return an array of objects with ``items`` in row-major order."""
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def holds(dtype: int) -> bool:
    """Whether contents of an element type are followed."""
    return dtype in RANGES or dtype in FLOATS


def content_of(dtype: int, array: Items | Item) -> Content:
    """Return the content in an array of objects, or in one element, as numpy hands it out of an array without axes."""
    if not isinstance(array, np.ndarray):
        return Content(dtype, (), (array,))
    return Content(dtype, array.shape, tuple(array.ravel().tolist()))


def content_of_array(dtype: int, array: NDArray[Any]) -> Content | None:
    """Return the content of a constant; None where it is large or of a type that is not followed."""
    if array.size > MOST_ITEMS or not holds(dtype) or array.dtype.kind not in "biuf":
        return None
    items = array.ravel().tolist()
    return Content(dtype, array.shape, tuple(map(int, items)) if dtype == TensorProto.BOOL else tuple(items))


def is_small(shape: tuple[Any, ...] | None) -> bool:
    """Whether a tensor of that shape can have a content: its rank is known and it has few elements."""
    return shape is not None and all(isinstance(dim, int) for dim in shape) and prod(shape) <= MOST_ITEMS
