"""Dead code: nodes, initializers and local functions that no output needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from onnx import NodeProto

from graphtool.graph import Graph
from graphtool.graph.sort import remove_unused
from graphtool.rewrite.result import Applied, Match, label

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Remove what nothing needs; graph inputs stay."""
    weights, others = _weights(graph), _others(graph)
    nodes: dict[int, NodeProto] = {}
    inside: list[NodeProto] = []
    remove_unused(graph, nodes, inside)
    gone = [label(node) for node in (*inside, *(nodes[slot] for slot in sorted(nodes, key=graph.rank)))]
    for before, after, words in ((weights, _weights(graph), "weight {}"), (others, _others(graph), "{}")):
        if len(before) > len(after):
            gone += [words.format(name) for name in (Counter(before) - Counter(after)).elements()]
    return Applied([Match(name, "native") for name in gone])


def _weights(graph: Graph) -> list[str]:
    return [*graph.initializers, *(tensor.values.name for tensor in graph.header.sparse_initializer)]


def _others(graph: Graph) -> list[str]:
    """Return what else can be unused, by the name a person knows it by; one of them may occur twice."""
    top = graph.proto.graph
    parts = [f"function {function.name}" for function in graph.proto.functions]
    parts += (f"type of {info.name}" for info in top.value_info)
    parts += (f"quantization of {note.tensor_name}" for note in top.quantization_annotation)
    return parts
