"""Names that collide with nothing."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx import NodeProto

from graphtool.graph.bodies import all_names, bodies, walk

if TYPE_CHECKING:
    from graphtool.graph.model import Graph


class Names:
    """Hands out value and node names that occur nowhere in a model, bodies included, and never twice."""

    def __init__(self, graph: Graph) -> None:
        self._graph: Graph = weakref.proxy(graph)  # without a cycle a dropped graph frees its weights at once
        # what no index lists: names in bodies, of inputs, outputs and sparse tensors, and those handed out; also names
        # of which only a note is left (value_info of a removed node), since the note would be read as the new value's
        self._values: set[str] | None = None
        self._nodes: set[str] | None = None
        # how far each wish has been numbered, by kind: a thousand equal wishes stay linear
        self._counts: dict[tuple[str, str], int] = {}

    def added(self, node: NodeProto) -> None:
        """Take up a new node, whose name a caller may have chosen."""
        if self._nodes is not None:
            self._nodes.add(node.name)
        if self._values is not None:
            for body in bodies(node):
                self._values |= all_names(body)

    def fresh_value(self, wish: str) -> str:
        """Return ``wish``, or ``wish_2``, ``wish_3`` ... where that name is taken."""
        graph = self._graph
        if self._values is None:
            top = graph.proto.graph
            self._values = {info.name for info in (*top.input, *top.output, *top.value_info)}
            self._values.update(tensor.values.name for tensor in top.sparse_initializer)
            self._values.update(note.tensor_name for note in top.quantization_annotation)
            for body in graph.body_graphs():
                self._values |= all_names(body)
        taken = (self._values, graph.initializers, graph.index.producers, graph.index.readers)
        return self._first_free("value", wish, lambda name: any(name in names for names in taken), self._values)

    def fresh_node(self, wish: str) -> str:
        """Return a node name like ``wish`` that no node has: onnxruntime refuses two nodes of one name."""
        if self._nodes is None:
            self._nodes = {node.name for node in walk(self._graph.proto.graph)}
        return self._first_free("node", wish, self._nodes.__contains__, self._nodes)

    def _first_free(self, kind: str, wish: str, taken: Callable[[str], bool], handed_out: set[str]) -> str:
        wish = wish or kind
        name, count = wish, self._counts.get((kind, wish), 1)
        while taken(name):
            count += 1
            name = f"{wish}_{count}"
        self._counts[kind, wish] = count
        handed_out.add(name)
        return name
