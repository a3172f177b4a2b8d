"""What the names of a pattern stand for where it matches, and when two attributes are the same."""

from __future__ import annotations

import math

from onnx import NodeProto

from graphtool.errors import quoted
from graphtool.graph import opset as ops
from graphtool.graph.forms import Virtual, moved
from graphtool.graph.rows import Row
from graphtool.rewrite.pattern import PatternNode

Operand = str | Virtual  # a value of the graph ('' for an absent input), or an attribute that is an input today
Bound = Operand | tuple[Operand, ...]


class Binding:
    """What pattern names stand for: values by name, attributes, slots by statement, and the other links of chains."""

    __slots__ = ("attributes", "links", "slots", "values")

    def __init__(self) -> None:
        self.values: dict[str, Bound] = {}
        self.attributes: dict[str, object] = {}
        self.slots: dict[int, int] = {}
        self.links: dict[int, tuple[int, ...]] = {}

    def value(self, name: str) -> Operand:
        """Return what one name stands for; '' where that is nothing."""
        found = self.values.get(name, "")
        assert not isinstance(found, tuple), f"*{name} is several values"
        return found

    def made(self, name: str) -> str:
        """Return the value of the graph that a matched node makes under ``name``; '' where it makes none."""
        found = self.values.get(name, "")
        assert isinstance(found, str), f"{name} is made by no node"
        return found

    def all_slots(self) -> list[int]:
        """Return the slots of every matched node, in the order of the statements."""
        return [slot for number in sorted(self.slots) for slot in (*self.links.get(number, ()), self.slots[number])]


def same_op(wanted: PatternNode, row: Row) -> bool:
    """Whether a node is of one of the op types, and the domain, that a statement names."""
    if row.op_type not in wanted.op_types:
        return False
    return wanted.domain == row.domain or {wanted.domain, row.domain} == {"", "ai.onnx"}


def not_default(wanted: PatternNode, node: NodeProto, version: int | None) -> str | None:
    """Return which attribute of a node, one that its statement does not mention, is not left to its default, or None.

    One that is an input today is no attribute of the statement.
    """
    named = {name for name, _ in (*wanted.literals, *wanted.variables)}.union(moved(node.op_type, version).values())
    for attribute in node.attribute[:]:
        if attribute.name in named:
            continue
        value = ops.effective(node, attribute.name, version)
        usual = ops.plain(ops.default(node.op_type, node.domain, version, attribute.name))
        if usual is None or not equal(value, usual):
            return f"{attribute.name} is {value!r}, {'nothing' if usual is None else repr(usual)} is wanted"
    return None


def equal(a: object, b: object) -> bool:
    """Whether two attribute values are the same; floats to six digits."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        # attributes are float32 in the file; a pattern writes decimal digits
        exact = isinstance(a, int) and isinstance(b, int)
        return a == b if exact else math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def shown(value: Bound) -> str:
    """Return a bound value for a message."""
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return quoted(value) if isinstance(value, str) else f"{value.array.tolist()}"
