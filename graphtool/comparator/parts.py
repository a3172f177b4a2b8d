"""A graph run for some of its tensors, in bounded memory: as many at a time as fit, and only what computes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from graphtool.graph import Graph
from graphtool.graph.declared import declare_dim
from graphtool.graph.opset import numpy_dtype
from graphtool.graph.sort import remove_unused
from graphtool.parity.session import Session

Array = NDArray[Any]
T = TypeVar("T")

MOST_BYTES = 1 << 29  # of tensors asked for in one run
_UNKNOWN = 1 << 24  # bytes: what a tensor of unknown size is taken for


def part(graph: Graph, names: Iterable[str]) -> Graph:
    """Return a copy of ``graph`` with only what computes the tensors ``names``, which are its outputs."""
    own = graph.copy()
    del own.header.output[:]
    for name in names:
        own.header.output.add(name=name)
    own.reindex()
    remove_unused(own)
    return own


def bound(graph: Graph, feed: Mapping[str, Array]) -> Graph:
    """Fix the declared sizes of the inputs to those of ``feed``, so that inner sizes are known; returns ``graph``."""
    for info in graph.header.input:
        array = feed.get(info.name)
        if array is not None and info.type.HasField("tensor_type"):
            dims = info.type.tensor_type.shape.dim
            for axis, size in enumerate(array.shape if len(dims) == array.ndim else ()):
                declare_dim(info, axis, size)
    graph.forget_shapes()
    return graph


def size_of(graph: Graph, name: str) -> int:
    """Return the bytes of a tensor as inferred; a guess where its size is not known."""
    value = graph.value(name)
    if value is None or value.dtype == 0 or not value.static:
        return _UNKNOWN
    return max(1, math.prod(value.dims)) * numpy_dtype(value.dtype).itemsize


def chunks(items: Sequence[T], sizes: Sequence[int], most: int) -> Iterator[list[T]]:
    """Cut a list into runs whose sizes add up to at most ``most``; an item larger than that is alone."""
    held: list[T] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if held and total + size > most:
            yield held
            held, total = [], 0
        held.append(item)
        total += size
    if held:
        yield held


def run_part(graph: Graph, feed: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """Return the tensors ``names``, which nodes of ``graph`` make, on ``feed``."""
    if not names:
        return {}
    return Session(part(graph, names), outputs=names).run(feed)
