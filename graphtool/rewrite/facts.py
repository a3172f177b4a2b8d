"""The tensors of a graph as expressions see them."""

from __future__ import annotations

from graphtool.graph import Graph
from graphtool.rewrite.expr import TensorRef


def tensor_ref(graph: Graph, name: str) -> TensorRef:
    """Return the facts of value ``name``; ``''`` is an absent optional input."""
    if not name:
        return TensorRef("", present=False)
    value = graph.value(name)
    is_output = any(info.name == name for info in graph.header.output)
    return TensorRef(
        name,
        value.dtype if value else None,
        value.shape if value else None,
        lambda: graph.constant(name),
        graph.index.uses(name) + is_output,
    )
