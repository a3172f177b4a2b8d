"""Forwards: a value of the match becomes another name for one that stays, where outputs and scopes allow it.

Where both names stay, an Identity between them takes the place of a match of several nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from onnx import NodeProto

from graphtool.errors import quoted
from graphtool.graph import Graph
from graphtool.rewrite.build import Builder, Joined, Refused
from graphtool.rewrite.result import label


class Forwards:
    """The forwards of one sweep over a graph; ``outputs`` are the names of its outputs."""

    def __init__(self, graph: Graph, outputs: AbstractSet[str]) -> None:
        self.graph = graph
        self.outputs = outputs
        self.gone: dict[str, str] = {}  # names that are gone, and those that stand for the same value now

    def move_notes(self) -> None:
        """Let quantization annotations follow values that were forwarded, where the other name has none."""
        notes = self.graph.header.quantization_annotation
        noted = {note.tensor_name for note in notes}
        for note in notes:
            name = self._now(note.tensor_name)
            if name not in noted:
                note.tensor_name = name
                noted.add(name)
            for entry in note.quant_parameter_tensor_names:
                if entry.value in self.gone:
                    entry.value = self._now(entry.value)

    def _now(self, name: str) -> str:
        while name in self.gone:
            name = self.gone[name]
        return name

    def settled(
        self,
        forwards: list[tuple[str, str]],
        built: list[NodeProto],
        build: Builder,
        old_slots: Sequence[int],
        roots: Sequence[int],
    ) -> tuple[list[NodeProto], list[tuple[str, str]]]:
        """Return the nodes that take the place of a match, and the forwards in order; raises Refused."""
        try:
            return built, self.ordered(forwards, {name for node in built for name in node.output[:]})
        except Joined:
            if built or len(forwards) > 1 or not self._can_copy(forwards[0][1]):
                raise
            if not self._drops_several(old_slots, roots, build.used):
                raise
        made, source = forwards[0]
        return [build.copy(made, source)], []

    def _can_copy(self, name: str) -> bool:
        """Whether the model has an Identity for a value: for sequences and optionals, all of it from opset 16 on."""
        version, value = self.graph.opset(""), self.graph.value(name)
        if version is None:  # it imports none of ONNX's operators
            return False
        return version >= 16 or name in self.graph.initializers or (value is not None and value.kind == "tensor")

    def _drops_several(self, old_slots: Sequence[int], roots: Sequence[int], used: AbstractSet[str]) -> bool:
        """Whether more than one node of the match would go: others may read what the shared ones make."""
        gone = set(roots)
        for slot in reversed(old_slots):
            made = {name for name in self.graph.row_at(slot).outputs if name}
            read = (reader for name in made for reader in self.graph.index.reader_slots(name))
            if self.outputs.isdisjoint(made) and used.isdisjoint(made) and gone.issuperset(read):
                gone.add(slot)
        return len(gone) > 1

    def ordered(self, forwards: list[tuple[str, str]], new: set[str]) -> list[tuple[str, str]]:
        """Return the forwards with each source under the name that those before leave it; raises Refused."""
        renamed: dict[str, str] = {}
        result = []
        for made, first in forwards:
            source = renamed.get(first, first)
            self._check_forward(made, source, new)
            if made in self.outputs:
                renamed[first] = made
            result.append((made, source))
        return result

    def _check_forward(self, made: str, source: str, new: set[str]) -> None:
        """Raise Refused where ``made`` cannot become another name for ``source``; ``new`` values are yet to be made."""
        graph = self.graph
        outputs = self.outputs
        if not source:
            raise Refused("the input to forward is absent")
        keep, gone = (made, source) if made in outputs else (source, made)
        if made in outputs:
            if source in outputs:
                raise Joined(f"it would join two graph outputs, {quoted(made)} and {quoted(source)}")
            if source not in new and graph.index.producer_slot(source) is None:
                raise Joined(f"it would join graph output {quoted(made)} with input or constant {quoted(source)}")
        for slot in graph.index.reader_slots(gone):
            if graph.hides(keep, slot):
                reader = graph.node(slot)
                where = quoted(label(reader)) if reader is not None else "a node"
                raise Refused(f"{quoted(keep)} has another meaning in a body of {where}")

    def forward(self, made: str, source: str) -> None:
        """Let ``made``, whose node is gone, be another name for ``source``; a graph output keeps its name."""
        graph = self.graph
        if made not in self.outputs:
            self.gone[made] = source
            graph.replace_uses(made, source)
            return
        self.gone[source] = made
        slot = graph.index.producer_slot(source)
        node = graph.node(slot) if slot is not None else None
        assert slot is not None and node is not None, "checked before the graph was changed"
        graph.replace_uses(source, made)
        graph.rename_output(slot, list(node.output).index(source), made)


def forwarding(made: str, source: str) -> NodeProto:
    """Return the Identity that a forwarded value amounts to, for the record of the match."""
    return NodeProto(op_type="Identity", input=[source], output=[made])
