"""Single numbers and truths that are the same in each run."""

from __future__ import annotations

from graphtool.graph import Graph
from graphtool.natives._call import Array


def boolean(graph: Graph, name: str) -> bool | None:
    """Return the one boolean in a value; None where it is not known."""
    return is_true(_value(graph, name))


def integer(graph: Graph, name: str) -> int | None:
    """Return the one integer in a value; None where it is not known."""
    found = _value(graph, name)
    return int(found.reshape(-1)[0]) if found is not None and found.size == 1 and found.dtype.kind in "iu" else None


def is_true(array: Array | None) -> bool | None:
    """Return the truth of an array of one element; None for any other."""
    return bool(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def _value(graph: Graph, name: str) -> Array | None:
    found = graph.constant(name)
    if found is None:
        content = graph.content(name)
        found = content.numeric if content is not None else None
    return found
