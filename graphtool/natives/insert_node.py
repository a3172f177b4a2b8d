"""One node put behind a tensor: what read the tensor reads what the node makes."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.natives._named import check_tensors, done, find_node, op_of, parsed_attributes, same_attributes
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Put an ``operator`` behind the tensor, or the node's output, ``at``. Raises PassError."""
    at, op, words, inputs, wish = (params[key] for key in ("at", "operator", "attributes", "inputs", "called"))
    assert isinstance(at, str) and isinstance(op, str) and isinstance(words, list)
    assert isinstance(inputs, list) and isinstance(wish, str)
    if not at:
        return Applied(misses=[Miss("", "native", "no place is named; give at=TENSOR")])
    level, tensor = _place(graph, at)
    op_type, domain = op_of(op, graph)
    attributes = parsed_attributes(words, op_type, domain, graph)
    read = inputs or [tensor]
    if tensor not in read:
        raise PassError(f"the new node does not read {quoted(tensor)}; name it in 'inputs' where it goes")
    check_tensors(level, read)
    own = NodeProto(op_type=op_type, domain=domain, input=read)
    own.attribute.extend(attributes[key] for key in sorted(attributes))
    if _is_there(level, tensor, own):
        return Applied(misses=[Miss(tensor, "native", "such a node stands there already")])
    own.name = level.names.fresh_node(wish or f"{tensor}/{op_type}")
    _put(level, tensor, own)
    ops.import_domain(graph.proto, domain, op_type)
    done(graph, level)
    return Applied([Match(own.name, "native")])


def _place(graph: Graph, at: str) -> tuple[Graph, str]:
    """Return the level and the tensor that ``at`` says: an input, a weight, a node's output, or a node by name."""
    if at in graph.initializers or any(info.name == at for info in graph.header.input):
        return graph, at
    level, slot = find_node(graph, at)
    node = level.node(slot)
    assert node is not None
    if at in node.output:
        return level, at
    made = [value for value in node.output if value]
    if len(made) != 1:
        raise PassError(f"node {quoted(at)} makes {', '.join(map(quoted, made))}; name one of them")
    return level, made[0]


def _is_output(level: Graph, tensor: str) -> bool:
    return any(info.name == tensor for info in level.header.output)


def _is_there(level: Graph, tensor: str, wanted: NodeProto) -> bool:
    """Whether such a node is all that reads the tensor already, or makes it where it is an output."""
    if _is_output(level, tensor):
        node = level.index.producer(tensor)
        place = list(wanted.input).index(tensor)
        reads = node is not None and len(node.input) == len(wanted.input) and [
            name for k, name in enumerate(node.input) if k != place
        ] == [name for k, name in enumerate(wanted.input) if k != place]  # fmt: skip
    else:
        readers = level.index.consumers(tensor)
        node = readers[0] if len(readers) == 1 else None
        reads = node is not None and list(node.input) == list(wanted.input)
    if node is None or not reads or (node.op_type, node.domain) != (wanted.op_type, wanted.domain):
        return False
    return same_attributes(node, {attribute.name: attribute for attribute in wanted.attribute})


def _put(level: Graph, tensor: str, own: NodeProto) -> None:
    slot = level.index.producer_slot(tensor)
    if _is_output(level, tensor):
        if slot is None:
            raise PassError(f"{quoted(tensor)} is an input or a weight and an output; nothing can stand between them")
        node = level.node(slot)
        assert node is not None
        inner = level.names.fresh_value(f"{tensor}/before_{own.op_type}")
        level.rename_output(slot, list(node.output).index(tensor), inner)
        for position, name in enumerate(own.input):
            own.input[position] = inner if name == tensor else name
        own.output.append(tensor)
    else:
        own.output.append(level.names.fresh_value(f"{tensor}/{own.op_type}"))
        level.replace_uses(tensor, own.output[0])
    makers = [maker for name in own.input if (maker := level.index.producer_slot(name)) is not None]
    if makers:  # behind the last of what it reads
        level.add_node(own, max(makers, key=level.rank), 1)
    else:
        level.prepend_node(own)
