"""Local functions during a conversion: a graph that stands for one, with the types that its calls agree on."""

from __future__ import annotations

from onnx import FunctionProto, ModelProto, NodeProto, helper

from graphtool.graph import Graph, Value
from graphtool.graph.bodies import walk
from graphtool.graph.values import Shape

_IR = 10  # any at which initializers need not be inputs


def standing_for(graph: Graph, function: FunctionProto) -> Graph:
    """Return a graph with the nodes of a local function of ``graph``, to be edited and then :func:`written_back`."""
    model = ModelProto(ir_version=_IR, opset_import=function.opset_import)
    model.functions.extend(graph.proto.functions)  # what the function calls
    model.graph.name = function.name
    model.graph.node.extend(function.node)
    for place, name in enumerate(function.input):
        known = _argument(graph, function, place)
        if known is None:
            model.graph.input.add(name=name)
        else:
            model.graph.input.append(helper.make_tensor_value_info(name, known.dtype, known.shape))
    for name in function.output:
        model.graph.output.add(name=name)
    return Graph(model, graph.weights)


def written_back(standing: Graph, function: FunctionProto) -> None:
    """Give ``function`` the nodes of the graph that stood for it; functions have no initializers but Constant nodes."""
    proto = standing.proto.graph
    del function.node[:]
    for tensor in proto.initializer:
        own = function.node.add(op_type="Constant", output=[tensor.name])
        own.attribute.append(helper.make_attribute("value", tensor))
    function.node.extend(proto.node)


def _argument(graph: Graph, function: FunctionProto, place: int) -> Value | None:
    """Return type and shape of an argument, as far as all calls agree; None where they are not known."""
    if any(_calls(node, function) for other in graph.proto.functions for node in walk(other)):
        return None  # what a function hands on is not known here
    found: Value | None = None
    for level in graph.levels():
        for node in level.nodes:
            if not _calls(node, function):
                continue
            name = node.input[place] if place < len(node.input) else ""
            value = level.value(name) if name else None
            if value is None or value.kind != "tensor" or not value.dtype:
                return None
            found = value if found is None else _agreed(found, value)
            if found is None:
                return None
    return found


def _calls(node: NodeProto, function: FunctionProto) -> bool:
    same = node.op_type == function.name and node.domain == function.domain
    return same and node.overload == function.overload


def _agreed(a: Value, b: Value) -> Value | None:
    if a.dtype != b.dtype:
        return None
    shape: Shape | None = None
    if a.shape is not None and b.shape is not None and len(a.shape) == len(b.shape):
        # a symbol of one call is not that of another
        shape = tuple(i if i == j and isinstance(i, int) else None for i, j in zip(a.shape, b.shape, strict=True))
    return Value(a.name, a.dtype, shape)
