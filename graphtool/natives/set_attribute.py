"""One attribute of one node."""

from __future__ import annotations

from collections.abc import Mapping

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.natives._named import done, find_node, parsed_attribute, set_attributes
from graphtool.rewrite.result import Applied, Match, Miss, label


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Set ``attribute`` of the node ``node`` to ``value``, or leave it to its default. Raises PassError."""
    name, attribute, text = params["node"], params["attribute"], params["value"]
    assert isinstance(name, str) and isinstance(attribute, str) and isinstance(text, str)
    if not name:
        return Applied(misses=[Miss("", "native", "no node is named; give node=NAME")])
    level, slot = find_node(graph, name)
    node = level.node(slot)
    assert node is not None
    old = ops.attribute_of(node, attribute)
    if params["unset"]:
        if old is None:
            known = [own.name for own in node.attribute]
            near = did_you_mean(attribute, known)
            if near:
                raise PassError(f"node {quoted(label(node))} does not set {quoted(attribute)}{near}")
            return Applied(misses=[Miss(label(node), "native", f"it does not set {quoted(attribute)}")])
        kept = [own for own in node.attribute if own.name != attribute]
        values = [type(own).FromString(own.SerializeToString()) for own in kept]
        del node.attribute[:]
        node.attribute.extend(values)
    else:
        new = parsed_attribute(node.op_type, node.domain, graph, attribute, text, old)
        if not set_attributes(node, [new]):
            return Applied(misses=[Miss(label(node), "native", "the attribute has that value already")])
    done(graph, level)
    return Applied([Match(label(node), "native")])
