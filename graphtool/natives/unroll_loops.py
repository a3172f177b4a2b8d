"""Loops that run a known number of times: their body, that many times, in place of the loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto, helper

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.bodies import captures, walk
from graphtool.graph.opset import RANDOM, attribute_of, numpy_dtype
from graphtool.graph.values import value_of
from graphtool.natives._call import Array
from graphtool.natives._known import boolean, integer, is_true
from graphtool.natives._placing import constant_node, drop_unneeded
from graphtool.natives._splice import Splicer, identity_fault
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer, everywhere

UNITS = True  # each Loop


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Unroll each Loop that is known to run at most ``most`` times, where that adds at most ``more`` nodes."""
    most, more = params["most"], params["more"]
    assert isinstance(most, int) and isinstance(more, int)
    if most < 0 or more < 0:
        raise PassError("most and more are at least 0")
    applied = Applied()
    ir_version = graph.proto.ir_version
    reads: dict[str, None] = {}  # trip counts and conditions; some are values of graphs around the loops
    for level in graph.levels():
        queue = level.index.slots_of_type("Loop")
        for slot in queue:  # grows: a loop in a loop comes to light
            node = level.node(slot)
            body = attribute_of(node, "body") if node is not None and node.domain in ("", "ai.onnx") else None
            if node is None or body is None:
                continue
            loop = _Loop(level, node, body.g)
            count = loop.count()
            fault = count if isinstance(count, str) else loop.fault(count, most, more)
            if isinstance(count, str) or fault:
                applied.misses.append(Miss(label(node), "native", fault))
                continue
            if not offer(label(node), alias(node)):
                continue
            applied.matches.append(Match(label(node), "native"))
            reads.update(dict.fromkeys(filter(None, node.input[:2])))
            added = loop.unroll(slot, count, ir_version)
            queue += [new for new in added if (own := level.node(new)) is not None and own.op_type == "Loop"]
        drop_unneeded(level, [name for name in reads if level.defines(name)])
    drop_unneeded(graph, reads)
    return applied


