"""A one-to-one relation between the parts of two graphs."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from functools import cached_property

from graphtool.diff.view import View, padded, properties
from graphtool.graph import Value

# A rename explains a difference more cheaply than an edit does, but a thousand renames are no better than a few edits.
_RENAME_COST = 1 / 8


class Matching:
    """What of one graph is what of another; what has no partner was added or removed.

    ``forward`` and ``backward`` hold the node on the other side, or -1. ``values`` maps the names of inputs, weights
    and outputs of paired nodes from the first graph to the second, ``origins`` back. ``inputs`` says which inputs are
    one another where that is known beforehand.
    """

    def __init__(self, a: View, b: View, by_name: bool, inputs: Mapping[str, str] | None = None) -> None:
        self.a, self.b = a, b
        self.by_name = by_name
        self.forward = [-1] * len(a.nodes)
        self.backward = [-1] * len(b.nodes)
        self.values: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.weights: dict[str, str] = {}
        self.inputs = pair_named(a.inputs, b.inputs, by_name) if inputs is None else dict(inputs)
        self.results = pair_named(a.results, b.results, by_name)
        for x, y in self.inputs.items():
            self._same_value(x, y)
        if by_name:
            for name in a.weights:
                if name in b.weights:
                    self.pair_weight(name, name)

    def pair(self, i: int, j: int) -> None:
        """Note that node ``i`` of the first graph is node ``j`` of the second."""
        self.forward[i] = j
        self.backward[j] = i
        for x, y in zip(self.a.outputs[i], self.b.outputs[j], strict=False):
            if x and y:
                self._same_value(x, y)

    def pair_weight(self, x: str, y: str) -> None:
        """Note that weight ``x`` of the first graph is weight ``y`` of the second."""
        self.weights[x] = y
        self._same_value(x, y)

    def unpair(self, x: str, paired: dict[str, str]) -> None:
        """Forget that the input or weight ``x`` has a partner; ``paired`` is ``inputs`` or ``weights``."""
        self.origins.pop(paired.pop(x), None)
        self.values.pop(x, None)

    def _same_value(self, x: str, y: str) -> None:
        self.values[x] = y
        self.origins[y] = x

    def agree(self, x: str, y: str) -> bool:
        """Whether ``x`` in the first graph is the value that ``y`` is in the second."""
        known = self.values.get(x)
        if known is not None or x != y:
            return known == y
        # what made it went, but the value lives on under its name: told once, where the maker is
        return self.by_name or not (self.a.defines(x) or self.b.defines(y))

    def wired_alike(self, i: int, j: int) -> bool:
        """Whether two paired nodes read the same values and make the same outputs."""
        xs, ys = self.a.reads[i], self.b.reads[j]
        if len(xs) != len(ys):
            length = max(len(xs), len(ys))
            xs, ys = padded(xs, length), padded(ys, length)
        for x, y in zip(xs, ys, strict=True):
            if self.values.get(x) != y and not self.agree(x, y):
                return False
        made, now = self.a.outputs[i], self.b.outputs[j]
        return [bool(x) for x in padded(made, len(now))] == [bool(y) for y in padded(now, len(made))]

    def pairs(self) -> Iterable[tuple[int, int]]:
        """Return the paired nodes in the order of the first graph."""
        return ((i, j) for i, j in enumerate(self.forward) if j >= 0)

    @cached_property
    def changed(self) -> list[tuple[int, int]]:
        """The paired nodes that differ in more than their names and the names of their values."""
        return [(i, j) for i, j in self.pairs() if not (self._alike(i, j) and self.wired_alike(i, j))]

    def _alike(self, i: int, j: int) -> bool:
        a, b = self.a, self.b
        if a.ops[i] != b.ops[j]:
            return False
        x, y = a.nodes[i], b.nodes[j]
        # serialised, a NaN equals itself; equal bytes are the usual case and spare a look at each attribute
        if x.SerializeToString(deterministic=True) == y.SerializeToString(deterministic=True):
            return True
        return (
            x.doc_string == y.doc_string
            and properties(x.metadata_props) == properties(y.metadata_props)
            and a.attributes(i) == b.attributes(j)
        )

    def unpaired(self) -> tuple[list[int], list[int]]:
        """Return the nodes without a partner on either side."""
        return [i for i, j in enumerate(self.forward) if j < 0], [j for j, i in enumerate(self.backward) if i < 0]

    def cost(self) -> float:
        """Return how much there is to tell of this alignment: a count of nodes that differ."""
        left_a, left_b = self.unpaired()
        renamed = sum(1 for i, j in self.pairs() if self.a.names[i] != self.b.names[j])
        return len(left_a) + len(left_b) + len(self.changed) + renamed * _RENAME_COST


def pair_named(a: Mapping[str, Value], b: Mapping[str, Value], by_name: bool) -> dict[str, str]:
    """Pair inputs or outputs by name, then those of one type in order, then, where as many are left, all in order."""
    paired = {name: name for name in a if by_name and name in b}
    left_b = [name for name in b if name not in paired]
    waiting: dict[Hashable, deque[str]] = {}
    for name in left_b:
        waiting.setdefault(b[name].type_text(), deque()).append(name)
    for name, value in a.items():
        if name not in paired and waiting.get(value.type_text()):
            paired[name] = waiting[value.type_text()].popleft()
    if len(a) == len(b):
        taken = set(paired.values())
        rest = (name for name in a if name not in paired)
        paired |= dict(zip(list(rest), (name for name in left_b if name not in taken), strict=True))
    return paired
