"""The tensors of a graph as expressions see them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import partial

from onnx import helper

from graphtool.graph import Graph
from graphtool.graph.forms import Virtual
from graphtool.graph.values import Shape
from graphtool.rewrite.expr import TensorRef
from graphtool.rewrite.functions_values import Tensors

_QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")


def tensor_ref(
    graph: Graph, value: str | Virtual | tuple[str | Virtual, ...], outputs: AbstractSet[str] | None = None
) -> TensorRef | Tensors:
    """Return the facts of a value; ``''`` is an absent optional input, several values come as :class:`Tensors`.

    ``outputs`` are the names of the graph's outputs, where the caller has them already.
    """
    if isinstance(value, tuple):
        return Tensors(tuple(_one(graph, item, outputs) for item in value))
    return _one(graph, value, outputs)


def _one(graph: Graph, name: str | Virtual, outputs: AbstractSet[str] | None) -> TensorRef:
    if isinstance(name, Virtual):
        array = name.array
        return TensorRef("", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, lambda: array, uses=1)
    if not name:
        return TensorRef("", present=False)
    return TensorRef(
        name,
        constant=partial(graph.constant, name),
        elements=lambda: graph.facts.elements(name),
        look=partial(_look, graph, name, outputs),
        steps=partial(_quantizes, graph),
    )


def _quantizes(graph: Graph) -> bool:
    """Whether nodes of a graph, or of one around it, round to a step: QuantizeLinear and its kin."""
    around: Graph | None = graph
    while around is not None:
        types = around.index.types
        if any(around.node(slot) is not None for op in _QUANTIZERS for slot in types.get(op, ())):
            return True
        around = around.parent
    return False


def _look(graph: Graph, name: str, outputs: AbstractSet[str] | None) -> tuple[int | None, Shape | None, int]:
    """Return the element type, the shape and the number of readers of a value."""
    if outputs is None:
        outputs = {info.name for info in graph.header.output}
    uses = graph.index.uses(name) + (name in outputs)
    weight = graph.initializers.get(name)
    if weight is not None and graph.is_constant(name):  # no reason to infer the shapes of a whole graph
        return weight.data_type, tuple(weight.dims[:]), uses
    found = graph.facts.fact(name)  # not what an output declares, which onnxruntime does not hold to
    return found.dtype, found.shape, uses
