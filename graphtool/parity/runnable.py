"""The graph that onnxruntime is given: ops it lacks replaced by their declared meaning."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import checker

from graphtool.errors import ModelError, show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.shapes import weightless
from graphtool.rewrite.passfile import Semantics

Meanings = Mapping[tuple[str, str], Semantics]


def foreign(graph: Graph) -> bool:
    """Whether ``graph`` has an operator that ONNX does not define: the others need no declared semantics."""
    index, version = graph.index, graph.opset()
    return bool(index.foreign) or any(ops.schema(op, "", version) is None for op in index.types)


def stand_ins(graph: Graph, meanings: Meanings) -> list[Semantics]:
    """Return the declared semantics of ops in ``graph`` that onnxruntime lacks."""
    return [
        meaning
        for (op, domain), meaning in sorted(meanings.items())
        if graph.index.slots_of_type(op) and ops.schema(op, domain, graph.opset(domain)) is None
    ]


def runnable(graph: Graph, meanings: Meanings) -> Graph:
    """Return ``graph``, or where it has ops with declared semantics a copy in which those are written out."""
    wanted = stand_ins(graph, meanings)
    if not wanted:
        return graph
    own = graph.copy()
    for meaning in wanted:
        meaning.rule.apply(own, {})
        own.forget_shapes()
    return own


def checker_fault(graph: Graph) -> str | None:
    """Return what onnx.checker finds wrong with a graph, in one line; None where it finds nothing."""
    try:
        checker.check_model(weightless(graph.proto, graph.weights))
    except (
        checker.ValidationError,
        RuntimeError,
        ValueError,
        onnx.shape_inference.InferenceError,
        ModelError,
    ) as error:
        return show(" ".join(str(error).split()), 300)
    return None
