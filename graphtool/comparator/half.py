"""A float32 model as float16 hardware computes it: every result and every weight rounded, sums kept in float32.

The graph is rewritten and runs in onnxruntime. Behind each float32 result stands Clip, Cast to float16 and Cast back;
weights are rounded beforehand; operators that only move numbers need neither. A convolution, a product or a reduction
thus reads float16, accumulates in float32 and rounds once. Beyond 65504 a number becomes the largest one, as in the
chip's saturation mode (Huawei, aclrtFloatOverflowMode, CANN community edition 9.1.0: Atlas inference products know no
other; that the Ascend 310 is among them is inferred). What the model leaves out: a compiler fuses nodes (Conv, Add,
Relu) and rounds once where this rounds at each, and vector instructions inside an operator (the exponentials of a
Softmax) compute in float16 where this does in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.natives._half_types import slots_of
from graphtool.rewrite.result import label

Array = NDArray[Any]

LARGEST = 65504.0
OVER = 65520.0  # rounds to no finite number
_ENDS = ("ReduceMax", "ReduceMin")
_STEPS = 16  # more than the nodes behind one output
_CLIP_INPUTS = 11  # the opset since which Clip takes its limits as inputs
# what they make of float16 numbers are float16 numbers
_EXACT = frozenset(
    """Abs Compress Concat Constant DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND GlobalMaxPool
    Identity Max MaxPool Min Neg Pad ReduceMax ReduceMin Relu Reshape ReverseSequence ScatterElements ScatterND Slice
    SpaceToDepth Split Squeeze Tile TopK Transpose Unsqueeze Where""".split()
)


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight that float16 cannot hold: ``over`` numbers beyond its range, ``lost`` ones that became zero."""

    name: str
    node: str
    over: int
    lost: int


@dataclass(frozen=True, slots=True)
class HalfModel:
    """``graph`` rounds; ``ranges`` are, by tensor, the outputs that hold its largest and smallest number beforehand.

    ``makers`` are the labels of the nodes that make these tensors, in graph order, ``weights`` those that lose numbers,
    ``bodies`` counts the bodies in which nothing is rounded.
    """

    graph: Graph
    ranges: Mapping[str, tuple[str, str]]
    makers: Mapping[str, str]
    weights: tuple[Weight, ...]
    bodies: int


def half_model(graph: Graph, full: Collection[str] = (), watched: bool = False) -> HalfModel:
    """Return a copy of ``graph`` that rounds to float16 what float16 hardware rounds.

    Tensors named in ``full`` leave the node that makes them as float32: where they are graph outputs they stay so.
    ``watched`` adds the range of each result before it is rounded. Bodies of If, Loop and Scan compute in float32.
    """
    own = graph.copy()
    kinds = {name: _is_float(graph, name) for node in graph.nodes for name in node.output if name}
    weights: dict[str, Weight] = {}
    halves: dict[str, str] = {}  # rounded weights by name
    rounder = _Rounder(own, watched)
    for slot in own.live_slots():
        node = own.node(slot)
        assert node is not None
        _round_weights(own, slot, node, weights, halves)
        if node.op_type in _EXACT and node.domain in ("", "ai.onnx"):
            continue
        for position, name in enumerate(node.output):
            if name and kinds.get(name):
                rounder.round(slot, position, name, name in full)
    for value in graph.inputs:
        if value.kind == "tensor" and value.dtype == TensorProto.FLOAT:
            rounder.round_input(value.name)
    for ends in rounder.ranges.values():
        for name in ends:
            own.header.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
    bodies = sum(1 for _ in graph.body_graphs())
    own.forget_shapes()
    return HalfModel(own, rounder.ranges, rounder.makers, tuple(weights.values()), bodies)


