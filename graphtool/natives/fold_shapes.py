"""Shape arithmetic whose result is the same in each run: the numbers themselves, in place of the nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from graphtool.graph import Graph
from graphtool.graph.bodies import has_bodies
from graphtool.natives._call import Array
from graphtool.natives._placing import drop_unneeded, replace_node
from graphtool.rewrite.result import Applied, Match, alias, label
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each node

_MOST_ITEMS = 64  # elements; no shape is longer, and the model must not grow
_SOURCES = ("Shape", "Size")


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Fold what is computed of shapes, in the graph and in its bodies, where every element is known.

    A node that is not taken stays where something reads it, though what is computed with its result may be folded.
    """
    matches: list[Match] = []
    for level in graph.levels():
        known = _known(level)
        if known:
            matches += _fold(level, known, offer)
    return Applied(matches)


def _known(graph: Graph) -> dict[int, dict[str, Array]]:
    """Return the known values that nodes make, by slot and name: of Shape and Size, and of what is computed of them.

    A body is looked at whole: it may compute with the shapes of the graphs around it.
    """
    index = graph.index
    if graph.parent is None:
        queue = deque(slot for op_type in _SOURCES for slot in index.slots_of_type(op_type))
    else:
        queue = deque(graph.live_slots())
    seen: set[int] = set()
    found: dict[int, dict[str, Array]] = {}
    while queue:
        slot = queue.popleft()
        row = index.rows[slot]
        if slot in seen or row is None or not row.standard or row.op_type == "Constant":
            continue
        seen.add(slot)
        for name in filter(None, row.outputs):
            content = graph.content(name)
            if content is None:
                continue
            queue.extend(index.reader_slots(name))
            array = content.numeric
            # floats are computed of the integers by fold_constants, with the kernels that would run
            if array is not None and array.size <= _MOST_ITEMS and array.dtype.kind in "biu":
                found.setdefault(slot, {})[name] = array
    return found


def _fold(graph: Graph, known: Mapping[int, Mapping[str, Array]], offer: Offer) -> list[Match]:
    outputs = {info.name for info in graph.header.output}
    removable = [slot for slot in known if _is_removable(graph, slot, known[slot], outputs)]
    folded = dict.fromkeys(slot for slot in removable if _is_taken(graph, slot, offer))
    left = {slot for slot in removable if slot not in folded}
    matches: list[Match] = []
    reads: dict[str, None] = {}
    # before any node goes: who reads what
    needed = {slot: [name for name in known[slot] if _is_read(graph, name, folded, outputs)] for slot in known}
    for slot, values in known.items():
        node = graph.node_at(slot)
        if slot in folded:
            reads.update(dict.fromkeys(filter(None, node.input[:])))
            matches.append(Match(label(node), "native"))
            replace_node(graph, slot, needed[slot], values)
            continue
        used = [] if slot in left else [name for name in needed[slot] if graph.index.uses(name)]
        for name in used if used and _is_taken(graph, slot, offer) else ():  # the node stays for its other outputs
            graph.replace_uses(name, graph.add_initializer(name, values[name]))
            matches.append(Match(label(node), "native"))
    drop_unneeded(graph, [name for name in reads if graph.defines(name)])
    return matches


def _is_taken(graph: Graph, slot: int, offer: Offer) -> bool:
    node = graph.node_at(slot)
    return offer(label(node), alias(node))


def _is_removable(graph: Graph, slot: int, values: Mapping[str, Array], outputs: set[str]) -> bool:
    node = graph.node_at(slot)
    needed = [name for name in node.output[:] if name and (name in outputs or graph.index.uses(name))]
    return not has_bodies(node) and all(name in values for name in needed)


def _is_read(graph: Graph, name: str, folded: Mapping[int, object], outputs: set[str]) -> bool:
    return name in outputs or any(reader not in folded for reader in graph.index.reader_slots(name))
