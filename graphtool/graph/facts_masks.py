"""Operators of which onnx's inference (1.23) says what onnxruntime does not compute, or that end the process.

In a copy made for inference they are given a name that onnx does not know, so that nothing is inferred from them;
:mod:`graphtool.graph.facts_rules` has rules for them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, numpy_helper

from graphtool.errors import ModelError
from graphtool.graph.bodies import bodies, walk
from graphtool.graph.contents import FARTHEST

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

_DOUBTFUL = tuple("Attention AveragePool Einsum GatherND LpPool MaxPool NonZero Slice Split Squeeze Unsqueeze".split())
_TERM = rb"[A-Za-z ]*(\.\.\.)?[A-Za-z ]*"
EQUATION = re.compile(rb"%b(,%b)*(->%b)?" % (_TERM, _TERM, _TERM))  # of Einsum, as the ONNX specification has it
_FEW = 16  # elements of axes, ends and steps

_Arrays = Callable[[str], Iterable[NDArray[Any]]]


def misleads(node: NodeProto, constants: _Arrays) -> bool:
    """Whether what onnx infers of a node is not to be used; ``constants`` gives the arrays that a name may stand for.

    - Attention of sizes that are symbols: they count as 0.
    - NonZero of a scalar: no row; onnxruntime has one.
    - Squeeze with axes of which there are none: all axes of size 1 stay; in onnxruntime they go.
    - Squeeze and Unsqueeze before opset 11 with axes counted from the back: none is found; onnxruntime counts.
    - Pools that round up: a last window that begins behind the data; onnxruntime drops it.
    - Slice backward to the largest integer: nothing; onnxruntime goes to the beginning.
    """
    match node.op_type:
        case "Attention" | "NonZero":
            return True
        case "AveragePool" | "LpPool" | "MaxPool":
            return any(a.name == "ceil_mode" and a.i for a in node.attribute)
        case "Squeeze" | "Unsqueeze" if any(a.name == "axes" and min(a.ints, default=0) < 0 for a in node.attribute[:]):
            return True
        case "Squeeze":
            return len(node.input) > 1 and any(not axes.size for axes in constants(node.input[1]))
        case "Slice":
            if len(node.input) < 5 or not any((steps < 0).any() for steps in constants(node.input[4])):
                return False
            return any(end in FARTHEST for ends in constants(node.input[2]) for end in ends.ravel().tolist())
        case _:
            return breaks_onnx(node)


def breaks_onnx(node: NodeProto) -> bool:
    """Whether onnx's inference would end the whole process for a node, or never end itself.

    It reads beyond its arrays for a Split and a GatherND, and never ends for some equations that are none.
    """
    if node.op_type == "Einsum":
        equations = [a.s for a in node.attribute if a.name == "equation"]
        return not all(EQUATION.fullmatch(text) for text in equations)
    if node.op_type == "Split":
        return any(a.name == "num_outputs" and a.i != len(node.output) for a in node.attribute)
    return node.op_type == "GatherND" and any(a.name == "batch_dims" and a.i < 0 for a in node.attribute)


def mask(graph: Graph, model: onnx.ModelProto) -> None:
    """Hide from onnx what would mislead it in ``model``, a copy of the graph's."""

    def constants(name: str) -> Iterator[NDArray[Any]]:
        if graph.is_constant(name):
            try:
                array = graph.constant(name)
            except ModelError:
                return
            if array is not None and array.size <= _FEW:
                yield array

    wrong = (node for op in _DOUBTFUL for node in graph.index.by_type(op) if misleads(node, constants))
    names = {name for node in wrong for name in node.output if name}
    for node in model.graph.node if names else ():
        if not names.isdisjoint(node.output):
            node.op_type += "?"
    for function in model.functions:
        mask_nodes(list(walk(function)), [])


def mask_bodies(node: NodeProto) -> None:
    """Hide what would mislead onnx in the bodies of a node, and the shapes they declare: exporters write wrong ones.

    Weights in the bodies must be inline.
    """
    graphs = list(_graphs(node))
    for graph in graphs:
        del graph.value_info[:]
        for info in (*graph.input, *graph.output):
            if info.type.WhichOneof("value") == "tensor_type":
                info.type.tensor_type.ClearField("shape")
    mask_nodes([inner for graph in graphs for inner in graph.node], graphs)


def mask_nodes(nodes: list[NodeProto], graphs: Iterable[GraphProto]) -> None:
    """Hide those nodes that would mislead onnx; constants are those that nodes and graphs hold, whatever the scope."""
    known: defaultdict[str, list[onnx.TensorProto]] = defaultdict(list)
    for graph in graphs:
        for tensor in graph.initializer:
            known[tensor.name].append(tensor)
    for node in nodes:
        if node.op_type == "Constant" and len(node.output) == len(node.attribute) == 1:
            attribute = node.attribute[0]
            if attribute.name == "value":
                known[node.output[0]].append(attribute.t)
            elif attribute.name == "value_ints":
                tensor = onnx.helper.make_tensor("", onnx.TensorProto.INT64, [len(attribute.ints)], attribute.ints)
                known[node.output[0]].append(tensor)

    def constants(name: str) -> Iterator[NDArray[Any]]:
        for tensor in known.get(name, ()):
            if prod(tensor.dims) <= _FEW:
                yield numpy_helper.to_array(tensor)

    for node in nodes:
        if misleads(node, constants):
            node.op_type += "?"


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for body in bodies(node):
        yield body
        for inner in body.node:
            yield from _graphs(inner)
