"""One node made another operator."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import AttributeProto, NodeProto, defs

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.natives._named import check_tensors, done, find_node, op_of, parsed_attributes, same_attributes
from graphtool.rewrite.result import Applied, Match, Miss, label


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Let the node ``node`` be an ``operator``; attributes that both operators have stay. Raises PassError."""
    name, op, words, inputs = (params[key] for key in ("node", "operator", "attributes", "inputs"))
    assert isinstance(name, str) and isinstance(op, str) and isinstance(words, list) and isinstance(inputs, list)
    if not name:
        return Applied(misses=[Miss("", "native", "no node is named; give node=NAME")])
    level, slot = find_node(graph, name)
    node = level.node(slot)
    assert node is not None
    op_type, domain = op_of(op, graph)
    attributes = parsed_attributes(words, op_type, domain, graph)
    known = ops.schema(op_type, domain, graph.opset(domain))
    kept = {
        own.name: own
        for own in node.attribute
        if (op_type, domain) == (node.op_type, node.domain)
        or (known is not None and own.name in known.attributes and _fits(own.type, known, own.name))
    }
    wanted = kept | attributes
    read = inputs or list(node.input)
    check_tensors(level, inputs)
    if (op_type, domain) == (node.op_type, node.domain) and same_attributes(node, wanted) and read == list(node.input):
        return Applied(misses=[Miss(label(node), "native", "it is that node already")])
    if known is not None:
        _check_arity(op_type, known, len(read), len([made for made in node.output if made]))
    own = NodeProto(op_type=op_type, domain=domain, name=node.name, input=read, output=node.output)
    own.attribute.extend(wanted[key] for key in sorted(wanted))
    own.metadata_props.extend(node.metadata_props)
    where = label(node)
    level.remove_node(slot)
    level.add_node(own, slot)
    ops.import_domain(graph.proto, domain, op_type)
    done(graph, level)
    return Applied([Match(where, "native")])


def _fits(kind: AttributeProto.AttributeType, known: defs.OpSchema, name: str) -> bool:
    wanted: str = AttributeProto.AttributeType.Name(kind)
    return str(known.attributes[name].type).rpartition(".")[2] == wanted


def _check_arity(op_type: str, known: defs.OpSchema, inputs: int, outputs: int) -> None:
    if not known.min_input <= inputs <= known.max_input:
        count = f"{known.min_input} to {known.max_input}" if known.max_input != known.min_input else known.min_input
        raise PassError(f"{op_type} takes {count} inputs, not {inputs}; name them with inputs=a+b")
    if not known.min_output <= outputs <= known.max_output:
        raise PassError(f"{op_type} does not make {outputs} outputs")
