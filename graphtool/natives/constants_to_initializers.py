"""Constant nodes as initializers: one place for every weight, where equal ones are shared and large ones wait."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import AttributeProto, NodeProto, TensorProto

from graphtool.graph import Graph
from graphtool.graph.weights import fill_tensor
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each Constant

_BODY = "native"


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Turn every Constant node into an initializer, in bodies too, except where its value is a graph output."""
    result = Applied()
    for level in graph.levels():
        _level(level, result, offer)
    return result


def _level(graph: Graph, result: Applied, offer: Offer) -> None:
    outputs = {info.name for info in graph.header.output}
    noted = {note.tensor_name for note in graph.header.quantization_annotation}
    slots = graph.index.slots_of_type("Constant")
    old = bool(slots) and graph.proto.ir_version < 4  # asked once: it puts the node list in order
    for slot in slots:
        node = graph.node(slot)
        if node is None or node.domain not in ("", "ai.onnx"):
            continue
        where = label(node)
        reason = _refusal(old, node, outputs, noted)
        tensor = None if reason else _tensor(graph, node)
        if tensor is None:
            result.misses.append(Miss(where, _BODY, reason or "its value is sparse, or given by a function's caller"))
            continue
        if not offer(where, alias(node)):
            continue
        graph.remove_node(slot)
        graph.adopt_initializer(tensor)
        result.matches.append(Match(where, _BODY))


def _refusal(old: bool, node: NodeProto, outputs: set[str], noted: set[str]) -> str:
    if old:
        return "before IR 4 an initializer is an input too"
    if not any(node.output):
        return "it makes nothing that has a name"
    if node.output[0] in outputs:
        return "its value is a graph output, which a node makes"
    if node.metadata_props or node.doc_string or node.output[0] in noted:
        return "it carries documentation, metadata or a quantization annotation"
    return ""


def _tensor(graph: Graph, node: NodeProto) -> TensorProto | None:
    """Return the node's value as an initializer; None where it has none."""
    own = TensorProto()
    attribute = node.attribute[0] if len(node.attribute) == 1 else None
    if attribute is not None and attribute.type == AttributeProto.TENSOR and attribute.name == "value":
        own.CopyFrom(attribute.t)  # not read: it may lie in a file
        own.name = node.output[0]
        return own
    array = None if attribute is None or attribute.ref_attr_name else graph.weights.constant(node)
    if array is None:
        return None
    fill_tensor(own, node.output[0], array)
    return own
