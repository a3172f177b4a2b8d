"""Constants that hold a batch, found and freed: one walk over the nodes in order.

A freed constant computes the same at the batch that the graph has now. Where nothing can be freed, :class:`PassError`
names the node and its constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from graphtool.errors import PassError, show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import captures, has_bodies
from graphtool.graph.sort import drop_unread, remove_nodes
from graphtool.graph.values import Dim
from graphtool.natives._batch_content import Items
from graphtool.natives._batch_facts import Facts, UnfitError
from graphtool.natives._batch_gather import free_gather
from graphtool.natives._batch_repeat import Repeater, where
from graphtool.natives._batch_sizes import batch_axis_after, freed_entries, reshaped, scaled, scales_of, stands
from graphtool.rewrite.result import label

Array = NDArray[np.generic]
Sizes = Sequence[Dim]


class Freer:
    """Frees the constants of ``graph``; ``target`` is the batch it is to take, a number or the name of a dimension.

    ``source`` is an input whose axis 0 is the batch. ``freed`` are the names of nodes that had a constant freed.
    A Reshape that takes the other batch as it stands may put it on another axis than its constant, frozen at the batch
    of now, was meant to: ``lenient`` leaves such a Reshape alone, and ``doubtful`` says that one was freed.
    """

    def __init__(self, graph: Graph, facts: Facts, target: int | str, source: str, lenient: bool = False) -> None:
        self.graph, self.facts, self.target, self.lenient = graph, facts, target, lenient
        self.freed: list[str] = []
        self.doubtful = False
        self._repeater = Repeater(graph, facts, target, source)
        self._unread: list[str] = []  # constants that lost a reader
        self._given: dict[tuple[str, str, bytes], str] = {}

    def run(self) -> None:
        """Walk the graph and free what blocks the batch; raises PassError for what cannot be freed."""
        rules: dict[str, Callable[[int, NodeProto], bool]] = {
            "Reshape": self._reshape, "Expand": self._expand, "Resize": self._resize, "RNN": self._recurrent,
            "GRU": self._recurrent, "LSTM": self._recurrent, "Gather": self._gather, "GatherND": self._gather,
            "GatherElements": self._gather_elements,
        }  # fmt: skip
        for slot in self.graph.live_slots():
            node = self.graph.node(slot)
            assert node is not None
            rule = rules.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            try:
                if rule is None or not rule(slot, node):
                    self.facts.pass_on(node)
            except UnfitError as error:
                self._repair(slot, node, str(error))
                continue
            self._check_kept(node)
        self._drop_unread()

    # -- Reshape: an entry of the shape becomes 0 (copy) or -1 (whatever is left)

    def _reshape(self, slot: int, node: NodeProto) -> bool:
        """Free a Reshape; returns whether its output's shapes are noted."""
        if len(node.input) < 2:  # before opset 5 the shape is an attribute
            return False
        facts, version = self.facts, self.graph.opset()
        data, shape, made = node.input[0], node.input[1], node.output[0]
        before, source = facts.shape_now(data), facts.shape_then(data)
        now, then = facts.content_now(shape), facts.content_then(shape)
        if before is None or source is None or now is None or then is None or now.ndim != 1:
            return False
        allowzero = ops.effective(node, "allowzero", version) == 1
        result = reshaped(before, now.tolist(), allowzero)
        if result is None:
            return False
        axis, got = facts.axis(data), reshaped(source, then.tolist(), allowzero)
        if axis is not None:
            place = batch_axis_after(before, axis, result, facts.now)
            dim = None if place is None else scaled(result[place], facts.now, facts.then)
            if place is not None and dim is not None:
                wanted = (*result[:place], dim, *result[place + 1 :])
                if got is None or any(a != b and a is not None for a, b in zip(got, wanted, strict=True)):
                    follows = now.tolist() != then.tolist()  # nothing in it is frozen
                    if stands(before, source, axis, result, got, (facts.now, facts.then), follows):
                        if self.lenient or follows:
                            facts.learn(made, facts.dtype(data), result, got or ())
                            return True
                        self.doubtful = True
                    entries = freed_entries(now.tolist(), before, source, result, wanted, place, allowzero)
                    if entries is None and isinstance(self.target, int) and isinstance(dim, int):
                        entries = [*now.tolist()[:place], dim, *now.tolist()[place + 1 :]]
                    if entries is not None and reshaped(source, entries, allowzero) is None:
                        raise self._repeater.blocked(node, 1, now)  # its data grows otherwise
                    self._set_entries(slot, node, 1, now, entries, wanted[place], place)
                got = wanted
        if got is None:
            return False
        facts.learn(made, facts.dtype(data), result, got)
        return True

    def _set_entries(
        self, slot: int, node: NodeProto, position: int, old: Items, new: Sizes | None, wanted: Dim, place: int
    ) -> None:
        """Let the vector at an input of a node have other entries: a constant, or a Concat of which parts are."""
        name = node.input[position]
        if new is None:
            if wanted != self.facts.then:
                raise self._repeater.blocked(node, position, old)
            self.graph.set_input(slot, position, self._repeater.with_batch(node, old.tolist(), place))
            self._unread.append(name)
        elif self._holds(name):
            self._give(slot, position, np.array(new, np.int64))
        elif not self._set_in_concat(slot, position, old.tolist(), new):
            raise self._repeater.blocked(node, position, old)
        self.freed.append(label(node))

    def _holds(self, name: str) -> bool:
        """Whether ``name`` is a constant, or an Identity of one."""
        return self.graph.is_constant(self.graph.behind_identities(name))

    def _give(self, slot: int, position: int, array: Array) -> None:
        """Let an input of a node read another constant; equal ones that stand for the same one are shared."""
        node = self.graph.node(slot)
        assert node is not None
        old = node.input[position]
        key = (old, array.dtype.str, array.tobytes())
        if key not in self._given:
            self._given[key] = self.graph.add_initializer(f"{old}/any_batch", array)
        self.graph.set_input(slot, position, self._given[key])
        self._unread.append(old)

    def _set_in_concat(self, slot: int, position: int, old: Sizes, new: Sizes) -> bool:
        graph = self.graph
        reader = graph.node(slot)
        assert reader is not None
        maker = graph.index.producer_slot(reader.input[position])
        node = None if maker is None else graph.node(maker)
        if maker is None or node is None or node.op_type != "Concat" or node.domain not in ("", "ai.onnx"):
            return False
        parts: list[tuple[int, Array]] = []
        start = 0
        for number, part in enumerate(node.input):
            content = self.facts.content_now(part)
            if content is None or content.ndim != 1:
                return False
            end = start + content.size
            if list(old[start:end]) != list(new[start:end]):
                other = self.facts.content_then(part)
                if other is None or content.tolist() != other.tolist():
                    return False  # computed from the batch already, and wrong all the same
                parts.append((number, np.array(new[start:end], np.int64)))
            start = end
        if graph.index.uses(node.output[0]) > 1 or node.output[0] in {info.name for info in graph.header.output}:
            own = NodeProto()
            own.CopyFrom(node)
            own.name = graph.names.fresh_node(f"{node.name or node.output[0]}/any_batch")
            own.output[0] = graph.names.fresh_value(f"{node.output[0]}/any_batch")
            maker = graph.add_node(own, maker, 1)
            graph.set_input(slot, position, own.output[0])
        for number, array in parts:
            self._give(maker, number, array)
        self.facts.forget_content(reader.input[position])
        return True

    def _gather(self, slot: int, node: NodeProto) -> bool:
        """Free a gathering of which the indices count the items; returns whether its output's shapes are noted."""
        if (self.graph.opset() or 1) < 5 or not free_gather(self.graph, self.facts, slot, node):
            return False
        self._unread.append(node.input[1])
        self.freed.append(label(node))
        return True

    # -- Expand: where the data has the batch, 1 lets it through

    def _expand(self, slot: int, node: NodeProto) -> bool:
        facts = self.facts
        axis, shape = facts.axis(node.input[0]), facts.shape_now(node.input[0])
        now, then = facts.content_now(node.input[1]), facts.content_then(node.input[1])
        if axis is None or shape is None or now is None or then is None or shape[axis] == 1:
            return False
        place = now.size - len(shape) + axis
        if 0 <= place < now.size and then[place] == now[place] == shape[axis]:
            entries = [*now.tolist()[:place], 1, *now.tolist()[place + 1 :]]
            self._set_entries(slot, node, 1, now, entries, facts.then, place)
        return False

    # -- Resize: sizes name every axis (before opset 18), the batch included

    def _resize(self, slot: int, node: NodeProto) -> bool:
        if len(node.input) < 4 or not node.input[3]:
            return False
        facts, version = self.facts, self.graph.opset() or 1
        sizes, before = facts.content_now(node.input[3]), facts.shape_now(node.input[0])
        axis, then = facts.axis(node.input[0]), facts.content_then(node.input[3])
        if axis is None or before is None or sizes is None or then is None:
            return False
        axes = ops.effective(node, "axes", version)
        named = [a % len(before) for a in axes] if isinstance(axes, list) else list(range(len(before)))
        if axis not in named or then[named.index(axis)] != facts.now:
            return False
        place, size = named.index(axis), facts.then
        if isinstance(self.target, int):
            entries = [*sizes.tolist()[:place], size, *sizes.tolist()[place + 1 :]]
            self._set_entries(slot, node, 3, sizes, entries, size, place)
            return False
        mode = ops.effective(node, "coordinate_transformation_mode", version)
        scales = None if mode == "tf_crop_and_resize" else scales_of(before, sizes.tolist())
        if version >= 18 and mode != "tf_crop_and_resize" and self._holds(node.input[3]):
            left = [k for k in range(len(named)) if k != place]
            self._give(slot, 3, np.array([sizes[k] for k in left], np.int64))
            _set_attribute(node, "axes", [named[k] for k in left])
        elif scales is not None and not isinstance(axes, list) and self._holds(node.input[3]):
            self._give(slot, 3, scales)
            self.graph.set_input(slot, 2, node.input[3])
            self.graph.set_input(slot, 3, "")
            self.graph.drop_absent(slot)
        else:
            self._unread.append(node.input[3])
            self.graph.set_input(slot, 3, self._repeater.with_batch(node, sizes.tolist(), place))
        self.freed.append(label(node))
        return False

    # -- values without a batch where one is needed: repeated for each item

    def _recurrent(self, slot: int, node: NodeProto) -> bool:
        """Give initial states and lengths of RNN, GRU and LSTM the batch of their data: inference checks none of it."""
        by_item = ops.effective(node, "layout", self.graph.opset()) == 1
        if self.facts.axis(node.input[0]) != (0 if by_item else 1):
            return False
        for position, axis in ((4, 0), (5, 0 if by_item else 1), (6, 0 if by_item else 1)):
            name = node.input[position] if position < len(node.input) else ""
            if name and self.facts.axes(name) == []:
                self._repeat(slot, node, position, axis)
                self.freed.append(label(node))
        return False

    def _gather_elements(self, slot: int, node: NodeProto) -> bool:
        """Give the data of a GatherElements the batch of its indices, and the other way: inference asks for neither."""
        facts, along = self.facts, ops.effective(node, "axis", self.graph.opset())
        for given, lacking in ((0, 1), (1, 0)):
            axis = facts.axis(node.input[given])
            if axis is None or axis == along or facts.axes(node.input[lacking]) != []:
                continue
            if (facts.shape_now(node.input[lacking]) or ())[axis : axis + 1] == (facts.now,):
                self._repeat(slot, node, lacking, axis)
                self.freed.append(label(node))
        return False

    def _repeat(self, slot: int, node: NodeProto, position: int, axis: int, size: int | None = None) -> None:
        """Let an input of a node be repeated along an axis, for each item of the batch or (``size`` 1) just one."""
        name = node.input[position]
        repeated = self._repeater.repeated(node, position, axis, size or self.facts.then)
        self.graph.set_input(slot, position, repeated)
        self._unread.append(name)

    def _repair(self, slot: int, node: NodeProto, reason: str) -> None:
        """Repeat those inputs that lack the batch, where that makes the shapes of a node fit together."""
        facts = self.facts
        for axis in range(8):
            lacking = [
                position
                for position, name in enumerate(node.input)
                if name and facts.axes(name) == [] and (facts.shape_now(name) or ())[axis : axis + 1] == (facts.now,)
            ]
            counted = any(self._repeater.counts(node.input[k], axis) for k in lacking)
            # one item is enough for what is broadcast
            for size in (1, facts.then) if facts.now != 1 and not counted else (facts.then,):
                grown = {node.input[k]: self._repeater.sized(node.input[k], axis, size) for k in lacking}
                try:
                    shapes = facts.shapes_if(node, grown) if grown else [None]
                except UnfitError:
                    continue
                if any(shape is None for shape in shapes):
                    continue
                for position in lacking:
                    self._repeat(slot, node, position, axis, size)
                for name, shape in zip(node.output, shapes, strict=True):
                    facts.set(name, shape)
                self.freed.append(label(node))
                return
        raise PassError(f"{where(node)} does not take {self._repeater.batch_text()}: {show(reason, 200)}")

    # -- what cannot be freed

    def _check_kept(self, node: NodeProto) -> None:
        """Raise PassError where a node reads the batch and all it makes is of one fixed size: it picks or mixes items.

        Shape and Size read the batch as a number, CastLike reads a type.
        """
        facts = self.facts
        read = [*node.input, *(sorted(captures(node)) if has_bodies(node) else ())]
        if node.op_type == "BatchNormalization" and self._trains(node) and facts.axes(node.input[0]):
            raise PassError(f"{where(node)} trains: it takes mean and variance of all items of the batch together")
        if node.op_type == "CastLike":
            read = read[:1]
        if node.op_type in ("Shape", "Size") or not any(facts.axes(name) for name in read if name):
            return
        if all(facts.axes(name) == [] for name in node.output if name):
            raise PassError(
                f"{where(node)} picks or mixes items of the batch: what it makes has the same shape for "
                f"{self._repeater.batch_text()}, so the graph is not one for another batch"
            )

    def _trains(self, node: NodeProto) -> bool:
        return node.domain in ("", "ai.onnx") and ops.effective(node, "training_mode", self.graph.opset()) == 1

    def _drop_unread(self) -> None:
        """Remove constants that lost their last reader, with the Identities behind them."""
        graph, freed = self.graph, set(self._unread)
        slots = [graph.index.producer_slot(name) for name in dict.fromkeys(self._unread) if self._holds(name)]
        remove_nodes(graph, [slot for slot in slots if slot is not None], freed)
        drop_unread(graph, sorted(name for name in freed if name in graph.initializers))


def _set_attribute(node: NodeProto, name: str, value: list[int]) -> None:
    own = ops.attribute_of(node, name)
    if own is None:
        node.attribute.add().CopyFrom(helper.make_attribute(name, value))
    else:
        own.ints[:] = value
