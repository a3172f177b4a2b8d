"""Nodes that compute the same each time: their values, computed once, become constants."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.growth import Bound
from graphtool.natives._foldable import computable
from graphtool.natives._folding import Folding, Options
from graphtool.natives._placing import drop_unneeded, replace_node
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer, everywhere

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them
UNITS = True  # each node


# what could not be computed in a graph, and why, by first output: a pipeline folds again and again
_failed: weakref.WeakKeyDictionary[Graph, dict[str, str]] = weakref.WeakKeyDictionary()


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Fold constants in the graph and in its bodies; raises PassError for a parameter that makes no sense.

    A node that is not taken stays where something reads it, though what is computed with its result may be folded.
    """
    growth, slack, seconds = params["growth"], params["slack"], params["seconds"]
    assert isinstance(growth, float) and isinstance(slack, int) and isinstance(seconds, int)
    if not growth >= 0 or slack < 0 or seconds < 1:
        raise PassError("growth and slack are at least 0, and seconds at least 1")
    opset = graph.opset()
    applied = Applied()
    if opset is None:
        return applied
    graph.budget.renew(Bound(growth, slack))
    options = Options(graph.budget, seconds, bool(params.get("float16")), _failed.setdefault(graph, {}))
    key = "computable", options.float16, growth, slack
    outer: dict[str, None] = {}  # what bodies read of the main graph
    for level in graph.levels():
        slots = computable(level, opset, key)
        if slots:
            folding = Folding(level, opset, slots, options, partial(_is_taken, level, offer))
            graph.budget.grown += folding.ledger.grown
            applied.misses += [Miss(_label(level, slot), "native", why) for slot, why in folding.refused.items()]
            applied.matches += [Match(_label(level, slot), "native") for slot in folding.ledger.folded]
            outer.update(dict.fromkeys(_place(level, folding)))
    if applied.misses and graph.journal is not None:
        graph.journal.forget(key)  # what was refused may fit the next time
    drop_unneeded(graph, outer)
    return applied


def _is_taken(graph: Graph, offer: Offer, slot: int) -> bool:
    node = graph.node(slot)
    assert node is not None
    return offer(label(node), alias(node))


def _label(graph: Graph, slot: int) -> str:
    node = graph.node(slot)
    assert node is not None
    return label(node)


def _place(graph: Graph, folding: Folding) -> list[str]:
    """Put the values in place of the nodes; return the constants that they read of graphs around this one."""
    placed = [(slot, folding.ledger.frontier(slot)) for slot in folding.ledger.folded]
    reads: dict[str, None] = {}
    for slot, names in placed:
        node = graph.node(slot)
        assert node is not None
        reads.update(dict.fromkeys(filter(None, node.input[:])))
        replace_node(graph, slot, names, folding.values)
    own = {name for name in reads if graph.defines(name)}
    drop_unneeded(graph, [name for name in reads if name in own])
    return [name for name in reads if name not in own]
