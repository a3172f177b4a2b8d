"""Passes that are repeated look only where something has changed: the same graph as when they look everywhere."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pytest
from randombodies import PARTS
from randomgraphs import random_model

from graphtool.graph import Graph
from graphtool.graph.journal import Journal
from graphtool.rewrite import Catalog, apply_stage, parse_pipeline

CATALOG = Catalog()
OPTIMIZE = parse_pipeline("optimize", CATALOG)[0]


class Everywhere(Journal):
    """A journal that lets everybody look at everything each time."""

    def is_new(self, graph: Graph, key: Hashable) -> bool:
        return True

    def again(self, graph: Graph, key: Hashable, slots: Sequence[int], steps: int | None) -> Sequence[int]:
        return slots


def optimized(graph: Graph, journal: Journal | None) -> tuple[list[str], bytes]:
    own = graph.copy()
    own.journal = journal
    found = apply_stage(own, OPTIMIZE, CATALOG, record=False).applied.matches
    return sorted(f"{match.where}: {match.body}" for match in found), own.full_proto().SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_a_journal_leaves_out_would_not_match(seed: int) -> None:
    graph = Graph(random_model(seed, PARTS))
    assert optimized(graph, None) == optimized(graph, Everywhere())
