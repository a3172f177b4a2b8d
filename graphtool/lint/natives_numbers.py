"""Element types that the AI Core lacks, and numbers that float16 cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, helper

from graphtool.graph import Graph
from graphtool.graph.contents import is_small
from graphtool.graph.values import dtype_name
from graphtool.lint.conditions import Found
from graphtool.lint.found import at, at_node
from graphtool.lint.ground import Ground
from graphtool.lint.rule import Rule, Undecided
from graphtool.parity.session import RunError, Session

HIGHEST = 65504.0  # of float16 (IEEE 754)
LOWEST = 2.0**-25  # half of the least positive float16: what is smaller rounds to 0

_WIDE = frozenset({TensorProto.INT64, TensorProto.UINT64, TensorProto.DOUBLE})
_STANDARD = ("", "ai.onnx")
# make no arithmetic of what they read: held by the parser, or one integer for an index
_IDLE = frozenset({"Constant", "Shape", "Size", "Identity"})


def _wide(graph: Graph) -> Iterator[tuple[Graph, NodeProto, str, bool]]:
    """Yield the nodes that compute in 64 bits, the type, and whether what they make are sizes.

    A node computes in the type of its outputs, a comparison or a Cast in that of its first input. Sizes are what
    shape arithmetic makes: small integer tensors whose elements follow from shapes, known or in symbols.
    """
    for level in graph.levels():
        facts = level.facts
        for node in level.nodes:
            if node.domain not in _STANDARD or node.op_type in _IDLE or not node.output:
                continue
            read = [facts.fact(name).dtype for name in node.input[:1] if name]
            made = [facts.fact(name) for name in node.output if name]
            if not any(fact.dtype in _WIDE for fact in made):
                if node.op_type not in ("Cast", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
                    continue
                if not any(dtype in _WIDE for dtype in read):
                    continue
            dtype = next((fact.dtype for fact in made if fact.dtype in _WIDE), read[0] if read else 0)
            yield level, node, dtype_name(int(dtype)), _are_sizes(level, node)


def _are_sizes(graph: Graph, node: NodeProto) -> bool:
    """Whether all that a node makes is small and follows from shapes: no element stands for one of a tensor."""
    symbols = graph.facts.symbols
    for name in node.output:
        if not name:
            continue
        if not is_small(graph.facts.fact(name).shape):
            return False
        content = graph.facts.elements(name)
        for item in (None,) if content is None else content.items:
            if item is None or (isinstance(item, str) and any("#" in f for term in symbols.terms(item) for f in term)):
                return False  # '?name#0' is element 0 of a tensor
    return True


def wide_sizes(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Shape arithmetic in 64 bits."""
    for _, node, dtype, sizes in _wide(ground.graph):
        if sizes:
            yield at_node(rule, node, op=node.op_type, dtype=dtype)


def wide_data(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Data in 64 bits."""
    for _, node, dtype, sizes in _wide(ground.graph):
        if not sizes:
            found = at_node(rule, node, op=node.op_type, dtype=dtype)
            yield replace(found, fix=("double_to_float" if dtype == "float64" else "int64_to_int32",))


def wide_indexing(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Slice and ScatterND of 64-bit data."""
    for _, node, dtype, sizes in _wide(ground.graph):
        if not sizes and node.op_type in ("Slice", "ScatterND"):
            yield at_node(rule, node, op=node.op_type, dtype=dtype)


# -- constants


def _constants(graph: Graph) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the floating-point constants of one graph that something reads, by name."""
    wanted = (TensorProto.FLOAT, TensorProto.DOUBLE)
    for name, tensor in graph.initializers.items():
        if tensor.data_type in wanted and graph.index.uses(name):
            yield name, graph.array(tensor)
    for slot in graph.index.slots_of_type("Constant"):
        node = graph.node(slot)
        if node is None or node.domain not in _STANDARD or not graph.index.uses(node.output[0]):
            continue
        value = graph.constant(node.output[0]) if _is_float(node) else None
        if value is not None:
            yield node.output[0], value


def _is_float(node: NodeProto) -> bool:
    kinds = (AttributeProto.FLOAT, AttributeProto.FLOATS)
    return any(
        a.type in kinds
        or (a.type == AttributeProto.TENSOR and a.t.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE))
        for a in node.attribute
    )


def overflow(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Constants beyond the range of float16."""
    if not ground.aim.float16:
        return
    for level in ground.graph.levels():
        for name, value in _constants(level):
            if not value.size:
                continue
            low, high = float(np.fmin.reduce(value, axis=None)), float(np.fmax.reduce(value, axis=None))
            worst = low if -low > high else high
            if abs(worst) > HIGHEST:
                count = int(np.count_nonzero(np.abs(value) > HIGHEST))
                yield at(rule, "constant", name, worst=f"{worst:.6g}", count=count, of=value.size)


def underflow(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Constants of which nothing is left in float16 although something was there."""
    if not ground.aim.float16:
        return
    for level in ground.graph.levels():
        for name, value in _constants(level):
            if not value.size or value.size > 1 << 20:
                continue
            largest = float(np.fmax.reduce(np.abs(value), axis=None))
            if 0 < largest < LOWEST:
                yield at(rule, "constant", name, largest=f"{largest:.6g}")


# -- activations


def activations(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Float values of the main graph that leave the range of float16 on the feed; nothing without one."""
    aim = ground.aim
    if aim.feed is None or not aim.float16:
        return
    own = ground.graph.copy()
    taps: dict[str, NodeProto] = {}
    for node in list(own.nodes):
        for name in node.output:
            if name and own.facts.fact(name).dtype == TensorProto.FLOAT and node.op_type != "Constant":
                taps[_largest(own, name)] = node
    own.forget_shapes()
    if not taps:
        return
    try:
        found = Session(own, list(taps)).run(aim.feed.arrays)
    except RunError as error:
        yield Undecided(rule, "model", f"the model does not run on the feed: {error}")
        return
    for tap, node in taps.items():
        largest = float(found[tap]) if found[tap].size else 0.0
        if largest > HIGHEST:
            yield at_node(rule, node, largest=f"{largest:.6g}", feed=aim.feed.text())


def _largest(graph: Graph, name: str) -> str:
    """Add nodes that compute the largest absolute value of a tensor; return the name of it."""
    names = [graph.names.fresh_value(f"{name}/{word}") for word in ("abs", "largest")]
    graph.append_node(helper.make_node("Abs", [name], names[:1], graph.names.fresh_node("largest")))
    reduce = helper.make_node("ReduceMax", names[:1], names[1:], graph.names.fresh_node("largest"), keepdims=0)
    graph.append_node(reduce)
    return names[1]
