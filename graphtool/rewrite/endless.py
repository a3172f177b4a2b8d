"""When a pass that is repeated is said to match its own results without end."""

from __future__ import annotations

from graphtool.graph import Graph
from graphtool.graph.bodies import walk

FEW_MATCHES = 1_000  # are never too many: a count up to here need not be held against a graph


class Rounds:
    """Rounds of passes that are repeated until none matches: a hundred, and each that makes the graph smaller.

    A deep graph may become known from layer to layer, one in a round; that ends by itself.
    """

    def __init__(self, graph: Graph, left: int = 100) -> None:
        self._graph = graph
        self._smallest = graph.node_count
        self._left = left

    def next(self) -> bool:
        """Whether there may be another round."""
        count = self._graph.node_count
        if count < self._smallest:
            self._smallest = count
        else:
            self._left -= 1
        return self._left >= 0


def most_matches(graph: Graph, nodes: int | None = None) -> int:
    """Return how many matches are too many for a graph: four for each of its nodes, those of bodies included.

    ``nodes`` is how many it had, without those in bodies, where matches may have made more since.
    """
    own = graph.node_count if nodes is None else nodes
    return 4 * (own + sum(1 for body in graph.body_graphs() for _ in walk(body))) + FEW_MATCHES
