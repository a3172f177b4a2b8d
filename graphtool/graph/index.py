"""Who makes a value, who reads it, which nodes are of a type. Built at first use, kept current by Graph's edits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto

from graphtool.graph.bodies import captures, has_bodies


@dataclass(slots=True)
class Several:
    """More than one read of a value: how often by each slot, and in all."""

    reads: dict[int, int]
    total: int


class Index:
    """Look-ups over the live nodes of the main graph.

    Nodes are held in *slots*, a list that only grows: a slot is None once its node is removed. Protobuf nodes are
    unhashable and compare deeply, so they are keyed by slot. A node that captures a value in a body counts as a reader.
    """

    def __init__(self, slots: list[NodeProto | None]) -> None:
        self._slots = slots
        self._types: dict[str, list[int]] | None = None
        self._producers: dict[str, int] | None = None
        # most values are read once, so that one is stored as a bare slot
        self._readers: dict[str, int | Several] | None = None

    def by_type(self, op_type: str) -> list[NodeProto]:
        """Return the live nodes of that op type (any domain), oldest first."""
        return [self._node(slot) for slot in self.slots_of_type(op_type)]

    def slots_of_type(self, op_type: str) -> list[int]:
        """Return the slots of the live nodes of that op type."""
        return [slot for slot in self.types.get(op_type, ()) if self._slots[slot] is not None]

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

    @property
    def types(self) -> dict[str, list[int]]:
        """Slots by op type; may name dead slots."""
        if self._types is None:
            types: defaultdict[str, list[int]] = defaultdict(list)
            for slot, node in enumerate(self._slots):
                if node is not None:
                    types[node.op_type].append(slot)
            self._types = dict(types)
        return self._types

    @property
    def producers(self) -> dict[str, int]:
        """Slot of the producer by value name."""
        if self._producers is None:
            self._producers = {name: slot for slot, node in self._live() for name in node.output if name}
        return self._producers

    @property
    def readers(self) -> dict[str, int | Several]:
        """Slot of the reader, or several of them, by value name."""
        if self._readers is None:
            self._readers = readers = {}
            for slot, node in self._live():
                for name in node.input:
                    if name not in readers:  # most values: spare them the call
                        readers[name] = slot
                    else:
                        self.read(name, slot)
                if has_bodies(node):
                    for name in captures(node):
                        self.read(name, slot)
            readers.pop("", None)
        return self._readers

    # -- kept current by Graph

    def added(self, slot: int, node: NodeProto) -> None:
        """Take up a new node."""
        if self._types is not None:
            self._types.setdefault(node.op_type, []).append(slot)
        if self._producers is not None:
            self._producers.update((name, slot) for name in node.output if name)
        if self._readers is not None:
            self._add_reads(node, slot)

    def removed(self, slot: int, node: NodeProto) -> None:
        """Forget a node; by_type skips dead slots by itself."""
        if self._producers is not None:
            for name in node.output:
                if self._producers.get(name) == slot:
                    del self._producers[name]
        if self._readers is not None:
            for name in _reads(node):
                self.unread(name, slot)

    def read(self, value: str, slot: int) -> None:
        """Count one more reader of ``value``."""
        readers = self._readers
        if readers is None or not value:
            return
        found = readers.get(value)
        if found is None:
            readers[value] = slot
        elif isinstance(found, int):
            readers[value] = Several({found: 2} if found == slot else {found: 1, slot: 1}, 2)
        else:
            found.reads[slot] = found.reads.get(slot, 0) + 1
            found.total += 1

    def unread(self, value: str, slot: int) -> None:
        """Count one reader of ``value`` less."""
        readers = self._readers
        if readers is None or value not in readers:
            return
        found = readers[value]
        if isinstance(found, int):
            if found == slot:
                del readers[value]
        elif slot in found.reads:
            found.total -= 1
            found.reads[slot] -= 1
            if not found.reads[slot]:
                del found.reads[slot]
            if not found.reads:
                del readers[value]

    def made(self, value: str, slot: int) -> None:
        """Note that the node in ``slot`` makes ``value``."""
        if self._producers is not None and value:
            self._producers[value] = slot

    def unmade(self, value: str) -> None:
        """Note that nobody makes ``value`` any more."""
        if self._producers is not None:
            self._producers.pop(value, None)

    def _add_reads(self, node: NodeProto, slot: int) -> None:
        for name in _reads(node):
            self.read(name, slot)

    def _live(self) -> Iterator[tuple[int, NodeProto]]:
        return ((slot, node) for slot, node in enumerate(self._slots) if node is not None)

    def _node(self, slot: int) -> NodeProto:
        node = self._slots[slot]
        assert node is not None, "a look-up returned a removed node"
        return node


def _reads(node: NodeProto) -> list[str]:
    names = [name for name in node.input if name]
    if has_bodies(node):
        names += captures(node)
    return names
