"""Constants that keep a divisor from zero: an epsilon that is added, or a lower bound."""

from __future__ import annotations

from onnx import NodeProto

from graphtool.graph import Graph


def is_guard(node: NodeProto | None, position: int) -> bool:
    """Whether the input of a node at ``position`` is what is added, or a lower bound: a tiny number there is a guard.

    A factor is none: there a larger number in place of a tiny one is another result.
    """
    if node is None or node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in ("Add", "Max") or (node.op_type == "Clip" and position == 1)


def only_guards(graph: Graph, name: str) -> bool:
    """Whether every reader of a value, in this graph alone, reads it as a guard."""
    if any(info.name == name for info in graph.header.output):
        return False
    for slot in graph.index.reader_slots(name):
        node = graph.node(slot)
        places = [] if node is None else [place for place, read in enumerate(node.input) if read == name]
        if not places or not all(is_guard(node, place) for place in places):  # no place: a body reads it
            return False
    return True
