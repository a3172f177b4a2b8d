"""Which nodes can belong to a region, each looked at by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto

from graphtool.errors import quoted
from graphtool.graph import Graph, dtype_name
from graphtool.graph import opset as ops
from graphtool.graph.bodies import has_bodies
from graphtool.graph.forms import Virtual, virtual_inputs
from graphtool.rewrite.binding import equal
from graphtool.rewrite.build import Refused, make_attribute
from graphtool.rewrite.edit import MAX_PLACES
from graphtool.rewrite.expr import Expr, ExprError, TensorRef
from graphtool.rewrite.facts import View
from graphtool.rewrite.functions_values import array
from graphtool.rewrite.params import filled
from graphtool.rewrite.region_beyond import beyond
from graphtool.rewrite.region_types import changeable

Array = NDArray[Any]
ANY = "*"  # as an op: every one of the domain


class Member(NamedTuple):
    """One ``[[region.member]]``: a kind of node that can belong to a region, and what changes of it inside.

    ``sets`` computes attributes (None leaves one out), ``constants`` the other form of a constant input by position,
    whatever ``values`` says of it: such an input must be a constant, or be carried. ``core`` nodes are those for whose
    sake a region is converted at all; the others only come along.
    """

    name: str
    ops: tuple[str, ...]
    domain: str
    glob: str
    attributes: tuple[tuple[str, object], ...]
    wheres: tuple[Expr, ...]
    sets: tuple[tuple[str, Expr], ...]
    constants: tuple[tuple[int, Expr], ...]
    core: bool


class Unit(NamedTuple):
    """A node of a region: the positions of inputs and outputs that are carried, and what else changes of it.

    ``constants`` are the converted ones by position in the newest form of the op (an old form may have an attribute
    there); ``attributes`` the new ones by name, None for one to leave out.
    """

    slot: int
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    constants: tuple[tuple[int, Array], ...]
    attributes: tuple[tuple[str, AttributeProto | None], ...]
    core: bool


def refusal(wheres: Sequence[Expr], env: Mapping[str, object]) -> str | None:
    """Return which condition does not hold, and why; None where all do."""
    for number, where in enumerate(wheres):
        try:
            if not where.holds(env):
                return f"where[{number}] does not hold: {where.text}"
        except ExprError as error:
            return f"where[{number}]: {error}"
    return None


class Finder:
    """Finds the nodes of regions; ``refused`` says why others that touch carried values cannot belong to one.

    ``outer`` and ``beyond`` are the values around the graph, and those in it too, of which some numbers may have no
    other form: they are not carried.
    """

    def __init__(
        self,
        graph: Graph,
        members: tuple[Member, ...],
        values: Expr,
        dtype: int | None,
        constants: Expr | None,
        outer: AbstractSet[str] = frozenset(),
    ) -> None:
        self.graph = graph
        self.members = members
        self.values = values
        self.dtype = dtype
        self.constants = constants
        self.refused: dict[int, str] = {}
        self.beyond: AbstractSet[str] = outer
        self.outputs = {info.name for info in graph.header.output}
        self.view = View(graph, self.outputs)
        self._params: Mapping[str, object] = {}
        self._carried: dict[str, bool | None] = {}
        self._converted: dict[tuple[str, str], Array] = {}

    def find(self, params: Mapping[str, object]) -> list[Unit]:
        """Return every node that can belong to a region, oldest first."""
        self._params = params
        self.beyond = beyond(self.graph, {*self.beyond, *self._formless()})
        units: list[Unit] = []
        for slot in self._candidates():
            node = self.graph.node(slot)
            if node is not None and self._touches(node):
                try:
                    units.append(self._unit(slot, node))
                except Refused as reason:
                    self.refused[slot] = str(reason)
        return units

    def _formless(self) -> list[str]:
        """Return the constants that the element type inside cannot hold; what else has no other form can be entered."""
        own = [*self.graph.initializers, *(n for node in self.graph.index.by_type("Constant") for n in node.output)]
        return [] if self.dtype is None else [name for name in own if self._carries(name) and not self._fits(name)]

    def _fits(self, name: str) -> bool:
        known = self.graph.constant(name)
        if known is None or self.constants is None:
            return True
        try:
            self._constant(0, name, known, self.constants, self._params)
        except Refused:
            return False
        return True

    def _candidates(self) -> list[int]:
        names = {op for member in self.members for op in member.ops}
        if ANY in names:
            return sorted(self.graph.live_slots())
        return sorted({slot for op in names for slot in self.graph.index.slots_of_type(op)})

    def _touches(self, node: NodeProto) -> bool:
        """Whether a node reads or makes a carried value that is no constant."""
        return any(self._carries(n) and not self.graph.is_constant(n) for n in (*node.input, *node.output) if n)

    def _carries(self, name: str) -> bool | None:
        """Whether a value changes form in a region; None where too little is known of it."""
        if name not in self._carried:
            env = {**self._params, "v": self.view.tensor(name)}
            try:
                stays = name in self.beyond and not self.graph.is_constant(name)
                self._carried[name] = not stays and self.values.holds(env)
            except ExprError:
                self._carried[name] = None
        return self._carried[name]

    # -- one node

    def _unit(self, slot: int, node: NodeProto) -> Unit:
        """Return the unit for a node; raises Refused with the reason why it cannot be one."""
        if has_bodies(node):
            raise Refused("it has a body, which reads values as they are")
        version = self.graph.opset(node.domain)
        inputs = virtual_inputs(node, version, self.graph.constant)
        if any(isinstance(a, str) and a and a != b for a, b in zip(inputs, node.input, strict=False)):
            raise Refused(f"its inputs have other places than those of {node.op_type} today")
        member, env = self._member(node, version, inputs)
        reads = [n for n, name in enumerate(node.input) if name and self._carries(name)]
        makes = [n for n, name in enumerate(node.output) if name and self._carries(name)]
        if self.dtype is None:
            unknown = [name for name in (*node.input, *node.output) if name and self._carries(name) is None]
            if unknown:
                raise Refused(f"too little is known of {quoted(unknown[0])}")
        else:
            large = [name for name in node.input if name in self.beyond and not self.graph.is_constant(name)]
            try:
                reads, makes = changeable(node, version, self.dtype, reads, makes)
            except Refused:
                if not large:
                    raise
                raise Refused(f"{quoted(large[0])} may be beyond {dtype_name(self.dtype)}, by a constant") from None
            if makes and not reads and not member.sets:
                raise Refused("an attribute gives the type of what it makes, and the member sets none")
        constants = self._constants(member, inputs, reads, env)
        fixed = constants.keys()
        reads = [position for position in reads if position not in fixed]
        if not reads and not makes:
            raise Refused("nothing but constants of it would change")
        changed = tuple((position, value) for position, value in constants.items() if value is not None)
        attributes = _attributes(member, node, version, env)
        return Unit(slot, tuple(reads), tuple(makes), changed, attributes, member.core)

    def _constants(
        self, member: Member, inputs: Sequence[str | Virtual], reads: Sequence[int], env: Mapping[str, object]
    ) -> dict[int, Array | None]:
        """Return the constant inputs in their other form (None: it is the same); raises Refused where one has none."""
        own = dict(member.constants)
        found: dict[int, Array | None] = {}
        for position, name in enumerate(inputs):
            expression = own.get(position) or (self.constants if position in reads else None)
            if expression is None or not name:
                continue
            stays = isinstance(name, str) and position not in reads and (self._carries(name) or name in self.beyond)
            if stays:  # a value whose type variable cannot change
                continue
            known = name.array if isinstance(name, Virtual) else self.graph.constant(name)
            if known is not None:
                new = self._constant(position, name, known, expression, env)
                same = new.dtype == known.dtype and new.shape == known.shape and new.tobytes() == known.tobytes()
                found[position] = None if same else new
            elif position not in reads:
                raise Refused(f"input{position} is neither a constant nor a value that changes")
        return found

    def _member(
        self, node: NodeProto, version: int | None, inputs: Sequence[str | Virtual]
    ) -> tuple[Member, dict[str, object]]:
        """Return the first kind of member that a node is, and what its expressions read."""
        reason = f"{node.domain + '.' if node.domain else ''}{node.op_type} is no member"
        for member in self.members:
            if node.op_type not in member.ops and ANY not in member.ops:
                continue
            if node.domain != member.domain and {node.domain, member.domain} != {"", "ai.onnx"}:
                continue
            glob = str(filled(member.glob, self._params))
            if not fnmatchcase(node.name, glob):
                reason = f"its name does not match {glob}"
                continue
            other = self._unlike(member, node, version)
            if other is not None:
                reason = other
                continue
            env = self._environment(member, node, version, inputs)
            found = refusal(member.wheres, env)
            if found is None:
                return member, env
            reason = f"{member.name}: {found}"
        raise Refused(reason)

    def _unlike(self, member: Member, node: NodeProto, version: int | None) -> str | None:
        for name, wanted in member.attributes:
            value, want = ops.effective(node, name, version), filled(wanted, self._params)
            if not equal(value, want):
                return f"{name} is {value!r}, not {want!r}"
        return None

    def _environment(
        self, member: Member, node: NodeProto, version: int | None, inputs: Sequence[str | Virtual]
    ) -> dict[str, object]:
        expressions = (*member.wheres, *(e for _, e in (*member.sets, *member.constants)))
        env: dict[str, object] = {**self._params, "op": node.op_type, "name": node.name}
        for name in {name for expression in expressions for name in expression.attributes}:
            env[f"@{name}"] = ops.effective(node, name, version)
        read = {name for expression in expressions for name in expression.names}
        for word, values in (("input", inputs), ("output", node.output)):
            for position in range(MAX_PLACES):
                if f"{word}{position}" in read:  # a look at a shape may cost an inference
                    value = values[position] if position < len(values) else ""
                    env[f"{word}{position}"] = self.view.tensor(value)
        return env

    def _constant(
        self, position: int, name: str | Virtual, known: Array, expression: Expr, env: Mapping[str, object]
    ) -> Array:
        """Return the other form of a constant input; raises Refused where there is none."""
        alone = isinstance(name, str) and expression is self.constants
        key = (name, expression.text) if isinstance(name, str) else ("", "")
        if alone and key in self._converted:
            return self._converted[key]
        code = 0 if isinstance(name, Virtual) or (v := self.graph.value(name)) is None else v.dtype
        try:
            found = array(expression.evaluate({**env, "c": TensorRef(str(name), code, known.shape, lambda: known)}))
        except (ExprError, ValueError) as error:
            raise Refused(f"input{position}: {error}") from None
        if self.dtype is not None and found.dtype != ops.numpy_dtype(self.dtype):
            raise Refused(f"input{position} becomes {found.dtype}, not {dtype_name(self.dtype)}")
        if alone:
            self._converted[key] = found
        return found


def _attributes(
    member: Member, node: NodeProto, version: int | None, env: Mapping[str, object]
) -> tuple[tuple[str, AttributeProto | None], ...]:
    """Return the attributes that a member sets; raises Refused where one has no value, or not the right one."""
    made: list[tuple[str, AttributeProto | None]] = []
    for name, expression in member.sets:
        try:
            value = expression.evaluate(env)
        except ExprError as error:
            raise Refused(f"{member.name}.set.{name}: {error}") from None
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if not equal(value, ops.effective(node, name, version)):
            made.append((name, None if value is None else make_attribute(node, version, name, value)))
    return tuple(made)


__all__ = ["ANY", "Finder", "Member", "Unit", "refusal"]
