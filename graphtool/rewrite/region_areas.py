"""Regions: the nodes that can belong to one, joined through the values they share, and what crosses the border."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import NodeProto

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.rewrite.binding import equal
from graphtool.rewrite.pattern import PatternNode
from graphtool.rewrite.region_find import Unit


@dataclass(slots=True)
class Area:
    """One region: its units in graph order, values that come in, and those made inside that are needed outside too.

    ``nodes`` counts the units that are no conversions themselves, ``core`` those of them that are core nodes.
    """

    units: list[Unit] = field(default_factory=list)
    enters: list[str] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    nodes: int = 0
    core: int = 0

    @property
    def constants(self) -> int:
        """Return how many inputs are converted constants."""
        return sum(len(unit.constants) for unit in self.units)

    @property
    def text(self) -> str:
        """Return the region in words."""
        return f"a region of {len(self.units)} nodes, {len(self.enters)} values in, {len(self.leaves)} out"


def areas(graph: Graph, units: Sequence[Unit], conversions: Sequence[PatternNode]) -> list[Area]:
    """Return the regions that ``units`` make up, in the order of the first node of each; linear in nodes and values.

    ``conversions`` are the statements of ``enter`` and ``leave``: a node that is one already counts for nothing.
    """
    outputs = {info.name for info in graph.header.output}
    return [_area(graph, group, conversions, outputs) for group in _joined(graph, units)]


def _joined(graph: Graph, units: Sequence[Unit]) -> list[list[Unit]]:
    """Return units that share a value together (union and find)."""
    parent = list(range(len(units)))

    def find(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    owner: dict[str, int] = {}
    for place, unit in enumerate(units):
        for name in _touched(graph, unit):
            first, second = sorted((find(owner.setdefault(name, place)), find(place)))
            parent[second] = first
    groups: dict[int, list[Unit]] = {}
    for place, unit in enumerate(units):
        groups.setdefault(find(place), []).append(unit)
    return list(groups.values())


def _touched(graph: Graph, unit: Unit) -> Iterator[str]:
    node = graph.node(unit.slot)
    assert node is not None
    yield from (node.input[position] for position in unit.reads)
    yield from (node.output[position] for position in unit.makes)


def _area(graph: Graph, units: list[Unit], conversions: Sequence[PatternNode], outputs: set[str]) -> Area:
    area = Area(units)
    by_slot = {unit.slot: unit for unit in units}
    made: dict[str, None] = {}
    read: dict[str, None] = {}
    for unit in units:
        node = graph.node(unit.slot)
        assert node is not None
        made.update(dict.fromkeys(node.output[position] for position in unit.makes))
        read.update(dict.fromkeys(node.input[position] for position in unit.reads))
        counts = not any(_is_like(node, wanted, graph) for wanted in conversions)
        area.nodes += counts
        area.core += counts and unit.core
    area.enters = [name for name in read if name not in made]
    area.leaves = [name for name in made if name in outputs or _read_outside(graph, name, by_slot)]
    return area


def _read_outside(graph: Graph, name: str, units: Mapping[int, Unit]) -> bool:
    """Whether a value that a region makes is read as it was: by another node, or where nothing else will do."""
    for slot in graph.index.reader_slots(name):
        unit, node = units.get(slot), graph.node(slot)
        if unit is None or node is None:
            return True
        if any(value == name and place not in unit.reads for place, value in enumerate(node.input)):
            return True
    return False


def _is_like(node: NodeProto, wanted: PatternNode, graph: Graph) -> bool:
    """Whether a node is what a statement of ``enter`` or ``leave`` would make."""
    if node.op_type != wanted.op_type or node.domain != wanted.domain:
        return False
    version = graph.opset(node.domain)
    return all(equal(ops.effective(node, name, version), value) for name, value in wanted.literals)
