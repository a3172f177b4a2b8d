"""Who makes a value, who reads it, which nodes are of a type. Built at first use, kept current by Graph's edits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

from onnx import NodeProto

from graphtool.graph.bodies import HOLDERS, captures
from graphtool.graph.rows import Row


@dataclass(slots=True)
class Several:
    """More than one read of a value: how often by each slot, and in all."""

    reads: dict[int, int]
    total: int


class Index:
    """Look-ups over the live nodes of the main graph.

    Nodes are held in *slots*, a list that only grows: a slot is None once its node is removed. Protobuf nodes are
    unhashable and compare deeply, so they are keyed by slot. A node that captures a value in a body counts as a reader.
    A look-up is kept current from the moment that it is there: edits look for it in ``__dict__``.
    """

    def __init__(self, slots: list[NodeProto | None]) -> None:
        self._slots = slots
        self._stale: set[str] = set()  # op types of removed nodes, which the lists still name
        self._foreign: list[int] = []  # slots of nodes of other domains; there once the types are
        self.touched: list[str] | None = None  # where somebody keeps a journal: values of which that changes

    def by_type(self, op_type: str) -> list[NodeProto]:
        """Return the live nodes of that op type (any domain), oldest first."""
        return [self._node(slot) for slot in self.slots_of_type(op_type)]

    def slots_of_type(self, op_type: str) -> list[int]:
        """Return the slots of the live nodes of that op type."""
        slots = self.types.get(op_type, [])
        if op_type in self._stale:
            self._stale.discard(op_type)
            slots[:] = [slot for slot in slots if self._slots[slot] is not None]
        return slots[:]

    def producer(self, value: str) -> NodeProto | None:
        """Return the node that makes ``value``; None for inputs, initializers and unknown names."""
        slot = self.producer_slot(value)
        return None if slot is None else self._slots[slot]

    def producer_slot(self, value: str) -> int | None:
        """Return the slot of the node that makes ``value``."""
        return self.producers.get(value)

    def consumers(self, value: str) -> list[NodeProto]:
        """Return the nodes that read ``value``, each once, those that capture it in a body included."""
        return [self._node(slot) for slot in self.reader_slots(value)]

    def reader_slots(self, value: str) -> list[int]:
        """Return the slots of the nodes that read ``value``, each once."""
        found = self.readers.get(value)
        if found is None:
            return []
        return [found] if isinstance(found, int) else sorted(found.reads)

    def uses(self, value: str) -> int:
        """Return how often ``value`` is read; a node that reads it twice counts twice."""
        found = self.readers.get(value)
        if found is None:
            return 0
        return 1 if isinstance(found, int) else found.total

    def is_read_only_by(self, value: str, slots: AbstractSet[int]) -> bool:
        """Whether no node but those in ``slots`` reads ``value``; it may be one that thousands of others read."""
        found = self.readers.get(value)
        if found is None or isinstance(found, int):
            return found is None or found in slots
        return found.reads.keys() <= slots

    def reads(self, value: str, slot: int) -> int:
        """Return how often the node in ``slot`` reads ``value``."""
        found = self.readers.get(value)
        if found is None or isinstance(found, int):
            return int(found == slot)
        return found.reads.get(slot, 0)

    @cached_property
    def rows(self) -> list[Row | None]:
        """What the nodes say of themselves, by slot; None for a removed one."""
        return [None if node is None else Row(node) for node in self._slots]

    @cached_property
    def types(self) -> dict[str, list[int]]:
        """Slots by op type; may name dead slots."""
        types: defaultdict[str, list[int]] = defaultdict(list)
        for slot, node in enumerate(self._slots):  # without the rows: a pass that has nothing to look at ends here
            if node is not None:
                types[node.op_type].append(slot)
                if node.domain:
                    self._foreign.append(slot)
        return dict(types)

    @property
    def foreign(self) -> list[int]:
        """Slots of the nodes of named domains; may name dead slots."""
        return self._foreign if self.types else []  # they are found with the types

    def holders(self) -> list[int]:
        """Return the slots of the nodes that hold bodies, in order."""
        types = self.types
        if not self._foreign and HOLDERS.isdisjoint(types):
            return []  # most graphs, and nearly every body
        slots = {*self.foreign, *(slot for op_type in HOLDERS for slot in types.get(op_type, ()))}
        return sorted(slot for slot in slots if (row := self.rows[slot]) is not None and row.holds)

    @cached_property
    def producers(self) -> dict[str, int]:
        """Slot of the producer by value name."""
        return {name: slot for slot, row in self._live() for name in row.outputs if name}

    @cached_property
    def readers(self) -> dict[str, int | Several]:
        """Slot of the reader, or several of them, by value name: most values are read once, by a bare slot."""
        readers: dict[str, int | Several] = {}
        for slot, row in self._live():
            for name in row.inputs:
                if name not in readers:  # most values: spare them the call
                    readers[name] = slot
                else:
                    _count(readers, name, slot)
            if row.holds:
                for name in captures(self._node(slot)):
                    _count(readers, name, slot)
        readers.pop("", None)
        return readers

    # -- kept current by Graph

    def added(self, slot: int, node: NodeProto) -> None:
        """Take up a new node."""
        known = self.__dict__
        row = Row(node)
        if "rows" in known:
            self.rows.append(row)
        made, read = list(filter(None, row.outputs)), _reads(node, row)
        if "types" in known:
            self.types.setdefault(row.op_type, []).append(slot)
            if row.domain:
                self._foreign.append(slot)
        if "producers" in known:
            self.producers.update(dict.fromkeys(made, slot))
        if "readers" in known:
            for name in read:
                _count(self.readers, name, slot)
        if self.touched is not None:
            self.touched += made
            self.touched += read

    def removed(self, slot: int, node: NodeProto) -> None:
        """Forget a node; by_type skips dead slots by itself."""
        known = self.__dict__
        row = self.rows[slot]
        assert row is not None
        self.rows[slot] = None
        self._stale.add(row.op_type)
        made, read = row.outputs, _reads(node, row)
        if "producers" in known:
            producers = self.producers
            for name in made:
                if producers.get(name) == slot:
                    del producers[name]
        if "readers" in known:
            for name in read:
                _discount(self.readers, name, slot)
        if self.touched is not None:
            self.touched += made
            self.touched += read

    def rewired(self, slot: int, position: int, value: str) -> None:
        """Note that an input of the node in ``slot`` is another value now."""
        row = self.rows[slot]
        assert row is not None
        self.unread(row.inputs[position], slot)
        row.inputs[position] = value
        self.read(value, slot)

    def read(self, value: str, slot: int) -> None:
        """Count one more reader of ``value``."""
        if self.touched is not None:
            self.touched.append(value)
        if value and "readers" in self.__dict__:
            _count(self.readers, value, slot)

    def unread(self, value: str, slot: int) -> None:
        """Count one reader of ``value`` less."""
        if self.touched is not None:
            self.touched.append(value)
        if "readers" in self.__dict__:
            _discount(self.readers, value, slot)

    def renamed(self, slot: int, position: int, value: str) -> None:
        """Note that an output of the node in ``slot`` has another name now."""
        row = self.rows[slot]
        assert row is not None
        self._unmade(row.outputs[position])
        row.outputs[position] = value
        self._made(value, slot)

    def _made(self, value: str, slot: int) -> None:
        """Note that the node in ``slot`` makes ``value``."""
        if self.touched is not None:
            self.touched.append(value)
        if value and "producers" in self.__dict__:
            self.producers[value] = slot

    def _unmade(self, value: str) -> None:
        """Note that nobody makes ``value`` any more."""
        if self.touched is not None:
            self.touched.append(value)
        if "producers" in self.__dict__:
            self.producers.pop(value, None)

    def _live(self) -> Iterator[tuple[int, Row]]:
        return ((slot, row) for slot, row in enumerate(self.rows) if row is not None)

    def _node(self, slot: int) -> NodeProto:
        node = self._slots[slot]
        assert node is not None, "a look-up returned a removed node"
        return node


def _count(readers: dict[str, int | Several], value: str, slot: int) -> None:
    found = readers.get(value)
    if found is None:
        readers[value] = slot
    elif isinstance(found, int):
        readers[value] = Several({found: 2} if found == slot else {found: 1, slot: 1}, 2)
    else:
        found.reads[slot] = found.reads.get(slot, 0) + 1
        found.total += 1


def _discount(readers: dict[str, int | Several], value: str, slot: int) -> None:
    found = readers.get(value)
    if isinstance(found, int):
        if found == slot:
            del readers[value]
    elif found is not None and slot in found.reads:
        found.total -= 1
        found.reads[slot] -= 1
        if not found.reads[slot]:
            del found.reads[slot]
        if not found.reads:
            del readers[value]


def _reads(node: NodeProto, row: Row) -> list[str]:
    names = [name for name in row.inputs if name]
    if row.holds:
        names += captures(node)
    return names
