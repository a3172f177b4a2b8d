"""What numbers flow into that the element type of a region cannot hold.

A constant of such numbers keeps the node that reads it outside. What that node makes would still be cast at the border
of a region, where 2^63 - 1, "to the end" of a Slice, becomes -1 in int32. So it stays outside too, and so does what is
made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import NodeProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.rewrite.region_types import variable

_CASTS = ("Cast", "CastLike")  # their output has another type variable and the same numbers


def beyond(graph: Graph, constants: Iterable[str]) -> set[str]:
    """Return ``constants`` and what their numbers flow into; linear in what is found.

    Numbers flow along type variables (ONNX operator specification): from an operand to a sum, from the data of a
    Gather to what is gathered, but not from its indices or from the ends of a Slice. What is computed of them counts as
    beyond too, since its numbers are not known. Graphs in nodes are asked on their own, by what they read of this one.
    """
    found = set(constants)
    queue = list(found)
    while queue:
        name = queue.pop()
        for slot in graph.index.reader_slots(name):
            node = graph.node(slot)
            if node is not None:
                new = set(_flows(node, graph.opset(node.domain), name)) - found
                found |= new
                queue += new
    return found


def _flows(node: NodeProto, version: int | None, name: str) -> Iterator[str]:
    """Yield the outputs of a node that are of the type of an input, and so hold its numbers or some made of them."""
    schema = ops.schema(node.op_type, node.domain, version)
    if schema is None:
        return
    own = {c.type_param_str for c in schema.type_constraints}
    read = {variable(schema.inputs, place) for place, value in enumerate(node.input) if value == name} & own
    cast = node.op_type in _CASTS and node.input[0] == name
    for place, value in enumerate(node.output):
        if value and (cast or variable(schema.outputs, place) in read):
            yield value
