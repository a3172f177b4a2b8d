"""One node taken out: what it read goes on in place of what it made."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph
from graphtool.graph.sort import remove_unused
from graphtool.natives._named import done, find_node
from graphtool.rewrite.result import Applied, Match, Miss, label


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Take the node ``node`` out and let the readers of its output read its input ``input``. Raises PassError."""
    name, position = params["node"], params["input"]
    assert isinstance(name, str) and isinstance(position, int)
    if not name:
        return Applied(misses=[Miss("", "native", "no node is named; give node=NAME")])
    level, slot = find_node(graph, name)
    node = level.node(slot)
    assert node is not None
    outputs = {info.name for info in level.header.output}
    read = [made for made in node.output if made and (level.index.uses(made) or made in outputs)]
    if len(read) > 1:
        raise PassError(
            f"node {quoted(label(node))} makes {', '.join(map(quoted, read))}; only one value can be bypassed"
        )
    where = label(node)
    if read and not _bypass(level, slot, node, position, read[0], outputs):
        return Applied(misses=[Miss(where, "native", "an input and an output of the graph cannot be one tensor")])
    if not read:
        level.remove_node(slot)
    done(graph, level)
    remove_unused(graph)
    return Applied([Match(where, "native")])


def _bypass(level: Graph, slot: int, node: NodeProto, position: int, made: str, outputs: set[str]) -> bool:
    """Let what reads ``made`` read an input of the node; returns whether anything changed."""
    inputs = [name for name in node.input if name]
    if not 0 <= position < len(node.input) or not node.input[position]:
        raise PassError(f"node {quoted(label(node))} has {len(inputs)} inputs and no input {position}")
    source = node.input[position]
    maker = level.index.producer_slot(source)
    if made not in outputs:
        level.remove_node(slot)
        level.replace_uses(made, source)
    elif maker is not None and source not in outputs:
        producer = level.node(maker)
        assert producer is not None
        level.remove_node(slot)
        level.replace_uses(source, made)
        level.rename_output(maker, list(producer.output).index(source), made)
    else:  # the output keeps its name, and so does an input, a weight or another output
        if node.op_type == "Identity" and node.domain in ("", "ai.onnx"):
            return False
        own = NodeProto(op_type="Identity", input=[source], output=[made], name=node.name)
        level.remove_node(slot)
        level.add_node(own, slot)
    return True
