"""Matches that would make the model larger: those whose new constants come beside old ones that other nodes still read.

A Conv takes the factor of its BatchNormalization into its weight; where five of them share that weight, the file gets
five in place of one. Such matches wait until the sweep has seen them all, since together they may well free what each
alone does not, and all of those that share constants are replaced, or none: a budget spent halfway would be another one
in the next process, and another result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import NamedTuple

from graphtool.graph import Graph
from graphtool.graph.growth import FRAME_BYTES, Bound, Budget
from graphtool.graph.weights import payload_bytes
from graphtool.rewrite.build import Builder, Key

_SMALL = 4096  # bytes; a constant up to that, such as a factor for each channel, ties none together
TOO_LARGE = "others read its constants too: with new ones beside them the model would grow by more than it may"


class _Waiting(NamedTuple):
    """What replacing a match takes: the bytes of new constants by what they hold, nodes that go, and what is read."""

    added: dict[Key, int]
    gone: frozenset[int]
    reads: dict[str, int]  # bytes of constants by name

    @property
    def large(self) -> list[str]:
        """The constants that tie it to the others that read them."""
        return [name for name, size in self.reads.items() if size > _SMALL]


class Copies:
    """Decides for one sweep over a graph which matches may make the model larger."""

    def __init__(self, graph: Graph, bound: Bound, needed: Container[str], anchors: Sequence[str]) -> None:
        self._graph = graph
        self._bound = bound
        self._needed = needed  # values that stay whoever reads them
        self._anchors = anchors
        self._granted: frozenset[int] = frozenset()
        self._budget: Budget | None = None
        self.waiting: dict[int, _Waiting] = {}  # by the node that the match begins at

    @property
    def budget(self) -> Budget:
        """The budget of the model, its size taken as it is when this sweep asks first."""
        if self._budget is None:
            self._budget = self._graph.budget
            self._budget.renew(self._bound)
        return self._budget

    def allow(self, build: Builder, nodes: Sequence[int], roots: Sequence[int]) -> bool:
        """Whether a match, of those nodes in order, may be replaced now; if not, it waits."""
        slot = build.slot
        self.waiting.pop(slot, None)
        if slot in self._granted:
            return True
        added = build.added()
        growth, gone = sum(added.values()), self._gone(nodes, roots, build.used)
        for name, size in self._read(nodes):
            if growth <= 0:
                return True  # nearly always
            growth -= 0 if self._is_read(name, gone) else size
        if growth <= 0:
            return True
        if self.budget.allows(growth * self._anchor_count):  # were all the others like it, they would fit
            self.budget.grown += growth
            return True
        self.waiting[slot] = _Waiting(added, gone, dict(self._read(nodes)))
        return False

    @cached_property
    def _anchor_count(self) -> int:
        """How many nodes a match may begin at, as this sweep asks first."""
        return sum(len(self._graph.index.slots_of_type(op_type)) for op_type in self._anchors)

    def grant(self) -> list[int]:
        """Return where some of those that wait may be replaced now; these do not wait any more."""
        growth = self._growth(list(self.waiting.values()))
        chosen = list(self.waiting)
        if not self.budget.allows(growth):
            growth, chosen = self._part()
        self.budget.grown += max(growth, 0)
        self._granted = frozenset(chosen)
        for slot in chosen:
            del self.waiting[slot]
        return sorted(chosen)

    def _part(self) -> tuple[int, list[int]]:
        """Return those groups that take least, as many as leave nothing that would fit into a budget of its own."""
        groups = sorted((self._growth([self.waiting[slot] for slot in group]), group) for group in self._groups())
        for end in range(len(groups) - 1, 0, -1):
            growth = sum(growth for growth, _ in groups[:end])
            if self.budget.allows(growth) and groups[end][0] > self.budget.anew(growth):
                return growth, [slot for _, group in groups[:end] for slot in group]
        return 0, []

    def _gone(self, nodes: Sequence[int], roots: Sequence[int], used: AbstractSet[str]) -> frozenset[int]:
        """Return the nodes of a match that its replacement leaves unread."""
        gone = set(roots)
        for slot in reversed(nodes):
            made = [name for name in self._graph.row_at(slot).outputs if name]
            if not any(name in used or self._is_read(name, gone) for name in made):
                gone.add(slot)
        return frozenset(gone)

    def _is_read(self, name: str, gone: AbstractSet[int]) -> bool:
        return name in self._needed or not self._graph.index.is_read_only_by(name, gone)

    def _read(self, nodes: Iterable[int]) -> Iterator[tuple[str, int]]:
        """Yield the constants that nodes read, each once, with their bytes."""
        seen = set()
        for slot in nodes:
            for name in self._graph.row_at(slot).inputs:
                tensor = self._graph.initializers.get(name)
                if tensor is not None and name not in seen:
                    seen.add(name)
                    yield name, (payload_bytes(tensor) or 0) + FRAME_BYTES

    def _growth(self, matches: Sequence[_Waiting]) -> int:
        """Return by how many bytes the model grows when all of these are replaced."""
        added = {key: size for match in matches for key, size in match.added.items()}
        gone = frozenset[int]().union(*(match.gone for match in matches))
        reads = {name: size for match in matches for name, size in match.reads.items()}
        return sum(added.values()) - sum(size for name, size in reads.items() if not self._is_read(name, gone))

    def _groups(self) -> list[list[int]]:
        """Return those that wait in groups that read a large constant in common."""
        readers: defaultdict[str, list[int]] = defaultdict(list)
        for slot, match in self.waiting.items():
            for name in match.large:
                readers[name].append(slot)
        groups, left = [], dict.fromkeys(self.waiting)
        while left:
            group, pending = [], [next(iter(left))]
            while pending:
                slot = pending.pop()
                if slot in left:
                    del left[slot]
                    group.append(slot)
                    pending += [other for name in self.waiting[slot].large for other in readers.pop(name, ())]
            groups.append(sorted(group))
        return groups
