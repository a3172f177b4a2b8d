"""What a graph is given: the types of its inputs and sparse initializers; in a body, what its holder passes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx import NodeProto, TypeProto

from graphtool.graph import opset as ops
from graphtool.graph.bodies import bodies
from graphtool.graph.facts_call import NOTHING, Fact, Sizes
from graphtool.graph.facts_local import fact_of, forget_symbols
from graphtool.graph.facts_symbols import Symbols

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

_SCANS_ONE = 9  # since this opset a Scan has no batch axis


def given(graph: Graph, symbols: Symbols, outer: Callable[[str], Fact]) -> dict[str, Fact]:
    """Return the facts of inputs and sparse initializers by name; ``outer`` tells those of values around a body.

    Shapes that a body declares for its inputs are not believed: exporters declare for a value that a Loop carries the
    shape that it had when they looked. A Scan keeps the shapes of what it carries (ONNX operator specification).
    """
    passed = {} if graph.parent is None else _passed(graph, graph.parent, outer)
    # before IR 4 an initializer is an input too, and no caller can override it
    fixed = graph.initializers if graph.parent is not None or graph.proto.ir_version < 4 else {}
    facts = {}
    for info in graph.header.input:
        if info.name in fixed:
            continue
        kind = info.type
        if kind.WhichOneof("value") != "tensor_type":
            kind = TypeProto.FromString(kind.SerializeToString())
            forget_symbols(kind)
        fact = fact_of(kind, symbols.known)
        if graph.parent is not None:
            known = passed.get(info.name, NOTHING)
            fact = Fact(fact.dtype or known.dtype, known.shape, fact.kind if fact.dtype else known.kind, fact.other)
        facts[info.name] = fact
    for sparse in graph.header.sparse_initializer:
        facts[sparse.values.name] = Fact(sparse.values.data_type, tuple(sparse.dims))
    return facts


def _passed(body: Graph, around: Graph, outer: Callable[[str], Fact]) -> dict[str, Fact]:
    """Return what the holder of a body tells of the body's inputs."""
    for op in ("Loop", "Scan"):
        for node in around.index.by_type(op):
            if any(graph is body.header for graph in bodies(node)):
                names = [info.name for info in body.header.input]
                if op == "Loop":  # an iteration number and a condition, then what is carried
                    return {name: Fact(outer(of).dtype) for name, of in zip(names[2:], node.input[2:], strict=False)}
                if (body.opset() or 0) >= _SCANS_ONE:
                    return dict(zip(names, _of_scan(node, body.opset(), outer), strict=False))
    return {}


def _of_scan(node: NodeProto, version: int | None, outer: Callable[[str], Fact]) -> list[Fact]:
    facts = [outer(name) for name in node.input]
    scanned = ops.effective(node, "num_scan_inputs", version)
    axes = ops.effective(node, "scan_input_axes", version)
    if not isinstance(scanned, int) or not 0 < scanned <= len(facts):
        return []
    carried = len(facts) - scanned
    for place in range(scanned):
        axis = axes[place] if isinstance(axes, list) and place < len(axes) else 0
        fact = facts[carried + place]
        facts[carried + place] = Fact(fact.dtype, _without(fact.shape, axis))
    return facts


def _without(shape: Sizes | None, axis: object) -> Sizes | None:
    if shape is None or not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    return (*shape[:axis], *shape[axis + 1 :])
