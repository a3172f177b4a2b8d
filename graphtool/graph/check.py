"""Is a graph sound? What rewriting needs to hold, each fault said with the name it is at."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import GraphProto, NodeProto, ValueInfoProto

from graphtool.errors import ModelError, quoted
from graphtool.graph.bodies import HOLDERS, all_tensors, bodies, captures, has_bodies
from graphtool.graph.calls import check_calls
from graphtool.graph.facts_masks import breaks_onnx
from graphtool.graph.fields import arrange
from graphtool.graph.model import Graph
from graphtool.graph.sizes import MOST_DIMENSIONS, TYPES, size_fault
from graphtool.graph.sort import in_order, sort_nodes, topological
from graphtool.graph.stripped import is_stripped
from graphtool.graph.weights import external_place, is_external


def check(graph: Graph) -> bool:
    """Raise ModelError unless the graph is sound; sort its nodes topologically and return whether that was needed.

    Sound: each value is defined once, each read value is defined, each output has a producer, there is no cycle, no
    two nodes share a non-empty name, names are UTF-8, inputs have types and sizes that there are, local functions come
    to an end, and external data is where it may be and long enough (but for stripped weights, whose file may be
    elsewhere). Bodies are held to the same and sorted too.
    """
    if graph.opset() is None and any(node.domain in ("", "ai.onnx") for node in graph.nodes):
        raise ModelError("the model names no opset for the default domain (opset_import); export it again")
    if not graph.header.output:
        raise ModelError("the graph has no outputs")
    check_calls(graph.proto)
    ordered, bodies_moved = _check_level(graph.proto.graph, ())
    for tensor in all_tensors(graph.proto):
        fault = size_fault(tensor)
        if fault is not None:
            raise ModelError(f"{fault}; export the model again")
        if is_external(tensor) and not is_stripped(tensor):
            folder = graph.weights.folder
            if folder is None:
                raise ModelError(f"external data of {quoted(tensor.name)}: load the model from a file")
            external_place(tensor, folder)
    if ordered:
        return bodies_moved
    sort_nodes(graph)
    return True


def _check_level(graph: GraphProto, outer: tuple[set[str], ...]) -> tuple[bool, bool]:
    """Check one graph and the bodies in it, which are sorted; return whether it is in order, and all bodies were not.

    One walk, which reads each field of a node once: a field costs as much as all that is done with it.
    """
    inputs: set[str] = set()
    for info in graph.input:
        _define(inputs, info.name, "graph input")
        _check_type(info)
    own: set[str] = set()  # an initializer may also be an input: then it is the input's default
    for name in (*(t.name for t in graph.initializer), *(t.values.name for t in graph.sparse_initializer)):
        _define(own, name, "initializer")
    own |= inputs
    names: set[str] = set()
    operators: set[str] = set()
    read: set[str] = set()
    holders = []
    ordered = True
    for position, node in enumerate(graph.node):
        name, op_type, domain = node.name, node.op_type, node.domain
        if name and op_type != "Constant":  # onnxruntime takes those for weights before it looks at names
            if name in names:
                raise ModelError(f"two nodes are named {quoted(name)}; give each its own name")
            names.add(name)
        operators.add(op_type)
        operators.add(domain)
        read.update(node.input[:])
        if (op_type in HOLDERS or domain) and has_bodies(node):
            holders.append(node)
            read |= captures(node)
        for value in node.output[:]:
            if value:
                if value in own:
                    raise ModelError(
                        f"value {quoted(value)} is defined twice, the second time by {_where(node, position)}"
                    )
                own.add(value)
                ordered = ordered and value not in read
    found: Iterable[object] = own | names | operators
    for name in found:
        if isinstance(name, bytes):  # protobuf gives out text that is not UTF-8 as bytes, and takes none back
            raise ModelError(f"the name {quoted(name)} is not UTF-8; export the model again")
    scopes = (own, *outer)
    read.discard("")
    if "Einsum" in operators or not own.issuperset(read):
        _check_reads(graph, scopes)
    for info in graph.output:
        if not any(info.name in scope for scope in scopes):
            raise ModelError(f"graph output {quoted(info.name)} has no producer")
    moved = False
    for node in holders:
        for body in bodies(node):
            moved |= _check_level(body, scopes)[1]
            nodes = list(body.node)
            if not in_order(nodes):
                arrange(body.node, [nodes[place] for place in topological(nodes)])
                moved = True
    return ordered, moved


def _check_reads(graph: GraphProto, scopes: tuple[set[str], ...]) -> None:
    for position, node in enumerate(graph.node):
        for value in node.input[:]:
            if value and not any(value in scope for scope in scopes):
                raise ModelError(
                    f"{_where(node, position)} reads {quoted(value)}, which nothing defines (dangling input)"
                )
        if node.op_type == "Einsum" and breaks_onnx(node):  # neither onnx nor onnxruntime would come back from it
            raise ModelError(f"{_where(node, position)}: its equation is none of Einsum; export the model again")


def _check_type(info: ValueInfoProto) -> None:
    """Raise ModelError for an input of which no array can be made."""
    tensor = info.type.tensor_type
    if tensor.elem_type not in TYPES:
        raise ModelError(f"graph input {quoted(info.name)} has element type {tensor.elem_type}, which ONNX has not")
    if len(tensor.shape.dim) > MOST_DIMENSIONS:
        raise ModelError(
            f"graph input {quoted(info.name)} has {len(tensor.shape.dim)} dimensions, more than {MOST_DIMENSIONS}"
        )


def _where(node: NodeProto, position: int) -> str:
    return f"node {quoted(node.name or f'{node.op_type} at index {position}')}"


def _define(own: set[str], name: str, what: str) -> None:
    if name in own:
        raise ModelError(f"{what} {quoted(name)} is defined twice")
    own.add(name)
