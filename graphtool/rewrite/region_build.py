"""Converting one region: inner names for its values, conversions at its border, constants and attributes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from graphtool.graph import Graph
from graphtool.graph.forms import moved, write
from graphtool.graph.sort import topological
from graphtool.rewrite.build import Refused, make_attribute
from graphtool.rewrite.expr import Expr, ExprError
from graphtool.rewrite.facts import tensor_ref
from graphtool.rewrite.functions_values import array
from graphtool.rewrite.pattern import Pattern, PatternNode
from graphtool.rewrite.region_areas import Area
from graphtool.rewrite.region_find import Unit
from graphtool.rewrite.result import Match

Array = NDArray[Any]
_Key = tuple[str, tuple[int, ...], bytes]
OUTSIDE = "v"  # what ``enter`` and ``leave`` call the value as it is outside
_RECORDED = 256  # nodes of a region that parity can judge alone


class Converter:
    """Converts regions of one graph; ``freed`` and ``unread`` take up constants that may have no reader now."""

    def __init__(
        self,
        graph: Graph,
        name: str,
        inside: str,
        enter: Pattern,
        leave: Pattern,
        lets: tuple[tuple[str, Expr], ...],
        params: Mapping[str, object],
    ) -> None:
        self.graph = graph
        self.name = name
        self.inside = inside
        self.enter = enter
        self.leave = leave
        self.lets = lets
        self.params = params
        self.freed: set[str] = set()
        self.unread: list[int] = []
        self._steps = itertools.count()
        self._shared: dict[_Key, str] = {}  # initializers that were made, by value, so that equal ones are one
        self._new: dict[str, Array] = {}  # those of the region at hand

    def convert(self, area: Area, where: str, record: bool) -> Match:
        """Convert one region; raises Refused, the graph untouched, where a conversion cannot be built.

        With ``record`` the match of a region that is not large holds the nodes before and after.
        """
        graph = self.graph
        self._new = {}
        record = record and len(area.units) <= _RECORDED
        old = [_copy(graph.node(unit.slot)) for unit in area.units] if record else []
        names = {name: graph.names.fresh_value(f"{name}/{self.inside}") for name in self._values(area)}
        enters = [(name, self._statements(self.enter, name, names[name])) for name in area.enters]
        leaves = {name: self._statements(self.leave, name, names[name]) for name in area.leaves}
        constants = [
            [(place, self._hold(unit, place, value)) for place, value in unit.constants] for unit in area.units
        ]
        # from here on nothing refuses: the graph changes
        read = {name for nodes in (*(n for _, n in enters), *leaves.values()) for node in nodes for name in node.input}
        read.update(new for pairs in constants for _, new in pairs if isinstance(new, str))
        for name, value in self._new.items():
            if name in read:  # and did not become an attribute
                graph.put_initializer(name, value)
                self._shared[_key(value)] = name
        added = [slot for name, nodes in enters for slot in self._enter(name, nodes)]
        for unit, held in zip(area.units, constants, strict=True):
            added += self._unit(unit, names, leaves, dict(held))
        if not record:
            return Match(where, self.name)
        new = [_copy(graph.node(slot)) for slot in (*(unit.slot for unit in area.units), *added)]
        made = {name for node in old for name in node.output if name}
        inputs = dict.fromkeys(name for node in old for name in node.input if name and name not in made)
        own = {*(unit.slot for unit in area.units), *added}
        visible = {info.name for info in graph.header.output}
        visible |= {name for name in made if any(slot not in own for slot in graph.index.reader_slots(name))}
        outputs = (name for node in old for name in node.output if name in visible)
        ordered = tuple(new[place] for place in topological(new))
        return Match(where, self.name, tuple(old), ordered, tuple(inputs), tuple(outputs))

    def _values(self, area: Area) -> list[str]:
        """Return the values that get an inner name, in a fixed order."""
        found = dict.fromkeys(area.enters)
        for unit in area.units:
            node = self.graph.node(unit.slot)
            assert node is not None
            found.update(dict.fromkeys(node.output[position] for position in unit.makes))
        return list(found)

    # -- nodes at the border

    def _statements(self, pattern: Pattern, value: str, inner: str) -> list[NodeProto]:
        """Return the nodes of ``enter`` or ``leave`` for a value; raises Refused."""
        graph = self.graph
        env: dict[str, object] = {**self.params, OUTSIDE: tensor_ref(graph, value)}
        try:
            for name, expression in self.lets:
                env[name] = expression.evaluate(env)
        except ExprError as error:
            raise Refused(f"let.{name}: {error}") from None
        known = {OUTSIDE: value, self.inside: inner, "": ""}
        return [self._statement(statement, value, known, env) for statement in pattern.nodes]

    def _statement(
        self, wanted: PatternNode, value: str, known: dict[str, str], env: Mapping[str, object]
    ) -> NodeProto:
        """Return the node for one statement, in the form of the model's opset; ``known`` takes up what it names."""
        graph = self.graph
        for name in wanted.outputs:
            if name not in known:
                known[name] = graph.names.fresh_value(f"{value}/{name}")
        for name in wanted.inputs:
            if name not in known:
                known[name] = self._constant(f"{value}/{name}", name, env[name])
        # named after the value, so that a profiler's row leads back to it
        node = NodeProto(op_type=wanted.op_type, domain=wanted.domain)
        node.name = graph.names.fresh_node(f"{value}/{wanted.op_type}")
        node.output.extend(known[name] for name in wanted.outputs)
        values = dict(wanted.literals)
        for name, variable in wanted.variables:
            found = env[variable]
            if found is not None:
                values[name] = found.tolist() if isinstance(found, np.ndarray) else found
        version = graph.opset(wanted.domain)
        inputs = [known[name] for name in wanted.inputs]
        try:
            written, extra = write(wanted.op_type, wanted.domain, version, inputs, self._value, values)
        except ValueError as error:
            raise Refused(str(error)) from None
        node.input.extend(v if isinstance(v, str) else self._initializer(f"{value}/empty", v.array) for v in written)
        values |= extra
        node.attribute.extend(
            make_attribute(node, version, name, values[name]) for name in sorted(values) if values[name] is not None
        )
        return node

    def _constant(self, wish: str, name: str, value: object) -> str:
        """Return the initializer for a ``let``; '' for one that is absent."""
        if value is None:
            return ""
        try:
            empty = isinstance(value, list) and not value
            return self._initializer(wish, np.zeros(0, np.int64) if empty else array(value))
        except ValueError as error:
            raise Refused(f"{name} is not a constant: {error}") from None

    def _initializer(self, wish: str, value: Array) -> str:
        """Return the name of a constant of that value: one that this pass has made, or a new one."""
        key = _key(value)
        found = self._shared.get(key) or next((n for n, known in self._new.items() if _key(known) == key), None)
        if found is None:
            found = self.graph.names.fresh_value(wish)
            self._new[found] = value
        return found

    def _value(self, name: str) -> Array | None:
        return self._new[name] if name in self._new else self.graph.constant(name)

    def _enter(self, value: str, nodes: list[NodeProto]) -> list[int]:
        source = self.graph.index.producer_slot(value)
        if source is None:
            return [self.graph.prepend_node(node) for node in nodes]
        return [self.graph.add_node(node, source, next(self._steps)) for node in nodes]

    # -- nodes of the region

    def _hold(self, unit: Unit, place: int, value: Array) -> str | Array:
        """Return the name of a converted constant, or its value where the node has an attribute for it."""
        node = self.graph.node(unit.slot)
        assert node is not None
        if place in moved(node.op_type, self.graph.opset(node.domain)):
            return value
        return self._initializer(f"{node.input[place]}/{self.inside}", value)

    def _unit(
        self,
        unit: Unit,
        names: Mapping[str, str],
        leaves: Mapping[str, list[NodeProto]],
        held: Mapping[int, str | Array],
    ) -> list[int]:
        """Let a node read and make inner values; return the slots of the conversions of what it makes."""
        graph = self.graph
        node = graph.node(unit.slot)
        assert node is not None
        version = graph.opset(node.domain)
        for position in unit.reads:
            graph.set_input(unit.slot, position, names[node.input[position]])
        attributes = dict(unit.attributes)
        for position, new in held.items():
            if isinstance(new, str):
                before = node.input[position]
                self.freed.add(before)
                source = graph.index.producer_slot(before)
                if source is not None:
                    self.unread.append(source)
                graph.set_input(unit.slot, position, new)
            else:
                name = moved(node.op_type, version)[position]
                attributes[name] = make_attribute(node, version, name, new.tolist())
        for name in attributes:
            for place in reversed(range(len(node.attribute))):
                if node.attribute[place].name == name:
                    del node.attribute[place]
        node.attribute.extend(a for a in attributes.values() if a is not None)
        added: list[int] = []
        for position in unit.makes:
            value = node.output[position]
            graph.rename_output(unit.slot, position, names[value])
            self._note(value, names[value], stays=value in leaves)
            added += [graph.add_node(new, unit.slot, next(self._steps)) for new in leaves.get(value, [])]
        return added

    def _note(self, value: str, inner: str, stays: bool) -> None:
        """Let a quantization annotation follow a value that is there under its inner name only."""
        for note in self.graph.header.quantization_annotation:
            if note.tensor_name == value and not stays:
                note.tensor_name = inner


def _key(value: Array) -> _Key:
    # numpy spells all types of ml_dtypes alike but for their names
    data = np.ascontiguousarray(value).tobytes()
    return value.dtype.name, value.shape, data if len(data) <= 64 else hashlib.sha256(data).digest()


def _copy(node: NodeProto | None) -> NodeProto:
    assert node is not None
    own = NodeProto()
    own.CopyFrom(node)
    return own


__all__ = ["OUTSIDE", "Converter"]
