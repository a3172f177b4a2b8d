"""The nodes of a graph as slots: edits that keep the node list, the index and the names right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from onnx import GraphProto, NodeProto

from graphtool.graph.bodies import bodies, captures, rename_captured
from graphtool.graph.fields import arrange
from graphtool.graph.index import Index
from graphtool.graph.journal import Journal
from graphtool.graph.names import Names
from graphtool.graph.rows import Row

_WIDE = 32  # inputs from which on the places of names are kept: a Concat may have thousands, renamed one by one


class NodeList:
    """The node list of one graph. A removed node leaves its slot empty, a new one gets a slot at the end.

    The protobuf's own list is put in order by :meth:`commit`, with one sort that moves pointers and copies nothing.
    """

    names: Names
    _graph: GraphProto
    _journal: Journal | None = None

    def _start_nodes(self) -> None:
        self._slots: list[NodeProto | None] = list(self._graph.node)
        self._rank: dict[int, tuple[float, ...]] = {}  # of the slots that are not where their number says
        self._pending = False  # the protobuf's node list is behind the slots
        self._order: list[int] | None = None  # live slots in graph order, until the next edit
        self._removed = 0  # slots whose nodes are gone
        self._places: dict[int, dict[str, list[int]]] = {}  # of names among the inputs of wide nodes; may be stale
        self._rewired: list[int] = []  # slots whose nodes read other values since facts were refined
        self.index = Index(self._slots)

    def commit(self) -> None:
        """Bring the protobuf's node list in line with the edits. Proxies that callers hold stay valid."""
        if not self._pending:
            return
        arrange(self._graph.node, (self._slots[slot] for slot in self.live_slots()))
        self._pending = False

    @property
    def journal(self) -> Journal | None:
        """What edits touched, while somebody sets one to know that."""
        return self._journal

    @journal.setter
    def journal(self, journal: Journal | None) -> None:
        self._journal = journal
        self.index.touched = None if journal is None else journal.touched

    def _touch(self, names: Iterable[str]) -> None:
        if self._journal is not None:
            self._journal.touched += names

    @property
    def nodes(self) -> list[NodeProto]:
        """The live nodes of this graph, in order."""
        if not self._pending:
            return list(self._graph.node)
        return [node for slot in self.live_slots() if (node := self._slots[slot]) is not None]

    @property
    def node_count(self) -> int:
        """How many nodes this graph has, without those in bodies."""
        return len(self._slots) - self._removed

    def live_slots(self) -> list[int]:
        """Return the slots of live nodes in graph order."""
        if self._order is None:
            live = [slot for slot, node in enumerate(self._slots) if node is not None]
            if self._rank:
                live.sort(key=lambda slot: self._rank.get(slot, (slot,)))
            self._order = live
        return list(self._order)

    def rank(self, slot: int) -> tuple[float, ...]:
        """Return the place of a slot in graph order, as a key for sorting; that of a removed node is kept."""
        return self._rank.get(slot, (slot,))

    def node(self, slot: int) -> NodeProto | None:
        """Return the node in a slot; None once it is removed."""
        return self._slots[slot]

    def row(self, slot: int) -> Row | None:
        """Return what the node in a slot says of itself but for its attributes; None once it is removed."""
        return self.index.rows[slot]

    def node_at(self, slot: int) -> NodeProto:
        """Return the node in a slot that is known to hold one."""
        node = self._slots[slot]
        assert node is not None, "it is removed"
        return node

    def row_at(self, slot: int) -> Row:
        """Return the row of a slot that is known to hold a node."""
        row = self.index.rows[slot]
        assert row is not None, "it is removed"
        return row

    def add_node(self, node: NodeProto, at: int, step: int | None = None) -> int:
        """Add a copy of ``node`` at the place of slot ``at`` and return its slot.

        Several nodes that take one place are numbered by ``step``; a single one (None) takes the place itself.
        """
        place = self._rank.get(at, (at,))
        return self._add(node, place if step is None else (*place, step))

    def append_node(self, node: NodeProto) -> int:
        """Add a copy of ``node`` behind all others and return its slot."""
        return self._add(node, (float("inf"), len(self._slots)))

    def prepend_node(self, node: NodeProto) -> int:
        """Add a copy of ``node`` before all others (but after those put there earlier) and return its slot."""
        return self._add(node, (-1.0, len(self._slots)))

    def _add(self, node: NodeProto, rank: tuple[float, ...]) -> int:
        own = self._graph.node.add()
        own.CopyFrom(node)
        slot = len(self._slots)
        self._slots.append(own)
        self._rank[slot] = rank
        self._pending = True
        self._order = None
        self.index.added(slot, own)
        self.names.added(own)
        return slot

    def reorder(self, slots: Sequence[int]) -> None:
        """Put the live nodes in the order of ``slots``."""
        self._rank = {slot: (place,) for place, slot in enumerate(slots)}
        self._pending = True
        self._order = None
        self._touch(("",))  # no value, but an edit: the nodes between two others may be other ones

    def remove_node(self, slot: int) -> None:
        """Remove the node in ``slot``."""
        node = self._slots[slot]
        assert node is not None, "removed twice"
        self.index.removed(slot, node)
        self._slots[slot] = None
        self._removed += 1
        self._pending = True
        self._order = None

    def set_input(self, slot: int, position: int, value: str) -> None:
        """Let input ``position`` of a node read ``value``."""
        node = self._slots[slot]
        assert node is not None
        self.index.rewired(slot, position, value)  # before: a row that is read now has the old value
        node.input[position] = value
        self._rewired.append(slot)

    def rename_output(self, slot: int, position: int, value: str) -> None:
        """Rename an output of a node; its readers are not touched."""
        node = self._slots[slot]
        assert node is not None
        self.index.renamed(slot, position, value)
        node.output[position] = value

    def drop_absent(self, slot: int) -> None:
        """Leave off the inputs of a node that are absent and last."""
        node, row = self._slots[slot], self.index.rows[slot]
        assert node is not None and row is not None
        while row.inputs and not row.inputs[-1]:
            del row.inputs[-1], node.input[-1]

    def replace_uses(self, old: str, new: str) -> None:
        """Let every node that reads ``old``, in bodies too, read ``new`` instead; graph outputs are not touched."""
        for slot in self.index.reader_slots(old):
            node, row = self._slots[slot], self.index.rows[slot]
            assert node is not None and row is not None
            for position in self._positions(slot, row, old, new):
                self.set_input(slot, position, new)
            if row.holds:
                self._rewired.append(slot)
                self._replace_captured(slot, node, old, new)

    def _positions(self, slot: int, row: Row, old: str, new: str) -> list[int]:
        """Return the inputs of a node that read ``old``, and will read ``new``."""
        inputs = row.inputs
        if len(inputs) < _WIDE or row.holds:
            return [position for position, name in enumerate(inputs) if name == old]
        places = self._places.get(slot, {})
        found = places.pop(old, [])
        # other edits do not keep the places right: what they say is held against the node, and against the index
        if len(found) != self.index.reads(old, slot) or any(inputs[position] != old for position in found):
            places = self._places[slot] = {}
            for position, name in enumerate(inputs):
                places.setdefault(name, []).append(position)
            found = places.pop(old, [])
        now = places.setdefault(new, [])
        now += found
        return found

    def _replace_captured(self, slot: int, node: NodeProto, old: str, new: str) -> None:
        """Let the bodies of a node that captures ``old`` read ``new`` instead."""
        before = captures(node)
        rename_captured(node, {old: new})
        self._recount(slot, before, captures(node))

    def _recount(self, slot: int, before: AbstractSet[str], after: AbstractSet[str]) -> None:
        """Let the index follow what the bodies of a node captured before, and capture now."""
        for name in sorted(before - after):
            self.index.unread(name, slot)
        for name in sorted(after - before):
            self.index.read(name, slot)

    def body_graphs(self) -> Iterator[GraphProto]:
        """Yield the bodies that nodes of this graph hold, outermost only."""
        for slot in self.index.holders():
            node = self._slots[slot]
            if node is not None:
                yield from bodies(node)
