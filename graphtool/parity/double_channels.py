"""Which nodes treat every channel (axis 1) on its own, so that truth on a few channels is truth.

In float64 a match at 1024 x 2048 would cost more than the model it comes from. Resize, pools, elementwise operators,
normalization, and the MatMuls that stand for a Resize keep channels apart; a Conv without groups makes each of its
output channels from its own slice of the weight. For those, four channels say as much as 256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from graphtool.parity.double_math import BROADCAST, GLOBAL_POOL, REDUCE, UNARY, Array, reduced_axes, word

_BROADCAST = BROADCAST.keys() | {"Max", "Mean", "Min", "PRelu", "Where"}
_PASS_THROUGH = UNARY.keys() | {"Cast", "Dropout"}
_POOLS = GLOBAL_POOL.keys() | {"AveragePool", "MaxPool", "LpPool"}


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """How to cut what the nodes read down to a few channels.

    ``channels``: how many there are. ``axes``: tensor name to the axis that holds them. ``sizes``: the ``sizes``
    inputs of Resize, whose entry 1 is the number of channels. All that the nodes make has its channels at axis 1.
    """

    channels: int
    axes: Mapping[str, int]
    sizes: frozenset[str]


class _Mixed(Exception):  # noqa: N818  (a finding, not a fault)
    """The nodes mix channels, or may do so."""


def channel_plan(nodes: Sequence[NodeProto], values: Mapping[str, Array], opset: int) -> ChannelPlan | None:
    """Return how to sample ``nodes`` by channel, None where they mix channels or are not known not to.

    ``values`` holds what the nodes read from outside, constants included.
    """
    finder = _Finder(values, opset)
    try:
        for node in nodes:
            if not all(name in values for name in node.output if name):
                finder.visit(node)
    except _Mixed:
        return None
    if finder.channels < 2 or finder.whole & (finder.axes.keys() | finder.sizes):
        return None
    return ChannelPlan(finder.channels, finder.axes, frozenset(finder.sizes))


def channelwise(nodes: Sequence[NodeProto], values: Mapping[str, Array], opset: int) -> bool:
    """Return whether a sample of channels is enough to judge ``nodes``."""
    return channel_plan(nodes, values, opset) is not None


def sample(values: Mapping[str, Array], plan: ChannelPlan, channels: Sequence[int]) -> dict[str, Array]:
    """Return ``values`` cut down to ``channels``; the nodes' outputs then hold these, in this order, at axis 1."""
    cut = dict(values)
    for name, axis in plan.axes.items():
        cut[name] = np.take(values[name], list(channels), axis)
    for name in plan.sizes:
        cut[name] = values[name].copy()
        cut[name][1] = len(channels)
    return cut


def spread(channels: int, count: int) -> list[int]:
    """Return ``count`` channels, the first and the last among them and the others evenly between."""
    if count >= channels:
        return list(range(channels))
    return sorted({round(i * (channels - 1) / max(count - 1, 1)) for i in range(count)})


