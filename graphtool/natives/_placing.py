"""Constants in place of the nodes that made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from onnx import NodeProto, helper

from graphtool.graph import Graph
from graphtool.graph.sort import drop_unread, remove_nodes
from graphtool.graph.weights import LAZY_BYTES
from graphtool.natives._call import Array
from graphtool.natives._kernels import tensor_of


def replace_node(graph: Graph, slot: int, names: Sequence[str], values: Mapping[str, Array]) -> None:
    """Remove the node in ``slot``; those of its outputs that are in ``names`` become constants.

    Constant nodes take the documentation and the metadata of the old node, and the first one its name.
    """
    node = graph.node(slot)
    assert node is not None
    graph.remove_node(slot)
    first = bool(node.name)
    for step, name in enumerate(names):
        constant = constant_node(graph, name, values[name], f"{node.name or node.op_type}/{name}")
        if constant is None:
            continue
        if first:
            constant.name, first = node.name, False
        if node.doc_string:
            constant.doc_string = node.doc_string
        constant.metadata_props.extend(node.metadata_props)
        graph.add_node(constant, slot, step)


def constant_node(graph: Graph, name: str, array: Array, wish: str) -> NodeProto | None:
    """Make ``name`` a constant: an initializer, or a Constant node, which is returned for the caller to place.

    An output of the graph is made by a node, which every reader of models knows, an initializer that is an output is
    not; so is a value in a body of IR 3 and before, where initializers must be inputs. ``wish`` is a name for the node.
    """
    outputs = (info.name for info in graph.header.output)
    if name not in outputs and (graph.parent is None or graph.proto.ir_version >= 4):
        graph.put_initializer(name, array)
        return None
    tensor = tensor_of(array, "")
    if len(tensor.raw_data) > LAZY_BYTES:
        tensor.raw_data = graph.weights.hold(tensor.raw_data)
    return helper.make_node("Constant", [], [name], graph.names.fresh_node(wish), value=tensor)


def drop_unneeded(graph: Graph, names: Iterable[str]) -> None:
    """Remove what makes those of the values ``names`` that nothing reads any more: nodes, and constants."""
    freed = dict.fromkeys(names)
    makers = [slot for name in freed if (slot := graph.index.producer_slot(name)) is not None]
    more: set[str] = set()
    remove_nodes(graph, makers, more)
    drop_unread(graph, [*freed, *sorted(more)])
