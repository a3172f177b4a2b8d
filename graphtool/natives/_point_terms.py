"""What a graph computes for each point of a sampling grid, as terms: affine ones of coordinates, floors and limits.

A value of a point is read through whatever leaves the order of the points alone (Reshape, Unsqueeze, Cast). What is
none of these operators is not read: the answer is None, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.forms import Virtual, virtual_inputs

_DEPTH = 96  # nodes from a sample back to its coordinates; the form of exporters has some 30
_TERMS = 8
_MOVES = frozenset("Reshape Flatten Squeeze Unsqueeze Identity".split())
_WHOLE = frozenset((TensorProto.INT32, TensorProto.INT64))
_CASTS = _WHOLE | {TensorProto.FLOAT, TensorProto.DOUBLE}


@dataclass(frozen=True)
class Coordinate:
    """One of the coordinates that a grid holds in its last axis."""

    grid: str
    axis: int


@dataclass(frozen=True)
class Floor:
    """The largest integer that is not above a term."""

    of: Term


@dataclass(frozen=True)
class Held:
    """A term limited to a range."""

    of: Term
    low: float
    high: float


@dataclass(frozen=True)
class Product:
    """Two terms multiplied, neither of which is a number."""

    factors: frozenset[Term]


Atom = Coordinate | Floor | Held | Product


@dataclass(frozen=True)
class Term:
    """A sum of atoms times numbers, and a number."""

    parts: frozenset[tuple[Atom, float]] = frozenset()
    number: float = 0.0

    def plus(self, other: Term, factor: float = 1.0) -> Term | None:
        """Return this term plus ``factor`` times another; None where it gets too long."""
        found = dict(self.parts)
        for atom, weight in other.parts:
            found[atom] = found.get(atom, 0.0) + factor * weight
        parts = frozenset((atom, weight) for atom, weight in found.items() if weight)
        return Term(parts, self.number + factor * other.number) if len(parts) <= _TERMS else None

    def times(self, factor: float) -> Term:
        """Return this term times a number."""
        parts = frozenset((atom, weight * factor) for atom, weight in self.parts if factor)
        return Term(parts, self.number * factor)

    def whole(self) -> bool:
        """Whether it is an integer at each point."""
        return self.number == int(self.number) and all(
            weight == int(weight)
            and (isinstance(atom, Floor) or (isinstance(atom, Held) and atom.of.whole() and _ends_whole(atom)))
            for atom, weight in self.parts
        )


def _ends_whole(held: Held) -> bool:
    return all(math.isinf(end) or end == int(end) for end in (held.low, held.high))


def one(atom: Atom) -> Term:
    """Return an atom as a term."""
    return Term(frozenset(((atom, 1.0),)))


@dataclass
class Points:
    """Reads terms of a graph whose points are ``count`` in number."""

    graph: Graph
    count: int
    _known: dict[str, Term | None] = field(default_factory=dict)

    def read(self, name: str, depth: int = 0) -> Term | None:
        """Return what a value is at each point; None where that is not known."""
        if name not in self._known:
            self._known[name] = None  # a cycle is none of these operators
            self._known[name] = self._read(name, depth) if depth < _DEPTH else None
        return self._known[name]

    def _read(self, name: str, depth: int) -> Term | None:
        number = self.number(name)
        if number is not None:
            return Term(number=number)
        node = self.graph.index.producer(name)
        if node is None or node.domain not in ("", "ai.onnx") or self.size(name) != self.count:
            return None
        if node.op_type in ("Gather", "Slice"):
            return self._coordinate(node)
        if node.op_type in _MOVES:
            return self.read(node.input[0], depth + 1)
        if node.op_type == "Where":
            return self._where(node, depth)
        given = [self.read(i, depth + 1) for i in node.input if i]
        if None in given or not given:
            return None
        terms = [term for term in given if term is not None]
        return self._cast(node, terms[0]) if node.op_type == "Cast" else _computed(node, terms, self._limits(node))

    def _cast(self, node: NodeProto, term: Term) -> Term | None:
        to = ops.effective(node, "to", self.graph.opset())
        return term if to in _CASTS and (to not in _WHOLE or term.whole()) else None

    def _limits(self, node: NodeProto) -> tuple[float, float] | None:
        """Return the range of a Clip."""
        if node.op_type != "Clip":
            return None
        ends = [-math.inf, math.inf]
        for place, given in enumerate(self.inputs(node)[1:3]):
            if given is not None:
                if given.size != 1:
                    return None
                ends[place] = float(given.reshape(-1)[0])
        absent = [i for i in node.input[1:] if i and self.graph.constant(i) is None]
        return None if absent else (ends[0], ends[1])

    def _where(self, node: NodeProto, depth: int) -> Term | None:
        """Read Where(x < c, c, x) and its kin as a limit."""
        test = self.graph.index.producer(node.input[0])
        if test is None or len(test.input) != 2:
            return None
        below = test.op_type in ("Less", "LessOrEqual")
        if not below and test.op_type not in ("Greater", "GreaterOrEqual"):
            return None
        limit, term = self.number(node.input[1]), self.read(node.input[2], depth + 1)
        if limit is None or term is None or self.read(test.input[0], depth + 1) != term:
            return None
        if self.number(test.input[1]) != limit:
            return None
        return _held(term, limit, math.inf) if below else _held(term, -math.inf, limit)

    def _coordinate(self, node: NodeProto) -> Term | None:
        """Read one place of the last of four axes of a grid."""
        grid = self.graph.value(node.input[0])
        if grid is None or not grid.static or grid.rank != 4 or grid.dims[3] != 2:
            return None
        given = self.inputs(node)[1:]
        numbers = [None if array is None else np.asarray(array).reshape(-1).tolist() for array in given]
        if node.op_type == "Gather":
            last = ops.effective(node, "axis", self.graph.opset()) in (3, -1)
            place = numbers[0]
        else:
            starts, axes, steps = numbers[0], *(*numbers[2:], None, None)[:2]
            last, place = axes in ([3], [-1]) and steps in (None, [1]), starts
        if not last or place is None or len(place) != 1 or not -2 <= place[0] < 2:
            return None
        return one(Coordinate(node.input[0], int(place[0]) % 2))

    def inputs(self, node: NodeProto) -> list[NDArray[Any] | None]:
        """Return the constant inputs of a node in the form of the newest opset; None for one that is none."""
        found: list[NDArray[Any] | None] = []
        for given in virtual_inputs(node, self.graph.opset(), self.graph.constant):
            found.append(given.array if isinstance(given, Virtual) else self.graph.constant(given))
        return found

    def size(self, name: str) -> int | None:
        """Return the number of elements of a value; None where it is not known."""
        value = self.graph.value(name)
        return math.prod(value.dims) if value is not None and value.static else None

    def number(self, name: str) -> float | None:
        """Return a constant of one number, once or many times."""
        array = self.graph.constant(name) if name else None
        if array is None or not 0 < array.size <= max(self.count, 1) or array.dtype.kind not in "iuf":
            return None
        first = array.reshape(-1)[0]
        return float(first) if np.isfinite(first) and (array == first).all() else None


def _computed(node: NodeProto, terms: Sequence[Term], limits: tuple[float, float] | None) -> Term | None:
    first = terms[0]
    second = terms[1] if len(terms) == 2 else None
    match node.op_type:
        case "Clip" if limits is not None:
            return _held(first, *limits)
        case "Neg":
            return first.times(-1.0)
        case "Floor":
            return one(Floor(first))
    if second is None:
        return None
    match node.op_type:
        case "Add":
            return first.plus(second)
        case "Sub":
            return first.plus(second, -1.0)
        case "Div" if not second.parts and second.number:
            return first.times(1.0 / second.number)
        case "Mul":
            if not first.parts or not second.parts:
                return first.times(second.number) if not second.parts else second.times(first.number)
            return one(Product(frozenset((first, second))))
        case "Max" | "Min" if bool(first.parts) != bool(second.parts):
            term, limit = (first, second.number) if first.parts else (second, first.number)
            return _held(term, limit, math.inf) if node.op_type == "Max" else _held(term, -math.inf, limit)
    return None


def _held(term: Term, low: float, high: float) -> Term | None:
    """Return a term limited to a range; limits of limits are one range."""
    if len(term.parts) == 1 and not term.number:
        ((atom, weight),) = term.parts
        if isinstance(atom, Held) and weight == 1:
            low, high, term = max(low, atom.low), min(high, atom.high), atom.of
    return one(Held(term, low, high)) if low <= high else None