class _Finder:
    """Walks the nodes and notes which axis of each outside tensor is the channel axis."""

    def __init__(self, values: Mapping[str, Array], opset: int) -> None:
        self.values = values
        self.opset = opset
        self.channels = 0
        self.axes: dict[str, int] = {}
        self.sizes: set[str] = set()
        self.whole: set[str] = set()
        self.ranks: dict[str, int] = {}  # of the tensors the nodes make

    def visit(self, node: NodeProto) -> None:
        op = node.op_type
        attributes: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.domain not in ("", "ai.onnx") or sum(map(bool, node.output)) != 1:
            raise _Mixed
        if op == "Conv":
            rank = self._conv(node, attributes)
        elif op in _BROADCAST:
            rank = self._aligned(list(node.input))
        elif op == "MatMul":
            rank = self._aligned(list(node.input))
            # axis 1 must not be one of the two that are multiplied, and a vector would take an axis away
            _require(rank >= 4 and all(self._rank(name) >= 2 for name in node.input))
        elif op == "Concat":
            rank = self._aligned(list(node.input))
            _require(int(attributes["axis"]) % rank != 1)
            _require(all(self._is_channelled(name) for name in node.input))
        else:
            rank = self._channelled(node.input[0])
            self._alone(node, attributes, rank)
        self.ranks[node.output[0]] = rank

    def _alone(self, node: NodeProto, attributes: dict[str, Any], rank: int) -> None:
        """Check an operator that works on its first input, the others being parameters."""
        op, rest = node.op_type, [name for name in node.input[1:] if name]
        if op in ("Resize", "Upsample"):
            self._resize(node, attributes)
        elif op == "BatchNormalization":
            for name in rest:
                self._split(name, 0)
            return
        elif op in REDUCE:
            axes = self.values.get(rest[0]) if rest else None
            _require(not rest or axes is not None)
            _require(1 not in reduced_axes([None, axes], attributes, rank) and bool(attributes.get("keepdims", 1)))
        elif op == "Softmax":
            _require(self.opset >= 13 and int(attributes.get("axis", -1)) % rank != 1)
        elif op == "Transpose":
            perm = list(attributes.get("perm", reversed(range(rank))))
            _require(perm[1] == 1)
        else:
            _require(op in _PASS_THROUGH or op in _POOLS)
        self.whole.update(name for name in rest if name not in self.sizes)

    def _conv(self, node: NodeProto, attributes: dict[str, Any]) -> int:
        _require(int(attributes.get("group", 1)) == 1 and node.input[0] in self.values)
        self.whole.add(node.input[0])
        for name in node.input[1:]:
            if name:
                self._split(name, 0)
        return self.values[node.input[1]].ndim

    def _resize(self, node: NodeProto, attributes: dict[str, Any]) -> None:
        _require(word(attributes, "coordinate_transformation_mode", "") != "tf_crop_and_resize")
        _require(word(attributes, "keep_aspect_ratio_policy", "stretch") == "stretch")
        given = {place: self.values.get(name) for place, name in enumerate(node.input) if name and place > 0}
        scales = given.get(1 if self.opset < 11 else 2)
        sizes = given.get(3)
        axes = attributes.get("axes")
        if axes is not None:
            _require(all(axis > 1 for axis in axes))
        elif sizes is not None and sizes.size:
            _require(int(sizes[1]) == self.channels)
            self.sizes.add(node.input[3])
        else:
            factors: list[float] = attributes.get("scales", []) if scales is None else scales.tolist()
            _require(len(factors) > 1 and factors[1] == 1)

    def _aligned(self, names: list[str]) -> int:
        """Note the operands of an operator that broadcasts; return the rank of its result."""
        rank = max(self._rank(name) for name in names)
        _require(rank >= 2)
        found = False
        for name in names:
            place = 1 - (rank - self._rank(name))
            if name in self.ranks:
                _require(place == 1)
                found = True
            elif place < 0 or self.values[name].shape[place] == 1:
                self.whole.add(name)
            else:
                self._split(name, place)
                found = True
        _require(found)
        return rank

    def _rank(self, name: str) -> int:
        _require(name in self.ranks or name in self.values)
        return self.ranks[name] if name in self.ranks else self.values[name].ndim

    def _is_channelled(self, name: str) -> bool:
        return name in self.ranks or self.axes.get(name) == 1

    def _channelled(self, name: str) -> int:
        """Note that axis 1 of a tensor is the channel axis; return its rank."""
        rank = self._rank(name)
        _require(rank >= 3)
        if name not in self.ranks:
            self._split(name, 1)
        return rank

    def _split(self, name: str, axis: int) -> None:
        _require(name in self.values)
        count = self.values[name].shape[axis]
        self.channels = self.channels or count
        _require(count == self.channels and self.axes.setdefault(name, axis) == axis)


def _require(holds: bool) -> None:
    if not holds:
        raise _Mixed