class _Loop:
    """A Loop node and its body.

    The ONNX specification: its inputs are trip count, condition and states; those of the body iteration number,
    condition and states; the outputs of the body condition, states, and what is stacked over the iterations.
    """

    def __init__(self, graph: Graph, node: NodeProto, body: GraphProto) -> None:
        self.graph = graph
        self.node = node
        self.body = body
        self.trips, self.begins, *self.initial = [*node.input, "", ""][: max(len(node.input), 2)]
        self.made = [info.name for info in body.output][1:]  # states, then what is stacked
        self.prefix = node.name or "Loop"

    @property
    def finals(self) -> list[str]:
        """The states outside, after the loop; ``""`` where nobody reads one."""
        return list(self.node.output[: len(self.initial)])

    @cached_property
    def stacked(self) -> list[tuple[ValueInfoProto, str]]:
        """What is stacked and read: as the body declares it, and its name outside."""
        count = len(self.initial)
        outputs = {info.name for info in self.graph.header.output}
        pairs = zip(list(self.body.output)[1 + count :], self.node.output[count:], strict=False)
        return [pair for pair in pairs if pair[1] and (pair[1] in outputs or self.graph.index.uses(pair[1]))]

    def count(self) -> int | str:
        """Return how often the body runs, or why that is not known."""
        if len(self.body.input) != 2 + len(self.initial) or len(self.made) < len(self.initial):
            return "its body does not fit it"
        first = boolean(self.graph, self.begins) if self.begins else True
        limit = integer(self.graph, self.trips) if self.trips else None
        if first is False or (limit is not None and limit <= 0):
            return 0
        if first is None:
            return "its condition is not known"
        if limit is None and self.trips:
            return "its trip count is not known"
        again = self._goes_on()
        if again is False or limit == 1:
            return 1
        if again is None:
            return "its body may end it"
        return limit if limit is not None else "it never ends"

    def _goes_on(self) -> bool | None:
        """Return the condition that the body makes, where it is the same in each iteration."""
        name = self.body.output[0].name
        makers = {output: node for node in self.body.node for output in node.output}
        while name in makers and makers[name].op_type == "Identity":
            name = makers[name].input[0]
        if name == self.body.input[1].name:
            return True  # what it was given, and that was true
        if name in makers:
            maker = makers[name]
            return is_true(self.graph.weights.constant(maker)) if maker.op_type == "Constant" else None
        for tensor in self.body.initializer:
            if tensor.name == name:
                return is_true(self.graph.array(tensor))
        return None if any(info.name == name for info in self.body.input) else boolean(self.graph, name)

    def fault(self, count: int, most: int, more: int) -> str:
        """Return why the loop is not unrolled ``count`` times; empty where it is."""
        if count > most:
            return f"it runs {count} times, and most is {most}"
        if count > 1 and any(node.op_type in RANDOM or node.domain not in ("", "ai.onnx") for node in walk(self.body)):
            return "what its body makes may be other numbers each time"
        size = sum(1 for node in walk(self.body) if node.op_type != "Constant")
        stacking = len(self.stacked) * (count + (count > 1)) if count else 0
        grown = count * size + stacking - (1 + size)
        # a loop that runs once is worth the nodes
        if count > 1 and grown > more:
            return f"unrolled {count} times it would have {grown} nodes more, and more is {more}"
        if count == 0 and any(_empty(info) is None for info, _ in self.stacked):
            return "it never runs, and the shape of what it stacks is not known"
        made = {name for node in self.body.node for name in node.output} if count else set()
        pairs = zip(self.made if count else self.initial, self.finals, strict=False)
        return identity_fault(self.graph, [pair for pair in pairs if pair[1]], made)

    def unroll(self, slot: int, count: int, ir_version: int) -> list[int]:
        """Put the body in place of the loop and return the slots of its nodes."""
        graph = self.graph
        stacked = self.stacked  # asked before the loop goes
        splicer = Splicer(graph, slot, ir_version)
        graph.remove_node(slot)
        for info, outside in stacked if not count else ():
            empty = _empty(info)
            assert empty is not None, "asked by fault"
            node = constant_node(graph, outside, empty, f"{self.prefix}/{outside}")
            if node is not None:
                splicer.add(node)
        shared: dict[str, str] = {}
        if count:
            splicer.move_initializers(self.body, shared)
        states = self.initial
        unread: list[str] = []  # perhaps: conditions, and what only they needed
        parts: list[list[str]] = [[] for _ in stacked]
        for number in range(count):
            last = number == count - 1
            results = [pair for pair in zip(self.made, self.finals, strict=False) if pair[1]] if last else []
            prefix = self.prefix if count == 1 else f"{self.prefix}/{number}"
            formal = self._formal(number, states)
            names = splicer.splice(self.body, formal, results, prefix, shared)
            unread += [names.get(name, name) for name in (self.body.output[0].name, *formal, *self.made)]
            states = [names.get(name, name) for name in self.made[: len(states)]]
            for part, (info, _) in zip(parts, stacked, strict=True):
                part.append(names.get(info.name, info.name))
            splicer.keep_scalars(results, names, prefix)
        if not count:
            for source, outside in zip(states, self.finals, strict=False):
                if outside:
                    splicer.forward(source, outside, self.prefix)
        else:
            for part, (_, outside) in zip(parts, stacked, strict=True):
                self._stack(splicer, part, outside)
        drop_unneeded(graph, [name for name in (*unread, *shared.values()) if graph.defines(name)])
        return splicer.added

    def _formal(self, number: int, states: Iterable[str]) -> dict[str, str]:
        """Return what the inputs of the body are in an iteration."""
        formal = dict(zip((info.name for info in self.body.input[2:]), states, strict=True))
        step, condition = (info.name for info in self.body.input[:2])
        if step in self._read:
            formal[step] = self.graph.add_initializer(f"{self.prefix}/{step}", np.array(number, np.int64))
        if condition in self._read:
            true = self.begins or self.graph.add_initializer(f"{self.prefix}/{condition}", np.array(True))
            formal[condition] = true
        return formal

    @cached_property
    def _read(self) -> set[str]:
        """What the nodes of the body read, in bodies too, and what it hands out."""
        found = set(self.made)
        for node in self.body.node:
            found.update(node.input)
            found |= captures(node)
        return found

    def _stack(self, splicer: Splicer, parts: list[str], outside: str) -> None:
        graph = self.graph
        axes: list[str] = []
        old = (graph.opset() or 0) < 13
        if not old:
            axes = [graph.add_initializer(f"{self.prefix}/axes", np.array([0], np.int64))]
        rows = [outside] if len(parts) == 1 else [graph.names.fresh_value(f"{part}/row") for part in parts]
        for part, row in zip(parts, rows, strict=True):
            name = graph.names.fresh_node(f"{self.prefix}/Unsqueeze")
            node = helper.make_node("Unsqueeze", [part, *axes], [row], name)
            if old:
                node.attribute.append(helper.make_attribute("axes", [0]))
            splicer.add(node)
        if len(parts) > 1:
            name = graph.names.fresh_node(f"{self.prefix}/Concat")
            splicer.add(helper.make_node("Concat", rows, [outside], name, axis=0))


def _empty(info: ValueInfoProto) -> Array | None:
    """Return what is stacked of a value of the body where the loop never runs; None where its shape is not declared.

    onnxruntime goes by the declaration too, so one of the graph's output would not do.
    """
    value = value_of(info)
    if value.kind != "tensor" or not value.dtype or not value.static:
        return None
    return np.zeros((0, *value.dims), numpy_dtype(value.dtype))