def rounded(array: Array) -> Array:
    """Return float32 numbers rounded to float16 and back, those beyond its range as its largest ones."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.clip(array, -LARGEST, LARGEST).astype(np.float16).astype(np.float32)


def _is_float(graph: Graph, name: str) -> bool:
    value = graph.value(name)
    return value is not None and value.kind == "tensor" and value.dtype == TensorProto.FLOAT


def _round_weights(graph: Graph, slot: int, node: NodeProto, found: dict[str, Weight], made: dict[str, str]) -> None:
    floats = [
        position
        for position, name in enumerate(node.input)
        if name and graph.is_constant(name) and _constant_float(graph, name)
    ]
    if not floats:
        return
    slots = slots_of(node, graph.opset(), floats, range(len(node.output)))
    for position in slots.inputs if slots is not None else ():
        name = node.input[position]
        array = graph.constant(name)
        if array is None:
            continue
        half = rounded(array)
        if np.array_equal(half, array):
            continue
        over = int(np.count_nonzero(np.abs(array) >= OVER))  # an infinity is one too
        lost = int(np.count_nonzero((half == 0) & (array != 0)))
        if (over or lost) and name not in found:
            found[name] = Weight(name, label(node), over, lost)
        if name not in made:
            made[name] = graph.add_initializer(f"{name}/float16", half)
        graph.set_input(slot, position, made[name])


def _constant_float(graph: Graph, name: str) -> bool:
    tensor = graph.initializers.get(name)
    if tensor is not None:
        return bool(tensor.data_type == TensorProto.FLOAT)
    array = graph.constant(name)
    return array is not None and array.dtype == np.float32


class _Rounder:
    """Puts the nodes that round behind tensors."""

    def __init__(self, graph: Graph, watched: bool) -> None:
        self.graph, self.watched = graph, watched
        self.ranges: dict[str, tuple[str, str]] = {}
        self.makers: dict[str, str] = {}
        self._bounds: tuple[str, str] | None = None

    def round(self, slot: int, position: int, name: str, full: bool) -> None:
        """Round the output of a node; with ``full`` only its readers see the rounded one."""
        graph = self.graph
        node = graph.node(slot)
        assert node is not None
        where, tensor = label(node), name
        raw = graph.names.fresh_value(f"{name}/float32")
        if full:
            graph.replace_uses(name, raw)
            raw, name = name, raw
        else:
            graph.rename_output(slot, position, raw)
        value = graph.value(tensor) if self.watched else None
        nodes: list[NodeProto] = []
        limits: tuple[str, str] | None = None
        if self.watched and not (value is not None and 0 in (value.shape or ())):  # nothing has no largest number
            ends = (graph.names.fresh_value(f"{name}/max"), graph.names.fresh_value(f"{name}/min"))
            nodes += [self._node(op, [raw], end, keepdims=0) for op, end in zip(_ENDS, ends, strict=True)]
            self.ranges[tensor], self.makers[tensor] = ends, where
            limits = self._tied(ends, nodes)
        for step, made in enumerate((*nodes, *self._nodes(raw, name, limits))):
            graph.add_node(made, slot, 1 + step + _STEPS * position)

    def round_input(self, name: str) -> None:
        """Let every reader of an input read it rounded."""
        graph = self.graph
        half = graph.names.fresh_value(f"{name}/float16")
        graph.replace_uses(name, half)
        for made in self._nodes(name, half):
            graph.prepend_node(made)

    def _tied(self, ends: tuple[str, str], nodes: list[NodeProto]) -> tuple[str, str] | None:
        """Return limits for Clip that are known only when the range is, by way of more ``nodes``.

        onnxruntime would take all ranges at the end, and keep every tensor for that (twice the memory on ICNet).
        """
        if (self.graph.opset() or 1) < _CLIP_INPUTS:
            return None
        tied = []
        for limit, end in zip(self._limits(), reversed(ends), strict=True):
            odd, own = (self.graph.names.fresh_value(f"{end}/{part}") for part in ("nan", "limit"))
            nodes += [self._node("IsNaN", [end], odd), self._node("Where", [odd, limit, limit], own)]
            tied.append(own)
        return tied[0], tied[1]

    def _nodes(self, raw: str, name: str, limits: tuple[str, str] | None = None) -> list[NodeProto]:
        fresh = self.graph.names.fresh_value
        clipped, half = fresh(f"{name}/clipped"), fresh(f"{name}/half")
        if (self.graph.opset() or 1) < _CLIP_INPUTS:
            clip = self._node("Clip", [raw], clipped, min=-LARGEST, max=LARGEST)
        else:
            clip = self._node("Clip", [raw, *(limits or self._limits())], clipped)
        return [
            clip,
            self._node("Cast", [clipped], half, to=int(TensorProto.FLOAT16)),
            self._node("Cast", [half], name, to=int(TensorProto.FLOAT)),
        ]

    def _limits(self) -> tuple[str, str]:
        if self._bounds is None:
            ends = (np.array(sign * LARGEST, np.float32) for sign in (-1, 1))
            low, high = (self.graph.add_initializer("float16/limit", end) for end in ends)
            self._bounds = low, high
        return self._bounds

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        node = helper.make_node(op, inputs, [output], self.graph.names.fresh_node(f"{output}/{op}"), **attributes)
        ops.import_domain(self.graph.proto, "", op)
        assert isinstance(node, NodeProto)
        return node


def first_overflow(model: HalfModel, ran: Mapping[str, Array]) -> list[tuple[str, str, float]]:
    """Return the nodes whose results float16 cannot hold, in graph order: label, tensor, the number furthest out."""
    found = []
    for name, (high, low) in model.ranges.items():
        ends = [float(ran[end]) for end in (high, low) if np.isfinite(ran[end])]
        top = max(ends, key=abs, default=0.0)
        if abs(top) >= OVER:
            found.append((model.makers[name], name, top))
    return found
