"""Nodes between a Reshape and those that undo it compute in the shape from before; these Reshapes go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, helper

from graphtool.graph import Graph
from graphtool.graph.facts_call import Sizes
from graphtool.graph.sort import needed_names
from graphtool.natives._placing import drop_unneeded
from graphtool.natives._rows import VIEWS, Rows, is_elementwise, is_view, sizes_of
from graphtool.rewrite.result import Applied, Match, alias, label
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each area, by the first Reshape into it


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Lift Reshapes out of areas of nodes that do without them, wherever that leaves fewer nodes."""
    matches: list[Match] = []
    for level in graph.levels():
        if level.journal is not None and not level.journal.is_new(level, "lift_reshapes"):
            continue
        if level.journal is not None:
            level.journal.look(level, "lift_reshapes")
        while found := _lift(level, offer):  # each leaves fewer nodes, and may let another area pay
            matches += found
            level.refine_shapes()
    return Applied(matches)


def _lift(graph: Graph, offer: Offer) -> list[Match]:
    """Look at each Reshape once and lift those that pay; return where."""
    matches: list[Match] = []
    slots = [slot for op_type in sorted(VIEWS) for slot in graph.index.slots_of_type(op_type)]
    tried: set[str] = set()  # values that a view makes, in areas that did not pay
    for slot in sorted(slots, key=graph.rank):
        node = graph.node(slot)
        if node is None or not is_view(node) or node.output[0] in tried:
            continue
        name, other = label(node), alias(node)
        area = _area(graph, node)
        if area is not None and area.gain > 0 and offer(name, other):
            area.lift()
            matches.append(Match(name, "native"))
        elif area is not None:
            tried.update(area.sources)
    return matches


def _area(graph: Graph, view: NodeProto) -> _Area | None:
    """Return the area behind a view that is best to lift it from; None where it folds nothing that is known."""
    before, after = sizes_of(graph, view.input[0]), sizes_of(graph, view.output[0])
    if before is None or after is None or before == after:
        return None
    kept = 0
    while kept < min(len(before), len(after)) and before[-1 - kept] == after[-1 - kept]:
        kept += 1
    rows = Rows(graph, after[: len(after) - kept], before[: len(before) - kept], kept)
    product = graph.facts.symbols.product
    total = product(rows.lead)
    if (total is None or total != product(rows.other)) and not all(
        isinstance(size, int) and size > 0 for size in after[len(after) - kept :]
    ):
        return None  # of nothing there may be another number of rows
    area = _Area(rows, view)
    if area.gain <= 0:
        area.shrink()
    return area


