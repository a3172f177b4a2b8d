"""Constants brought into the range of float16: a mask of minus infinity or -1e9 overflows where a device uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.sort import drop_unread, remove_nodes
from graphtool.natives._guards import only_guards
from graphtool.rewrite.result import Applied, Match, alias, label
from graphtool.rewrite.selection import Offer, everywhere

Array = NDArray[Any]
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


UNITS = True  # each constant


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Clamp every floating-point constant, in bodies too, to plus and minus ``limit``; NaN stays.

    A single number nearer to zero than ``least``, and not zero, becomes that where all that reads it adds it or takes
    it for a lower bound.
    A constant is written anew under another name, so that one which is an output too keeps its value there.
    Initializers that a caller can override are no constants. ``names`` is a glob for the names of the constants.
    """
    limit, least, glob = params["limit"], params["least"], params["names"]
    assert isinstance(limit, float) and isinstance(least, float) and isinstance(glob, str)
    if not 0 < limit < float("inf"):
        raise PassError(f"a limit of {limit}; it must be a positive number")
    if not 0 <= least <= limit:
        raise PassError(f"least is {least}; it must be from 0 to the limit of {limit}")
    result = Applied()
    for level in graph.levels():
        result.matches += _level(level, limit, least, glob, offer)
    return result


def _level(graph: Graph, limit: float, least: float, glob: str, offer: Offer) -> list[Match]:
    matches: list[Match] = []
    gone: list[int] = []
    freed: list[str] = []
    for name, slot in list(_constants(graph)):
        if not fnmatchcase(name, glob) or not graph.index.uses(name):
            continue
        value = graph.constant(name)
        clamped = None if value is None else _clamped(value, limit)
        if value is not None and value.size == 1 and 0 < abs(float(value.flat[0])) < least and only_guards(graph, name):
            clamped = np.full_like(value, np.copysign(least, float(value.flat[0])))
        if clamped is None or not offer(name, name):
            continue
        graph.replace_uses(name, graph.add_initializer(f"{name}/clamped", clamped))
        matches.append(Match(name, "native"))
        freed.append(name)
        if slot is not None:
            gone.append(slot)
    for slot in graph.index.slots_of_type("ConstantOfShape"):
        node = graph.node(slot)
        held = None if node is None or not fnmatchcase(node.name, glob) else _clamped_fill(graph, node, limit)
        if node is not None and held is not None and offer(label(node), alias(node)):
            own = ops.attribute_of(node, "value")
            assert own is not None
            own.t.CopyFrom(held)
            matches.append(Match(label(node), "native"))
    remove_nodes(graph, gone, set())
    drop_unread(graph, freed)
    return matches


def _constants(graph: Graph) -> Iterator[tuple[str, int | None]]:
    """Yield the floating-point constants of one graph, with the slot of the node where one makes it."""
    for name, tensor in graph.initializers.items():
        if tensor.data_type in _FLOATS and graph.is_constant(name):
            yield name, None
    for slot in graph.index.slots_of_type("Constant"):
        node = graph.node(slot)
        if node is not None and node.domain in ("", "ai.onnx"):
            tensors = [a.t.data_type for a in node.attribute if a.type == AttributeProto.TENSOR]
            numbers = any(a.type in (AttributeProto.FLOAT, AttributeProto.FLOATS) for a in node.attribute)
            if numbers or any(kind in _FLOATS for kind in tensors):
                yield node.output[0], slot


def _clamped(value: Array, limit: float) -> Array | None:
    """Return ``value`` within the limit; None where it is."""
    plain = value.astype(np.float32) if value.dtype.name == "bfloat16" else value
    if not plain.size:
        return None
    highest, lowest = np.fmax.reduce(plain, axis=None), np.fmin.reduce(plain, axis=None)  # which look past NaN
    if not (highest > limit or lowest < -limit):
        return None
    top = plain.dtype.type(limit)
    if float(top) > limit:  # the type's nearest number lies beyond: the next one inward
        top = np.nextafter(top, plain.dtype.type(0))
    return np.asarray(np.clip(plain, -top, top)).astype(value.dtype)


def _clamped_fill(graph: Graph, node: NodeProto, limit: float) -> TensorProto | None:
    """Return what a ConstantOfShape fills with, clamped; None where that is within the limit."""
    held = ops.attribute_of(node, "value")
    if held is None or held.t.data_type not in _FLOATS:
        return None
    clamped = _clamped(graph.array(held.t), limit)
    return None if clamped is None else numpy_helper.from_array(clamped, held.t.name)
