"""The steps of a conversion: the opsets at which an operator was defined anew, and what changed there.

The source is ``onnx.defs``. What a schema cannot say, a change of meaning under the same signature, has an adapter
(``_opset_adapters``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from onnx import defs
from onnx.defs import OpSchema

from graphtool.graph import opset as ops
from graphtool.graph.forms import BEFORE, MOVES

_READ = 28  # the newest opset whose definitions were read for changes of meaning under the same signature
NEWEST = min(int(defs.onnx_opset_version()), _READ)
HINTS = frozenset({"consumed_inputs"})  # attributes that never changed a result
_VARIADIC = OpSchema.FormalParameterOption.Variadic


class Refusal(Exception):  # noqa: N818  # no error: a node that cannot be converted, with its reason
    """A node has no equivalent at the next opset; the message says why."""


@dataclass(frozen=True)
class Step:
    """One redefinition of an op, to be crossed upward (``old`` to ``new``) or downward.

    ``old`` is None where the op is as new as ``new``: downward there must be another way to say it.
    """

    op: str
    old: OpSchema | None
    new: OpSchema
    up: bool

    @cached_property
    def number(self) -> int:
        """The opset that brought the new definition."""
        return int(self.new.since_version)

    @cached_property
    def version(self) -> int:
        """The opset in whose form a node is after the step."""
        return self.number if self.up else self.number - 1

    @cached_property
    def added(self) -> tuple[str, ...]:
        """The attributes that only the newer definition has."""
        return () if self.old is None else tuple(sorted(set(self.new.attributes) - set(self.old.attributes)))

    @cached_property
    def moved(self) -> bool:
        """Whether attributes became inputs."""
        return any(move.until == self.number for move in MOVES.get(self.op, ()))

    @cached_property
    def behind_a_form(self) -> bool:
        """Whether attributes became inputs later, so that below this step, as above it, they are attributes."""
        return any(self.number < move.until for move in MOVES.get(self.op, ()))

    @cached_property
    def assumed(self) -> Mapping[str, object]:
        """The new attributes whose default is not what the older definition computes, with what it does compute."""
        return {name: BEFORE[self.op, name] for name in self.added if (self.op, name) in BEFORE}

    @cached_property
    def fits(self) -> bool:
        """Whether the schemas differ only in what is treated alike for all ops.

        These are: new attributes with a default or none, attributes that became inputs, further optional inputs and
        outputs, and other element types.
        """
        if self.old is None or self.new.deprecated:
            return False
        moved = {move.attribute for move in MOVES.get(self.op, ()) if move.until == self.number}
        if set(self.old.attributes) - set(self.new.attributes) - moved - HINTS:
            return False
        if any(self.new.attributes[name].required for name in self.added):
            return False
        for name in set(self.old.attributes) & set(self.new.attributes):
            if _attribute(self.old, name) != _attribute(self.new, name):
                return False
        return _extends(self.old.inputs, self.new.inputs, bool(moved)) and _extends(
            self.old.outputs, self.new.outputs, False
        )

    @cached_property
    def narrowed_inputs(self) -> tuple[frozenset[str], ...]:
        """For each input the types that the step takes away, as ``tensor(float)``."""
        return _narrowed(self.old, self.new, self.up, "inputs")

    @cached_property
    def narrowed_outputs(self) -> tuple[frozenset[str], ...]:
        """For each output the types that the step takes away."""
        return _narrowed(self.old, self.new, self.up, "outputs")

    @cached_property
    def joined(self) -> tuple[tuple[int, ...], ...]:
        """The inputs that may have different types before the step and must have the same one after it."""
        if self.old is None or self.moved:
            return ()
        start, goal = (self.old, self.new) if self.up else (self.new, self.old)
        groups: dict[str, list[int]] = {}
        for place, parameter in enumerate(goal.inputs):
            if place < len(start.inputs) and parameter.option != _VARIADIC:
                groups.setdefault(parameter.type_str, []).append(place)
        apart = [places for places in groups.values() if len({start.inputs[place].type_str for place in places}) > 1]
        return tuple(tuple(places) for places in apart if len(allowed(goal, goal.inputs[places[0]])) > 1)

    @cached_property
    def narrows(self) -> bool:
        """Whether the step takes any type away."""
        return any(self.narrowed_inputs) or any(self.narrowed_outputs)


@lru_cache(maxsize=4096)
def path(op: str, source: int, target: int) -> tuple[Step, ...]:
    """Return the steps of an op between two opsets, in the order in which they are taken; () for an unknown op."""
    numbers = ops.versions(op)
    schemas = [ops.schema(op, "", number) for number in numbers]
    steps = []
    for place, (number, new) in enumerate(zip(numbers, schemas, strict=True)):
        assert new is not None
        if min(source, target) < number <= max(source, target):
            steps.append(Step(op, schemas[place - 1] if place else None, new, source < target))
    return tuple(steps) if source < target else tuple(reversed(steps))


def _attribute(schema: OpSchema, name: str) -> tuple[object, ...]:
    """Return what matters of an attribute: kind and default. No node that has it cares whether it is required."""
    attribute = schema.attributes[name]
    default = attribute.default_value.SerializeToString(deterministic=True)
    return str(attribute.type), default


def _extends(old: Sequence[OpSchema.FormalParameter], new: Sequence[OpSchema.FormalParameter], moved: bool) -> bool:
    """Whether ``new`` is ``old`` with optional ones behind it, or ones that were attributes."""
    if len(new) < len(old):
        return False
    single = OpSchema.FormalParameterOption.Single
    if any(a.option not in (b.option, single) for a, b in zip(old, new, strict=False)):
        return False
    return moved or all(b.option != single for b in new[len(old) :])


def _narrowed(old: OpSchema | None, new: OpSchema, up: bool, side: str) -> tuple[frozenset[str], ...]:
    if old is None:
        return ()
    start, goal = (old, new) if up else (new, old)
    theirs = list(getattr(goal, side))
    by_name = {parameter.name: parameter for parameter in theirs}
    own = list(getattr(start, side))
    names = {parameter.name for parameter in own}
    found = []
    for place, parameter in enumerate(own):
        other = by_name.get(parameter.name)
        if other is None and theirs:  # by place, where the name changed or one variadic parameter is meant
            other = theirs[place] if place < len(theirs) and theirs[place].name not in names else None
        gone = allowed(start, parameter) - allowed(goal, other) if other is not None else frozenset[str]()
        found.append(gone)
    return tuple(found)


def allowed(schema: OpSchema, parameter: OpSchema.FormalParameter) -> frozenset[str]:
    """Return the types that a parameter may have, as ``tensor(float)``."""
    for constraint in schema.type_constraints:
        if constraint.type_param_str == parameter.type_str:
            return frozenset(constraint.allowed_type_strs)
    return frozenset({parameter.type_str})


def at(
    narrowed: Sequence[frozenset[str]], schema_side: Sequence[OpSchema.FormalParameter], place: int
) -> frozenset[str]:
    """Return what is taken away from the parameter at ``place``; a variadic last one stands for all behind it."""
    if place < len(narrowed):
        return narrowed[place]
    variadic = bool(schema_side) and schema_side[-1].option == _VARIADIC
    return narrowed[-1] if narrowed and variadic else frozenset()
