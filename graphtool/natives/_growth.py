"""Which of the nodes that could be folded are folded, so that the model does not grow: sizes added, sizes freed.

Folding removes nodes, and constants that only they read; the values that other nodes read are added. Where all of it
together fits the budget, all is folded. Else the nodes fall apart into groups that share large values, and a group is
folded where it makes the model smaller; of what is left, all that fits, or what is small where the rest is far too much
(weights that a ConstantOfShape stands for), or nothing that grows: a second application of the pass, even one with a
budget of its own, finds nothing to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from graphtool.graph import Graph
from graphtool.graph.growth import FRAME_BYTES, Budget
from graphtool.graph.weights import payload_bytes

_SMALL = 1024  # bytes; a constant up to that does not tie the nodes that share it together


class Ledger:
    """What folding nodes of one graph adds and frees. ``size`` is the bytes of a value, 0 where not known yet."""

    def __init__(self, graph: Graph, slots: Iterable[int], size: Callable[[str], int]) -> None:
        self._graph = graph
        self._size = size
        self.folded = dict.fromkeys(slots)  # a set in order
        self.grown = 0  # by folding those, once chosen
        self._kept = {info.name for info in graph.header.output}
        for note in graph.header.quantization_annotation:
            self._kept.update(entry.value for entry in note.quant_parameter_tensor_names)

    def frontier(self, slot: int) -> list[str]:
        """Return the values of a folded node that something else needs."""
        node = self._graph.node(slot)
        assert node is not None
        return [name for name in node.output[:] if name and self._is_needed(name)]

    def _is_needed(self, name: str) -> bool:
        if name in self._kept:
            return True
        return any(reader not in self.folded for reader in self._graph.index.reader_slots(name))

    def cost(self, name: str) -> int:
        """Return how many bytes a value takes in the file."""
        return self._size(name) + len(name.encode()) + FRAME_BYTES

    def growth(self, slots: Iterable[int], least: int = _SMALL) -> int:
        """Return by how many bytes folding ``slots``, which are folded, makes the model larger.

        Constants of fewer than ``least`` bytes, which several groups may read, are not counted as freed.
        """
        total: int = 0
        reads: dict[str, None] = {}
        for slot in slots:
            node = self._graph.node(slot)
            assert node is not None
            total += sum(map(self.cost, self.frontier(slot))) - int(node.ByteSize())
            reads.update(dict.fromkeys(node.input[:]))
        for name in filter(None, reads):  # a constant that all of them read is looked at once
            stored = self._stored(name)
            if stored >= least and not self._is_needed(name):
                total -= stored
        return total

    def _stored(self, name: str) -> int:
        """Return the bytes of a constant that lies in this very graph; 0 for other values."""
        tensor = self._graph.initializers.get(name)
        if tensor is not None:
            return (payload_bytes(tensor) or 0) + len(name) + FRAME_BYTES
        node = self._graph.index.producer(name)
        if node is None or node.op_type != "Constant":
            return 0
        return sum(payload_bytes(a.t) or 0 for a in node.attribute if a.HasField("t")) + int(node.ByteSize())

    def groups(self) -> list[list[int]]:
        """Return the folded nodes in groups that read or make no large value in common."""
        parent: dict[object, object] = {}

        def root(item: object) -> object:
            while (above := parent.setdefault(item, item)) != item:
                parent[item] = item = parent.setdefault(above, above)
            return item

        for slot in self.folded:
            node = self._graph.node(slot)
            assert node is not None
            for name in (*node.input, *node.output):
                if name and (self._size(name) > _SMALL or self._stored(name) > _SMALL + FRAME_BYTES):
                    parent[root(name)] = root(slot)
            root(slot)
        found: defaultdict[object, list[int]] = defaultdict(list)
        for slot in self.folded:
            found[root(slot)].append(slot)
        return list(found.values())

    def keep(self, slots: Iterable[int], must: Callable[[int], bool]) -> None:
        """Keep those nodes for which ``must`` holds, and then perhaps those whose values they need."""
        queue = list(slots)
        while queue:
            slot = queue.pop()
            if slot not in self.folded or not must(slot):
                continue
            del self.folded[slot]
            node = self._graph.node(slot)
            assert node is not None
            queue += [source for name in node.input if (source := self._graph.index.producer_slot(name)) is not None]

    def keep_large(self, slots: Iterable[int], most: Callable[[int], float]) -> None:
        """Keep those nodes that make needed values larger than ``most(slot)``."""
        self.keep(slots, lambda slot: any(self.cost(name) > most(slot) for name in self.frontier(slot)))


def choose(graph: Graph, slots: Iterable[int], size: Callable[[str], int], budget: Budget) -> Ledger:
    """Return the nodes to fold so that the model does not grow beyond its budget."""
    ledger = Ledger(graph, slots, size)
    ledger.grown = ledger.growth(ledger.folded, 0)
    if not budget.allows(ledger.grown):
        _withdraw(graph, ledger, budget)
        ledger.grown = ledger.growth(ledger.folded, 0)
    return ledger


class _Group(NamedTuple):
    """Nodes that are folded together or not at all: the bytes of the largest value, and by how many the model grows."""

    slots: list[int]
    largest: int
    growth: int


def _withdraw(graph: Graph, ledger: Ledger, budget: Budget) -> None:
    """Keep what makes the model larger than its budget allows."""
    groups = []
    for slots in ledger.groups():
        growth = ledger.growth(slots)
        if growth > 0:
            largest = max(ledger.cost(name) for slot in slots for name in ledger.frontier(slot))
            groups.append(_Group(slots, largest, growth))
    for group in groups:
        ledger.keep_large(group.slots, lambda _: budget.left)
    growing = _still(ledger, [group.slots for group in groups])
    together = sum(map(ledger.growth, growing))
    rest = [group for group in groups if not ledger.folded.keys() >= set(group.slots)]
    if budget.allows(together) and _is_settled(rest, budget.anew(together)):
        return
    small = {slot for group in _smallest(groups, budget) for slot in group.slots}
    growing = [slots for slots in growing if small.isdisjoint(slots)]
    for slots in growing:
        ledger.keep_large(slots, lambda slot: _bytes(graph, slot))
    for slots in _still(ledger, growing):
        for slot in slots:
            del ledger.folded[slot]


def _smallest(groups: Sequence[_Group], budget: Budget) -> Sequence[_Group]:
    """Return the groups of small values that fit together, such as vectors that other passes may want to know.

    Values are small up to a power of four: as large a one as leaves nothing to another application.
    """
    groups = sorted(groups, key=_tier)
    ends = [place for place in range(1, len(groups)) if _tier(groups[place - 1]) != _tier(groups[place])]
    for end in reversed(ends):
        growth = sum(group.growth for group in groups[:end])
        if budget.allows(growth) and _is_settled(groups[end:], budget.anew(growth)):
            return groups[:end]
    return []


def _is_settled(rest: Sequence[_Group], budget: float) -> bool:
    """Whether another application with that budget would fold none of ``rest``, not even what is smallest."""
    fitting = [group for group in rest if group.largest <= budget]
    least = min(map(_tier, fitting), default=0)
    return not fitting or sum(group.growth for group in fitting if _tier(group) == least) > budget


def _tier(group: _Group) -> int:
    return (group.largest.bit_length() + 1) // 2


def _still(ledger: Ledger, groups: Iterable[list[int]]) -> list[list[int]]:
    """Return what of the groups is still folded and makes the model larger."""
    left = ([slot for slot in slots if slot in ledger.folded] for slots in groups)
    return [slots for slots in left if ledger.growth(slots) > 0]


def _bytes(graph: Graph, slot: int) -> int:
    node = graph.node(slot)
    assert node is not None
    return int(node.ByteSize())
