"""Finding a pattern in a graph: backtracking from the last statement towards the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from onnx import NodeProto

from graphtool.errors import quoted, show
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.rewrite.pattern import Pattern, PatternNode
from graphtool.rewrite.result import label

MAX_LOOKS = 2_000  # nodes looked at for one anchor


@dataclass(slots=True)
class Binding:
    """What pattern names stand for: values by name ('' for an absent input), attributes, and slots by statement."""

    values: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Binding:
        """Return an independent copy."""
        return Binding(dict(self.values), dict(self.attributes), dict(self.slots))


class Matcher:
    """Matches one pattern at one place; keeps the reason of the attempt that got furthest."""

    def __init__(self, graph: Graph, pattern: Pattern, optional: frozenset[str], fixed: Mapping[str, object]) -> None:
        self.graph = graph
        self.pattern = pattern
        self.optional = optional  # values that may be absent
        self.fixed = fixed  # parameters that a pattern may read as @name
        self.versions = {node.domain: graph.opset(node.domain) for node in pattern.nodes}
        self.outputs = frozenset(info.name for info in graph.header.output)
        self.makers = {
            name: (number, position)
            for number, node in enumerate(pattern.nodes)
            for position, name in enumerate(node.outputs)
            if name
        }
        self.reason = ""
        self._reach = -1
        self._looks = 0

    def matches(self, slot: int) -> Iterator[Binding]:
        """Yield the ways in which the last statement can stand for the node in ``slot``."""
        self.reason, self._reach, self._looks = "", -1, 0
        last = len(self.pattern.nodes) - 1
        for binding in self._node(last, slot, Binding()):
            found = self._inner(binding)
            if found is None:
                yield binding
            else:
                self._miss(binding, found, bonus=1)

    def _node(self, number: int, slot: int, binding: Binding) -> Iterator[Binding]:
        wanted = self.pattern.nodes[number]
        node = self.graph.node(slot)
        self._looks += 1
        if self._looks > MAX_LOOKS:  # commutative operators that lead to the same nodes again: 2^depth ways
            self.reason, self._reach = f"given up after a look at {MAX_LOOKS} nodes", len(self.pattern.nodes) + 2
            return
        if node is None or not _same_op(wanted, node):
            got = "no node" if node is None else show(node.op_type)
            self._miss(binding, f"{wanted.op_type} is wanted where {got} is" + _at(node))
            return
        if number in binding.slots:
            if binding.slots[number] == slot:
                yield binding
            return
        if slot in binding.slots.values():
            return
        own = binding.copy()
        own.slots[number] = slot
        fault = self._attributes(wanted, node, own) or self._outputs(wanted, node, own)
        if fault:
            self._miss(binding, f"{fault}{_at(node)}")
            return
        inputs = list(node.input)
        while inputs and not inputs[-1]:
            inputs.pop()
        if len(inputs) > len(wanted.inputs):
            self._miss(own, f"{len(inputs)} inputs where at most {len(wanted.inputs)} are wanted{_at(node)}")
            return
        inputs += [""] * (len(wanted.inputs) - len(inputs))
        yield from self._inputs(wanted.inputs, inputs, own)
        commutes = wanted.op_type in ops.COMMUTATIVE and wanted.domain in ("", "ai.onnx")
        if commutes and len(inputs) == 2 and inputs[0] != inputs[1]:
            yield from self._inputs(wanted.inputs, inputs[::-1], own)

    def _inputs(self, wanted: tuple[str, ...], given: list[str], binding: Binding) -> Iterator[Binding]:
        if not wanted:
            yield binding
            return
        name, value = wanted[0], given[0]
        for bound in self._value(name, value, binding):
            yield from self._inputs(wanted[1:], given[1:], bound)

    def _value(self, name: str, value: str, binding: Binding) -> Iterator[Binding]:
        if not name:
            if not value:
                yield binding
            else:
                self._miss(binding, f"input {quoted(value)} is there where none is wanted")
            return
        if name in binding.values:
            if binding.values[name] == value:
                yield binding
            else:
                self._miss(
                    binding, f"{name} is {quoted(binding.values[name])} in one place, {quoted(value)} in another"
                )
            return
        if not value and name not in self.optional:
            self._miss(binding, f"input {name} is absent")
            return
        if name not in self.makers:
            own = binding.copy()
            own.values[name] = value
            yield own
            return
        number, position = self.makers[name]
        slot = self.graph.index.producer_slot(value)
        if slot is None:
            wanted = self.pattern.nodes[number].op_type
            self._miss(binding, f"{name} is to come from {wanted}, but {quoted(value)} is an input or a constant")
            return
        node = self.graph.node(slot)
        assert node is not None
        for bound in self._node(number, slot, binding):
            if bound.values.get(name) == value and list(node.output).index(value) == position:
                yield bound

    def _attributes(self, wanted: PatternNode, node: NodeProto, binding: Binding) -> str | None:
        version = self.versions[wanted.domain]
        for name, literal in wanted.literals:
            value = ops.effective(node, name, version)
            if not equal(value, literal):
                return f"{name} is {value!r}, {literal!r} is wanted"
        for name, variable in wanted.variables:
            value = ops.effective(node, name, version)
            known = self.fixed if variable in self.fixed else binding.attributes
            if variable in known and not equal(known[variable], value):
                return f"{name} is {value!r}, {known[variable]!r} is wanted"
            binding.attributes[variable] = value
        return None

    def _outputs(self, wanted: PatternNode, node: NodeProto, binding: Binding) -> str | None:
        for position, value in enumerate(node.output):
            name = wanted.outputs[position] if position < len(wanted.outputs) else ""
            if name:
                if binding.values.setdefault(name, value) != value:
                    return f"{name} is another value"
            elif value and (self.graph.index.uses(value) or value in self.outputs):
                return f"output {quoted(value)} is read, but the pattern does not name it"
        return None

    def _inner(self, binding: Binding) -> str | None:
        """Return why inner values of a match must stay: they are read from outside of it."""
        slots = set(binding.slots.values())
        last = len(self.pattern.nodes) - 1
        for number, slot in binding.slots.items():
            node = self.graph.node(slot)
            assert node is not None
            if number == last:
                continue
            for value in node.output:
                if value in self.outputs:
                    return f"{quoted(value)} is a graph output too"
                others = [
                    n for s in self.graph.index.reader_slots(value) if s not in slots and (n := self.graph.node(s))
                ]
                if others:
                    return f"{quoted(value)} is also read by {quoted(label(others[0]))}"
        return None

    def _miss(self, binding: Binding, reason: str, bonus: int = 0) -> None:
        reach = len(binding.slots) + bonus
        if reach > self._reach:
            self._reach, self.reason = reach, reason


def _same_op(wanted: PatternNode, node: NodeProto) -> bool:
    if wanted.op_type != node.op_type:
        return False
    return wanted.domain == node.domain or {wanted.domain, node.domain} == {"", "ai.onnx"}


def equal(a: object, b: object) -> bool:
    """Whether two attribute values are the same; floats to six digits."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        # attributes are float32 in the file; a pattern writes decimal digits
        exact = isinstance(a, int) and isinstance(b, int)
        return a == b if exact else math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def _at(node: NodeProto | None) -> str:
    return "" if node is None else f" (at {quoted(label(node))})"
