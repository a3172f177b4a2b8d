"""Recurrent layers without the zeros that exporters start them with: a state that is absent is zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import NodeProto, numpy_helper

from graphtool.graph import Graph
from graphtool.natives._placing import drop_unneeded
from graphtool.rewrite.result import Applied, Match, label

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them

_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}  # places of the states among the inputs
_MOVES = frozenset("Expand Tile Reshape Squeeze Unsqueeze Transpose Slice Identity Cast".split())
_DEPTH = 16  # nodes from a state back to its zeros


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Drop initial states that are zero, in the main graph and its bodies."""
    matches = []
    for level in graph.levels():
        for op_type, places in _STATES.items():
            for slot in level.index.slots_of_type(op_type):
                node = level.node(slot)
                if node is None or node.domain not in ("", "ai.onnx"):
                    continue
                zeros = [k for k in places if k < len(node.input) and node.input[k] and _zero(level, node.input[k])]
                if zeros:
                    matches.append(Match(label(node), "native"))
                    _drop(level, slot, node, zeros)
    return Applied(matches)


def _drop(graph: Graph, slot: int, node: NodeProto, places: Sequence[int]) -> None:
    """Put a node in place of another that lacks the inputs at ``places``."""
    new = NodeProto()
    new.CopyFrom(node)
    for place in places:
        new.input[place] = ""
    while not new.input[-1]:
        del new.input[-1]
    graph.remove_node(slot)
    graph.add_node(new, slot)
    drop_unneeded(graph, [node.input[place] for place in places])


def _zero(graph: Graph, name: str, depth: int = 0) -> bool:
    """Whether a value is zero in each element, whatever its shape."""
    constant = graph.constant(name)
    if constant is not None:
        return constant.dtype.kind == "f" and not constant.any()
    node = graph.index.producer(name)
    if node is None or node.domain not in ("", "ai.onnx") or depth > _DEPTH:
        return False
    if node.op_type == "ConstantOfShape":
        return _fills_zero(node)
    if node.op_type == "Concat":
        return all(_zero(graph, part, depth + 1) for part in node.input)
    return node.op_type in _MOVES and _zero(graph, node.input[0], depth + 1)


def _fills_zero(node: NodeProto) -> bool:
    values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    return not any(numpy_helper.to_array(value).any() for value in values)
