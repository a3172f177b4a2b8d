"""A graph without what exporters write in different ways and what changes no number: so that two of them look alike."""

from __future__ import annotations

from onnx import AttributeProto, NodeProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.fields import keep_only
from graphtool.natives import constants_to_initializers

# defaults that the text of the operators states and their schemas do not
_NEUTRAL: dict[str, int] = {"dilations": 1, "strides": 1, "pads": 0}
_WINDOWED = frozenset("AveragePool Conv ConvTranspose LpPool MaxPool".split())


def make_plain(graph: Graph) -> Graph:
    """Change ``graph`` and return it: no Constant, no Identity, no attribute that only says its default."""
    constants_to_initializers.apply(graph, {})
    outputs = {info.name for info in graph.header.output}
    for slot in graph.index.slots_of_type("Identity"):
        node = graph.node(slot)
        if node is not None and node.domain in ("", "ai.onnx") and node.output[0] not in outputs:
            graph.replace_uses(node.output[0], node.input[0])
            graph.remove_node(slot)
    version = graph.opset()
    for node in graph.nodes:
        if node.domain in ("", "ai.onnx") and node.attribute:
            _drop_defaults(graph, node, version)
        node.ClearField("doc_string")
        del node.metadata_props[:]
    graph.reindex()
    return graph


def _drop_defaults(graph: Graph, node: NodeProto, version: int | None) -> None:
    keep_only(node.attribute, lambda attribute: not _says_nothing(graph, node, attribute, version))


def _says_nothing(graph: Graph, node: NodeProto, attribute: AttributeProto, version: int | None) -> bool:
    if attribute.ref_attr_name:
        return False
    if attribute.type not in (AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.STRING):
        return False
    own = ops.effective(node, attribute.name, version)
    if own == ops.plain(ops.default(node.op_type, "", version, attribute.name)):
        return True
    if node.op_type not in _WINDOWED or not isinstance(own, list):
        return False
    if attribute.name == "kernel_shape" and node.op_type in ("Conv", "ConvTranspose"):
        weight = graph.value(node.input[1]) if len(node.input) > 1 else None
        return weight is not None and weight.shape is not None and list(weight.shape[2:]) == own
    return attribute.name in _NEUTRAL and set(own) == {_NEUTRAL[attribute.name]}
