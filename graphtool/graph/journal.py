"""What edits touched: for whoever looks at a graph again and again, and has to look only where something is new.

Passes that are repeated until none matches would otherwise each look at every node in every round. A journal hangs on a
graph while that goes on (:attr:`Graph.journal`). Index and Graph note the names of values whose maker, readers or
constant changed, and facts those of which more is known; what a look at a node depends on is one of those.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from graphtool.graph.model import Graph


class _Mark(NamedTuple):
    """How far the edits were when somebody looked: in batches, of which ``whole`` may have changed anything."""

    turn: int
    whole: int


@dataclass(slots=True)
class Held:
    """The bodies of one node as graphs, and the outer values that they read."""

    graphs: list[Graph]
    captured: set[str]


class Journal:
    """Edits of one graph in batches. Those who look are known by a key of their own.

    ``held`` are the bodies in the graph by the slots of their nodes, each with a journal of its own.
    """

    def __init__(self) -> None:
        self.touched: list[str] = []  # names of values, since the last batch
        self.held: dict[int, Held] = {}
        self.kinds: tuple[int, frozenset[frozenset[str]]] | None = None  # Graph.kinds, as of that many edits
        self._edits = 0
        self._turn = 0
        self._whole = 0
        self._marks: dict[Hashable, _Mark] = {}
        # by number of steps: the latest batch that touched something at most so many nodes above a slot
        self._near: list[dict[int, int]] = [{}]
        self._fresh: list[dict[int, None]] = [{}]  # slots whose readers do not know of that yet

    @property
    def edits(self) -> int:
        """A number that grows with every edit."""
        return self._edits + len(self.touched)

    def everything(self) -> None:
        """Note that anything may have changed: an edit went to the protobuf directly."""
        for body in [own for held in self.held.values() for own in held.graphs]:
            if body.journal is not None:
                body.journal.everything()  # a body in it knows it: no cycle of references is left
        self.held.clear()
        self._edits = self.edits + 1
        self.touched.clear()
        self._turn += 1
        self._whole = self._turn
        self._near, self._fresh = [{}], [{}]

    def is_new(self, graph: Graph, key: Hashable) -> bool:
        """Whether anything has changed since ``key`` looked at the graph for the last time, or it never did."""
        self._close(graph)
        mark = self._marks.get(key)
        return mark is None or mark.turn < self._turn

    def look(self, graph: Graph, key: Hashable) -> None:
        """Note that ``key`` looks at all of the graph now."""
        self._close(graph)
        self._marks[key] = _Mark(self._turn, self._whole)

    def forget(self, key: Hashable) -> None:
        """Let ``key`` look at everything the next time."""
        self._marks.pop(key, None)

    def again(self, graph: Graph, key: Hashable, slots: Sequence[int], steps: int | None) -> Sequence[int]:
        """Return those of ``slots`` that ``key`` has to look at that changed since it looked.

        This notes that it looks now. What it looks at from a slot reaches ``steps`` nodes upward; None where it may
        reach further.
        """
        self._close(graph)
        mark = self._marks.get(key)
        self._marks[key] = _Mark(self._turn, self._whole)
        if mark is None or mark.whole != self._whole:
            return slots
        turn = mark.turn
        if turn == self._turn:
            return ()
        if steps is None or not slots:
            return slots
        near = self._nearby(graph, steps)
        return [slot for slot in slots if near.get(slot, -1) > turn]

    def _close(self, graph: Graph) -> None:
        """Make a batch of what was touched: the nodes that make or read one of those values now."""
        names = graph.facts_changed()
        if not self.touched and not names:
            return
        names += self.touched
        self._edits = self.edits
        self.touched.clear()
        self._turn += 1
        turn = self._turn
        producers, readers = graph.index.producers, graph.index.readers
        near, fresh = self._near[0], self._fresh[0]
        for name in set(names):  # an order that does not matter
            slot = producers.get(name)
            if slot is not None:
                near[slot] = turn
                fresh[slot] = None
            found = readers.get(name)
            if found is None:
                continue
            for reader in (found,) if isinstance(found, int) else found.reads:
                near[reader] = turn
                fresh[reader] = None

    def _nearby(self, graph: Graph, steps: int) -> dict[int, int]:
        """Return the latest batch that touched something at most ``steps`` nodes above a slot, by slot."""
        rows, readers = graph.index.rows, graph.index.readers
        for step in range(steps):
            if step + 1 == len(self._near):
                self._near.append({})
                self._fresh.append({})
            above, near, fresh = self._near[step], self._near[step + 1], self._fresh[step + 1]
            for slot in self._fresh[step]:
                row = rows[slot]
                if row is None:
                    continue
                turn = above[slot]
                if near.get(slot, -1) < turn:
                    near[slot] = turn
                    fresh[slot] = None
                for name in row.outputs:
                    found = readers.get(name)
                    if found is None:
                        continue
                    for reader in (found,) if isinstance(found, int) else found.reads:
                        if near.get(reader, -1) < turn:
                            near[reader] = turn
                            fresh[reader] = None
            self._fresh[step].clear()
        return self._near[steps]
