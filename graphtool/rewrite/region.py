"""The ``region`` body: the largest connected sets of nodes that can compute in another form, with conversions around.

Inside a region values are carried in the other form (int32 for int64, rank 4 for rank 3): each node of it reads and
writes them so, in one piece. ``enter`` is put where a value comes in, once for all its readers, ``leave`` where one is
needed outside; constants are converted at once. Inputs, outputs and what the bodies of If, Loop and Scan read keep
their form, since for all but the region's own nodes a value stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from graphtool.errors import quoted
from graphtool.graph import Graph
from graphtool.graph.opset import import_domain
from graphtool.graph.sort import drop_unread, remove_nodes
from graphtool.rewrite.build import Refused
from graphtool.rewrite.expr import Expr
from graphtool.rewrite.pattern import Pattern
from graphtool.rewrite.region_areas import Area, areas
from graphtool.rewrite.region_build import Converter
from graphtool.rewrite.region_find import Finder, Member, refusal
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer

COUNTS = ("nodes", "core", "enters", "leaves", "constants")  # what the conditions of a region are about


class Region(NamedTuple):
    """One ``[[region]]``.

    ``values`` says of a value ``v`` whether it is one of those that change form; ``dtype`` the element type they have
    inside, where that is what changes; ``constants`` computes the other form of a constant ``c``. ``inside`` is the
    name that ``enter`` gives the inner value and ``leave`` reads. The ``wheres`` hold for a region as a whole.
    """

    name: str
    members: tuple[Member, ...]
    values: Expr
    dtype: int | None
    constants: Expr | None
    inside: str
    enter: Pattern
    leave: Pattern
    lets: tuple[tuple[str, Expr], ...]
    wheres: tuple[Expr, ...]

    def apply(
        self, graph: Graph, params: Mapping[str, object], record: bool = True, offer: Offer | None = None
    ) -> Applied:
        """Convert every region for which it pays, in bodies too; a miss is a node or a region that had to stay.

        With ``record`` the matches hold their nodes before and after, for parity; ``offer`` as for a rewrite.
        """
        result = Applied()
        beyond: dict[int, AbstractSet[str]] = {}  # by level
        for level in graph.levels():
            finder = Finder(
                level, self.members, self.values, self.dtype, self.constants, beyond.get(id(level.parent), frozenset())
            )
            result.add(_apply(self, finder, params, record, offer))
            beyond[id(level)] = finder.beyond
        if result.matches:
            for node in (*self.enter.nodes, *self.leave.nodes):
                import_domain(graph.proto, node.domain, node.op_type)
        return result

    def weaker(self) -> Iterator[tuple[str, Region]]:
        """Yield this region with one condition dropped, and where that condition stands in the file."""
        for place, where in enumerate(self.wheres):
            fewer = self.wheres[:place] + self.wheres[place + 1 :]
            yield f"{self.name}.where[{place}] {where.text}", self._replace(wheres=fewer)
        for number, member in enumerate(self.members):
            for place, where in enumerate(member.wheres):
                fewer = member.wheres[:place] + member.wheres[place + 1 :]
                changed = member._replace(wheres=fewer)
                members = (*self.members[:number], changed, *self.members[number + 1 :])
                yield f"{member.name}.where[{place}] {where.text}", self._replace(members=members)


def _apply(region: Region, finder: Finder, params: Mapping[str, object], record: bool, offer: Offer | None) -> Applied:
    """Convert the regions of one graph or body."""
    result = Applied()
    graph = finder.graph
    found = areas(graph, finder.find(params), (*region.enter.nodes, *region.leave.nodes))
    converter = Converter(graph, region.name, region.inside, region.enter, region.leave, region.lets, params)
    stopped: dict[int, str] = dict(finder.refused)
    for area in found:
        first = graph.node(area.units[0].slot)
        assert first is not None
        where = label(first)
        reason = _refusal(region, area, params)
        if reason is None and offer is not None and not offer(where, alias(first)):
            reason = "it is not selected"
        match: Match | None = None
        if reason is None:
            for slot, why in _stops(graph, area):
                stopped.setdefault(slot, why)
            try:
                match = converter.convert(area, where, record)
            except Refused as refused:
                reason = str(refused)
        if match is None:
            result.misses.append(Miss(where, region.name, f"{reason} ({area.text})"))
        else:
            result.matches.append(match)
    if result.matches:
        remove_nodes(graph, converter.unread, converter.freed)
        drop_unread(graph, converter.freed)
    for slot in sorted(stopped):
        node = graph.node(slot)
        if node is not None:
            result.misses.append(Miss(label(node), region.name, stopped[slot]))
    return result


def _refusal(region: Region, area: Area, params: Mapping[str, object]) -> str | None:
    """Return why a region is left as it is; None where it is to be converted."""
    if not area.nodes:
        return "there are only conversions in it"
    counts = (area.nodes, area.core, len(area.enters), len(area.leaves), area.constants)
    return refusal(region.wheres, {**params, **dict(zip(COUNTS, counts, strict=True))})


def _stops(graph: Graph, area: Area) -> Iterator[tuple[int, str]]:
    """Yield the nodes outside at which a region ends, each with the value at the border."""
    inside = {unit.slot for unit in area.units}
    for name in area.enters:
        slot = graph.index.producer_slot(name)
        if slot is not None and slot not in inside:
            yield slot, f"it makes {quoted(name)} for a region and does not belong to one"
    for name in area.leaves:
        for slot in graph.index.reader_slots(name):
            if slot not in inside:
                yield slot, f"it reads {quoted(name)} of a region and does not belong to one"


__all__ = ["COUNTS", "Member", "Region"]
