"""A look at who makes the inputs of a node, and of those nodes: most attempts at a pattern end here, unbound.

What is asked is necessary for a match and never enough: op types, which inputs must be constants, and that values
under one name are one value. The matcher, which binds and backtracks, is left with the places that may be right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.forms import moved
from graphtool.rewrite.pattern import Pattern, PatternNode


class _Look(NamedTuple):
    """What one statement asks of its inputs, by place: the makers' types and looks, constants, names met again."""

    commutes: bool
    made: tuple[tuple[int, tuple[str, ...], _Look | None], ...]
    known: tuple[int, ...]
    again: tuple[tuple[int, str], ...]


class Screen:
    """The look for one pattern, which ends at the node that is looked at.

    ``optional`` values may be absent, ``constants`` must be known, ``versions`` are the model's opsets by domain.
    """

    def __init__(
        self, graph: Graph, pattern: Pattern, optional: AbstractSet[str], constants: AbstractSet[str],
        versions: Mapping[str, int | None],
    ) -> None:  # fmt: skip
        self._is_constant, self._index = graph.is_constant, graph.index
        self._makers = {name: node for node in pattern.nodes for name in node.outputs if name}
        self._known = constants - optional
        read = Counter(name for node in pattern.nodes for name in node.inputs if name not in node.many)
        self._repeated = {name for name, count in read.items() if count > 1 and name and name not in self._makers}
        self._versions = versions
        self._look = self._of(pattern.nodes[-1], self._repeated, end=True)

    def _of(self, wanted: PatternNode, repeated: AbstractSet[str], end: bool = False) -> _Look | None:
        """Return what a statement and those above it ask; None where that is nothing.

        Above a commutative statement names are not followed, unless it is the end: which of its orders is the right one
        is not known.
        """
        if wanted.many or wanted.chain or wanted.op_type == "Resize":  # its inputs have other places in old opsets
            return None
        moves = set().union(*(moved(op, self._versions[wanted.domain]) for op in wanted.op_types))
        places = [(place, name) for place, name in enumerate(wanted.inputs) if name and place not in moves]
        commutes = len(wanted.inputs) == 2 and not ops.COMMUTATIVE.isdisjoint(wanted.op_types)
        followed = repeated if end or not commutes else frozenset()
        made = [(place, self._makers[name]) for place, name in places if name in self._makers]
        look = _Look(
            commutes,
            tuple((place, maker.op_types, self._of(maker, followed)) for place, maker in made),
            tuple(place for place, name in places if name in self._known and name not in self._makers),
            tuple((place, name) for place, name in places if name in followed),
        )
        return look if look.made or look.known or look.again else None

    def passes(self, inputs: Sequence[str]) -> bool:
        """Whether the pattern may match with its last statement at a node of the right type that reads ``inputs``."""
        return self._look is None or self._fits(self._look, inputs, {})

    def _fits(self, look: _Look, inputs: Sequence[str], bound: dict[str, str]) -> bool:
        if not look.commutes or len(inputs) != 2:
            return self._in_order(look, inputs, bound)
        first, second = inputs
        # only at the end of a pattern, where nothing is bound yet, is anything bound here
        return self._in_order(look, inputs, {}) or self._in_order(look, (second, first), {})

    def _in_order(self, look: _Look, inputs: Sequence[str], bound: dict[str, str]) -> bool:
        count = len(inputs)
        for place, name in look.again:
            if place < count and bound.setdefault(name, inputs[place]) != inputs[place]:
                return False
        for place in look.known:
            if place >= count or not self._is_constant(inputs[place]):
                return False
        producers, rows = self._index.producers, self._index.rows
        for place, op_types, above in look.made:
            at = producers.get(inputs[place]) if place < count else None
            maker = None if at is None else rows[at]
            if maker is None or maker.op_type not in op_types:
                return False
            if above is not None and not self._fits(above, maker.inputs, bound):
                return False
        return True
