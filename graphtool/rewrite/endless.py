"""When a pass that is repeated is said to match its own results without end."""

from __future__ import annotations

from graphtool.graph import Graph
from graphtool.graph.bodies import walk

FEW_MATCHES = 1_000  # are never too many: a count up to here need not be held against a graph


def most_matches(graph: Graph, nodes: int | None = None) -> int:
    """Return how many matches are too many for a graph: four for each of its nodes, those of bodies included.

    ``nodes`` is how many it had, without those in bodies, where matches may have made more since.
    """
    own = graph.node_count if nodes is None else nodes
    return 4 * (own + sum(1 for body in graph.body_graphs() for _ in walk(body))) + FEW_MATCHES
