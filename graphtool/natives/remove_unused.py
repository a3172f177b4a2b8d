"""Dead code: nodes, initializers and local functions that no output needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from graphtool.graph import Graph
from graphtool.graph.sort import remove_unused
from graphtool.rewrite.result import Applied, Match, label


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Remove what nothing needs; graph inputs stay."""
    nodes = [(slot, label(node)) for slot in graph.live_slots() if (node := graph.node(slot)) is not None]
    before = _parts(graph)
    remove_unused(graph)
    after = _parts(graph)
    gone = [name for slot, name in nodes if graph.node(slot) is None]
    gone += [part for part, count in before.items() for _ in range(count - after[part])]
    return Applied([Match(name, "native") for name in gone])


def _parts(graph: Graph) -> Counter[str]:
    """Return what else can be unused, by the name a person knows it by."""
    top = graph.proto.graph
    parts = Counter(f"weight {name}" for name in graph.initializers)
    parts.update(f"weight {tensor.values.name}" for tensor in top.sparse_initializer)
    parts.update(f"function {function.name}" for function in graph.proto.functions)
    parts.update(f"type of {info.name}" for info in top.value_info)
    parts.update(f"quantization of {note.tensor_name}" for note in top.quantization_annotation)
    return parts
