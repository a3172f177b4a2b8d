"""Rewrites of shipped pass files that are read once a graph has operators that they may be for.

A run of ``optimize`` names some eighty rewrites, and most graphs have operators for a dozen of them. What stands in a
shipped file is known to be sound (the tests read all of it), so the rest need not be read to be left alone. Files of a
project are always read whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property

from graphtool.graph import Graph
from graphtool.rewrite.rule import Rule

# the operators of a statement: `y = Op<...>(x)`, `A|B(x)`, `Op+(x)`, with or without a domain
_OPS = re.compile(r"=\s*((?:[\w.]+\.)?[A-Za-z_]\w*(?:\s*\|\s*[A-Za-z_]\w*)*)\+?\s*[<(]")

Ops = tuple[frozenset[str], ...]  # the op types of each statement


def statements(match: str) -> Ops:
    """Return the op types that each statement of a match allows, without reading it."""
    return tuple(frozenset(op.strip().rpartition(".")[2] for op in found.split("|")) for found in _OPS.findall(match))


class LateRule:
    """A rewrite that ``read`` reads; ``matches`` is its text, one for each alternative."""

    def __init__(self, matches: Sequence[str], read: Callable[[], Rule]) -> None:
        self._wanted = [statements(match) for match in matches]
        self._read = read

    @cached_property
    def rule(self) -> Rule:
        """The rewrite itself."""
        return self._read()

    def may_match(self, graph: Graph) -> bool:
        """Whether a graph, or a body in it, has operators for every statement of an alternative."""
        if graph.journal is None and graph.index.holders():
            return True  # looking into bodies for the first time takes longer than reading the rule
        return any(map(self._has_operators, graph.kinds()))

    def _has_operators(self, there: frozenset[str]) -> bool:
        return any(all(not ops.isdisjoint(there) for ops in wanted) for wanted in self._wanted)
