"""Vectors of sizes, and what is computed of them, that hold the same numbers in each run: one node for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from graphtool.graph import Graph
from graphtool.graph.bodies import has_bodies
from graphtool.graph.contents import Content
from graphtool.graph.shapes import infer
from graphtool.natives._joining import Joiner
from graphtool.natives._placing import drop_unneeded
from graphtool.rewrite.result import Applied, Match, alias, label
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each node

_SOURCES = ("Shape", "Size")


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Let readers of such a value read the first node that makes it, in the graph and in its bodies."""
    matches: list[Match] = []
    for level in graph.levels():
        if level.journal is not None:
            new = level.journal.is_new(level, "merge_equal_sizes")
            level.journal.look(level, "merge_equal_sizes")
            if not new:
                continue
        matches += _merge(level, _computed(level), offer)
    return Applied(matches)


def _computed(graph: Graph) -> list[tuple[int, Content]]:
    """Return the nodes of which a content with symbols is known, in graph order, those behind Shape and Size only."""
    index = graph.index
    queue = deque(slot for op_type in _SOURCES for slot in index.slots_of_type(op_type))
    seen: set[int] = set()
    found: list[tuple[int, Content]] = []
    while queue:
        slot = queue.popleft()
        node = graph.node(slot)
        if slot in seen or node is None or has_bodies(node) or len(node.output) != 1:
            continue
        seen.add(slot)
        content = graph.facts.elements(node.output[0])
        if content is None:
            continue
        queue.extend(index.reader_slots(node.output[0]))
        if None not in content.items and any(isinstance(item, str) for item in content.items):
            found.append((slot, content))
    return sorted(found, key=lambda pair: graph.rank(pair[0]))


def _merge(graph: Graph, computed: list[tuple[int, Content]], offer: Offer) -> list[Match]:
    matches: list[Match] = []
    joiner = Joiner(graph)
    first: dict[Content, str] = {}
    freed: list[str] = []
    hidden = _hidden(graph, computed)
    for slot, content in computed:
        node = graph.node(slot)
        assert node is not None
        name = node.output[0]
        if first.get(content) in hidden and name not in hidden:
            first[content] = name
        kept = first.setdefault(content, name)
        if kept == name or not graph.index.uses(name) or joiner.note(kept) != joiner.note(name):
            continue
        if not joiner.may_stand_for(kept, name) or not offer(label(node), alias(node)):
            continue
        matches.append(Match(label(node), "native"))
        if name in joiner.stays:
            graph.replace_uses(name, kept)
        else:
            joiner.redirect(name, kept)
            freed.append(name)
    joiner.finish()
    drop_unneeded(graph, freed)
    return matches


def _hidden(graph: Graph, computed: list[tuple[int, Content]]) -> set[str]:
    """Return those of which onnx's own inference does not know how many sizes they are, where that matters.

    onnxruntime 1.32 takes the sizes of a Resize for none at all where they come from the shape of a value whose rank
    its inference does not know, and refuses the model where it knows the rank of what is resized.
    """
    if graph.parent is not None or "Resize" not in graph.index.types or len({c for _, c in computed}) == len(computed):
        return set()
    names = [node.output[0] for slot, _ in computed if (node := graph.node(slot)) is not None]
    facts = infer(graph, graph.facts.symbols)
    shapes = {name: facts[name].shape if name in facts else None for name in names}
    return {name for name, shape in shapes.items() if shape is None or not all(isinstance(size, int) for size in shape)}
