"""Graphs inside nodes (If, Loop, Scan bodies): which outer values they read, and renaming those with scopes kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

# standard ops with a GRAPH attribute; nodes of other domains are looked at one by one
HOLDERS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_TENSOR, _TENSORS = int(AttributeProto.TENSOR), int(AttributeProto.TENSORS)


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that are attributes of ``node``, outermost only."""
    if node.domain in ("", "ai.onnx") and node.op_type not in HOLDERS:
        return
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def has_bodies(node: NodeProto) -> bool:
    """Whether ``node`` holds graphs."""
    if node.op_type not in HOLDERS and node.domain in ("", "ai.onnx"):
        return False
    return any(True for _ in bodies(node))


def defined(graph: GraphProto) -> set[str]:
    """Return the names that ``graph`` itself defines: inputs, initializers, node outputs."""
    names = {value.name for value in graph.input}
    names.update(tensor.name for tensor in graph.initializer)
    names.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        names.update(node.output[:])
    return names


def captures(node: NodeProto) -> set[str]:
    """Return the outer values that the bodies of ``node`` read, at any depth."""
    found: set[str] = set()
    for graph in bodies(node):
        read = {value.name for value in graph.output}
        for inner in graph.node:
            read.update(inner.input[:])
            if inner.op_type in HOLDERS or inner.domain:
                read |= captures(inner)
        found |= read - defined(graph)
    found.discard("")
    return found


def rename_captured(node: NodeProto, names: Mapping[str, str]) -> None:
    """Let the bodies of ``node`` read other outer values; a name that a body defines itself hides the outer one."""
    for graph in bodies(node):
        hidden = defined(graph)
        visible = {old: new for old, new in names.items() if old not in hidden}
        if not visible:
            continue
        for inner in graph.node:
            for position, name in enumerate(inner.input):
                if name in visible:
                    inner.input[position] = visible[name]
            rename_captured(inner, visible)
        for value in graph.output:
            if value.name in visible:
                value.name = visible[value.name]


def defined_below(graph: GraphProto) -> set[str]:
    """Return the names that ``graph`` and the bodies in it define."""
    names = defined(graph)
    for node in graph.node:
        for body in bodies(node):
            names |= defined_below(body)
    return names


def tensors(graph: GraphProto | FunctionProto) -> Iterator[TensorProto]:
    """Yield the dense tensors in ``graph`` and below it: initializers and those in attributes of nodes."""
    if isinstance(graph, GraphProto):
        yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute[:]:
            kind = attribute.type
            if kind == _TENSOR:
                yield attribute.t
            elif kind == _TENSORS:
                yield from attribute.tensors
        if has_bodies(node):
            for body in bodies(node):
                yield from tensors(body)


def all_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield the dense tensors of a model, those of its functions included."""
    yield from tensors(model.graph)
    for function in model.functions:
        yield from tensors(function)


def all_names(graph: GraphProto) -> set[str]:
    """Return every value name that occurs in ``graph`` or below it."""
    names = defined(graph) | {value.name for value in graph.output}
    for node in graph.node:
        names.update(node.input)
        for body in bodies(node):
            names |= all_names(body)
    return names


def walk(graph: GraphProto | FunctionProto) -> Iterator[NodeProto]:
    """Yield every node in ``graph`` and in the bodies below it."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from walk(body)
