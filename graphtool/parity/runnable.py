"""The graph that onnxruntime is given: ops it lacks replaced by their declared meaning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import onnx
from onnx import TensorProto, checker, helper

from graphtool.errors import ModelError, show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.shapes import weightless
from graphtool.parity.runerror import run_error
from graphtool.rewrite.passfile import Semantics

_OWN_DOMAINS = ("com.microsoft", "com.ms.")  # of onnxruntime
Meanings = Mapping[tuple[str, str], Semantics]


def foreign(graph: Graph) -> bool:
    """Whether ``graph`` has an operator that ONNX does not define: the others need no declared semantics."""
    index, version = graph.index, graph.opset()
    return bool(index.foreign) or any(ops.schema(op, "", version) is None for op in index.types)


def stand_ins(graph: Graph, meanings: Meanings) -> list[Semantics]:
    """Return the declared semantics of ops in ``graph`` that onnxruntime lacks: what it computes itself holds."""
    return [
        meaning
        for (op, domain), meaning in sorted(meanings.items())
        if graph.index.slots_of_type(op) and ops.schema(op, domain, graph.opset(domain)) is None
        if not domain.startswith(_OWN_DOMAINS) or not _runs(graph, op, domain)
    ]


def _runs(graph: Graph, op: str, domain: str) -> bool:
    """Whether onnxruntime has an operator of its own for each node of that type."""
    for node in graph.index.by_type(op):
        if node.domain != domain:
            continue
        values = [graph.value(name) for name in node.input]
        kinds = [TensorProto.FLOAT if value is None or not value.dtype else value.dtype for value in values]
        alone = helper.make_node(op, [f"i{place}" if name else "" for place, name in enumerate(node.input)], ["o"])
        alone.domain = domain
        alone.attribute.extend(node.attribute)
        given = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(alone.input, kinds, strict=True)]
        made = [helper.make_empty_tensor_value_info("o")]
        body = helper.make_graph([alone], "one", [info for info in given if info.name], made)
        versions = [helper.make_opsetid("", graph.opset() or 1), helper.make_opsetid(domain, graph.opset(domain) or 1)]
        model = helper.make_model(body, opset_imports=versions, ir_version=graph.proto.ir_version)
        if not _has_operator(model.SerializeToString(deterministic=True)):
            return False
    return True


@lru_cache(maxsize=256)
def _has_operator(model: bytes) -> bool:
    """Whether onnxruntime knows the only node of a model, which may be wrong otherwise."""
    import onnxruntime as ort

    from graphtool import kernels

    try:
        ort.InferenceSession(model, kernels.options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever onnxruntime has against it
        return run_error(error, "load").reason != "op"
    return True


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