@dataclass
class _Area:
    """Values of one lead, all that is computed of them, and what leads in and out.

    ``sources``: values that views make, of what. ``undone``: views back, by slot. ``turned``: other views, by slot,
    with the sizes that they make. ``needed``: values that something else reads in the shape they have.
    """

    rows: Rows
    view: NodeProto
    tails: dict[str, Sizes] = field(default_factory=dict)
    nodes: dict[int, None] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    undone: dict[int, str] = field(default_factory=dict)
    turned: dict[int, list[int]] = field(default_factory=dict)
    needed: list[str] = field(default_factory=list)
    entering: dict[str, Sizes] = field(default_factory=dict)
    gain: int = 0

    def __post_init__(self) -> None:
        self._outputs = needed_names(self.rows.graph)  # and what annotations point to
        self._noted = {note.tensor_name for note in self.rows.graph.header.quantization_annotation}
        self._grow()
        self._count()

    # -- what belongs to it

    def _grow(self) -> None:
        graph, rows = self.rows.graph, self.rows
        self._enter(self.view.output[0], self.view.input[0])
        queue = [self.view.output[0]]
        refused: set[int] = set()
        while queue:
            value = queue.pop()
            for slot in graph.index.reader_slots(value):
                node = graph.node(slot)
                if node is None or slot in self.nodes or slot in refused:
                    continue
                tail = rows.made(node, value)
                if tail is None:
                    refused.add(slot)
                    continue
                self.nodes[slot] = None
                self.tails[node.output[0]] = tail
                queue.append(node.output[0])
                for name in node.input:
                    source = None if not name or name in self.tails else self._source(name)
                    if source is not None:
                        self._enter(name, source)
                        queue.append(name)

    def _enter(self, name: str, source: str) -> None:
        tail = self.rows.tail(name)
        assert tail is not None
        self.tails[name] = tail
        self.sources[name] = source

    def _source(self, name: str) -> str | None:
        """Return the value with the other lead of which a view makes ``name``."""
        graph, rows = self.rows.graph, self.rows
        node, tail = graph.index.producer(name), rows.tail(name)
        if node is None or tail is None or not is_view(node):
            return None
        return node.input[0] if sizes_of(graph, node.input[0]) == rows.other + tail else None

    def shrink(self) -> None:
        """Leave out what reads values that would first have to be given the other shape."""
        graph = self.rows.graph
        more = True
        while more:
            more = False
            for slot in list(self.nodes):
                node = graph.node(slot)
                assert node is not None
                if self._entered(node):
                    del self.nodes[slot]
                    del self.tails[node.output[0]]
                    more = True
        self._count()

    def _entered(self, node: NodeProto) -> list[str]:
        """Return the operands of a node that would first have to be given the other shape."""
        names = node.input[:] if is_elementwise(node) else node.input[:1]
        return [name for name in names if name and name not in self.tails and not self.rows.is_plain(name)]

    # -- what it saves

    def _count(self) -> None:
        graph, rows = self.rows.graph, self.rows
        self.undone, self.turned, self.needed, self.entering = {}, {}, [], {}
        self.gain = 0
        for value, tail in self.tails.items():
            needed = value in self._outputs
            for slot in graph.index.reader_slots(value):
                node = graph.node(slot)
                if node is None or slot in self.nodes:
                    continue
                sizes = sizes_of(graph, node.output[0]) if is_view(node) and node.input[0] == value else None
                if sizes == rows.other + tail and node.output[0] not in self._outputs:
                    self.undone[slot] = value
                elif sizes is not None and value not in self.sources and (dims := _dims(sizes)) is not None:
                    self.turned[slot] = dims
                else:
                    needed = True
            if value not in self.sources:
                self.gain -= needed
            elif not needed:
                self.gain += 1
            if needed:
                self.needed.append(value)
        self.gain += len(self.undone)
        for slot in self.nodes:
            node = graph.node(slot)
            assert node is not None
            for name in self._entered(node):
                self.entering[name] = rows.tail(name) or ()
        self.gain -= len(self.entering)
        if not (self.undone or self._settled()) or not self._possible():
            self.gain = 0

    def _settled(self) -> bool:
        """Whether no view is of what a Transpose makes: such a one may go with that, once another one is next to it."""
        index = self.rows.graph.index
        makers = [index.producer(source) for source in self.sources.values()]
        return bool(self.nodes) and not any(maker is not None and maker.op_type == "Transpose" for maker in makers)

    def _possible(self) -> bool:
        """Whether every view that it takes can be written with a constant shape."""
        rows = self.rows
        leaving = [rows.lead + self.tails[value] for value in self.needed if value not in self.sources]
        entering = [rows.other + tail for tail in self.entering.values()]
        if any(self._mixes(slot) for slot in self.nodes):
            return False
        if not self._noted.isdisjoint(self.tails) or not self._noted.isdisjoint(self.entering):
            return False
        undone = [node.output[0] for slot in self.undone if (node := rows.graph.node(slot)) is not None]
        readers = [slot for name in undone for slot in rows.graph.index.reader_slots(name)]
        if any(rows.graph.hides(name, slot) for slot in readers for name in self.sources.values()):
            return False  # a body would read a value of its own
        return all(_dims(sizes) is not None for sizes in (*leaving, *entering))

    def _mixes(self, slot: int) -> bool:
        """Whether a node that is no element-wise one has a second operand that would get the other shape too."""
        node = self.rows.graph.node(slot)
        assert node is not None
        return not is_elementwise(node) and any(name in self.tails for name in node.input[1:])

    # -- the edit

    def lift(self) -> None:
        """Let the area compute with the other lead."""
        graph, rows = self.rows.graph, self.rows
        names = dict(self.sources)
        dead: list[int] = [slot for value in self.sources if (slot := graph.index.producer_slot(value)) is not None]
        for slot in sorted(self.nodes, key=graph.rank):
            node = graph.node(slot)
            assert node is not None
            own, step = rows.moved(node), 0
            made = own.output[0]
            for place, name in enumerate(node.input if is_elementwise(node) else node.input[:1]):
                if name in self.entering and name not in names:
                    names[name] = graph.names.fresh_value(f"{name}/lifted")
                    self._add_view(name, names[name], rows.other + self.entering[name], slot, step)
                    step += 1
                own.input[place] = names.get(name, name)
            names[made] = own.output[0] = graph.names.fresh_value(f"{made}/lifted")
            graph.remove_node(slot)
            graph.add_node(own, slot, step)
            if made in self.needed:
                self._add_view(names[made], made, rows.lead + self.tails[made], slot, step + 1)
        for slot, value in self.undone.items():
            self._undo(slot, value, names)
        for slot, dims in self.turned.items():
            self._turn(slot, dims, names)
        for slot in dead:
            node = graph.node(slot)
            if node is not None and node.output[0] not in self._outputs and not graph.index.uses(node.output[0]):
                shapes = list(node.input[1:])
                graph.remove_node(slot)
                drop_unneeded(graph, shapes)

    def _add_view(self, name: str, made: str, sizes: Sizes, slot: int, step: int) -> None:
        graph = self.rows.graph
        dims = _dims(sizes)
        assert dims is not None
        shape = graph.add_initializer(f"{made}/shape", np.array(dims, np.int64))
        node = helper.make_node("Reshape", [name, shape], [made], graph.names.fresh_node(f"{made}/reshape"))
        graph.add_node(node, slot, step)

    def _undo(self, slot: int, value: str, names: dict[str, str]) -> None:
        """Remove a view back: what it makes is there already."""
        graph = self.rows.graph
        node = graph.node(slot)
        assert node is not None
        old, freed = node.output[0], list(node.input[1:])
        graph.replace_uses(old, names[value])
        graph.remove_node(slot)
        drop_unneeded(graph, freed)
        for name, source in names.items():
            if source == old:  # another view was of that
                names[name] = names[value]

    def _turn(self, slot: int, dims: list[int], names: Mapping[str, str]) -> None:
        """Let a view make its shape of the other one."""
        graph = self.rows.graph
        node = graph.node(slot)
        assert node is not None
        shape = graph.add_initializer(f"{node.output[0]}/shape", np.array(dims, np.int64))
        new = helper.make_node("Reshape", [names[node.input[0]], shape], list(node.output), node.name)
        new.doc_string = node.doc_string
        new.metadata_props.extend(node.metadata_props)
        freed = list(node.input[1:])
        graph.remove_node(slot)
        graph.add_node(new, slot)
        drop_unneeded(graph, freed)


def _dims(sizes: Sizes) -> list[int] | None:
    """Return sizes as the constant shape of a Reshape; None where two are open, or one is 0, which would copy."""
    if 0 in sizes or sum(not isinstance(size, int) for size in sizes) > 1:
        return None
    return [size if isinstance(size, int) else -1 for size in sizes]
