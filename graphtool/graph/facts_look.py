"""One look at a node: what follows for its outputs, and for the elements of a value, from what is known so far.

:mod:`graphtool.graph.facts` decides in which order nodes are looked at, so that what a look needs is known before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphtool.errors import ModelError
from graphtool.graph.bodies import captures
from graphtool.graph.contents import MOST_ITEMS, Content, content_of_array
from graphtool.graph.facts_call import NOTHING, Fact
from graphtool.graph.facts_join import may_have_content
from graphtool.graph.facts_local import SIZING
from graphtool.graph.facts_node import FOLLOWED, MEASURES, SIZED, NodeRules
from graphtool.graph.facts_store import Store
from graphtool.graph.rows import Row

if TYPE_CHECKING:
    from graphtool.graph.facts import Facts
    from graphtool.graph.model import Graph


class Look:
    """What is known of the values of one graph, and how a look at a node adds to it; ``_outer``: around a body."""

    _outer: Facts | None
    _store: Store
    _known: dict[str, Fact]
    _contents: dict[str, Content | None]
    _rules: NodeRules

    def _look_at(self, graph: Graph, slot: int, row: Row) -> None:
        """Learn what follows for the outputs of a node, where that can be more than is known."""
        known = self._known
        outer = captured(graph, slot) if row.holds else []
        if (
            row.op_type not in SIZED
            and self._store.news.isdisjoint(row.inputs)
            and self._store.news.isdisjoint(row.outputs)  # made by another node than before
            and self._store.news.isdisjoint(outer)
            and all(map(known.__contains__, row.outputs))
        ):
            return  # nothing that onnx did not know
        facts = [(known.get(name) or self._lookup(graph, name)) if name else None for name in row.inputs]
        contents: list[Content | None] = [None] * len(facts)
        for place in SIZING.get(row.op_type, ()):
            if place < len(facts):
                contents[place] = self._contents.get(row.inputs[place])
        given = {name: self._lookup(graph, name) for name in outer}
        found = self._rules.facts(graph.node_at(slot), row, facts, contents, given)
        for name, fact in zip(row.outputs, found, strict=True):
            if name:
                self._store.learn(name, fact)

    def _evaluate(self, graph: Graph, name: str) -> Content | None:
        """Return the content of a value whose needs are reached."""
        slot = graph.index.producers.get(name)
        row = None if slot is None else graph.row(slot)
        if name in graph.initializers or (row is not None and row.op_type == "Constant"):
            return self._constant(graph, name)
        fact = self._lookup(graph, name)
        if slot is None or row is None:
            if self._outer is not None and not graph.defines(name):
                return self._outer.elements(name)
            return self._store.unknown_content(name, fact)
        if not row.standard or row.op_type not in FOLLOWED or not may_have_content(fact):
            return self._store.unknown_content(name, fact)
        node = graph.node_at(slot)
        nothing: list[None] = [None] * len(row.inputs)
        if row.op_type in MEASURES:
            found = self._rules.content(node, row, [self._lookup(graph, of) for of in row.inputs], nothing, 0)
        else:
            contents = [self._contents.get(of) for of in row.inputs]
            found = self._rules.content(node, row, nothing, contents, row.outputs.index(name))
        if found is None:
            return self._store.unknown_content(name, fact)
        if len(found.items) > MOST_ITEMS or (fact.dtype and fact.dtype != found.dtype):
            return None
        if fact.static and fact.shape != found.shape:
            return None  # one of the two is wrong
        if fact.shape != found.shape:
            self._store.learn(name, Fact(found.dtype, found.shape))
        return self._store.with_elements(name, found)

    def _constant(self, graph: Graph, name: str) -> Content | None:
        fact = self._lookup(graph, name)
        if not may_have_content(fact):
            return None
        try:
            array = graph.constant(name)
        except ModelError:
            return None  # whoever needs the weight says what is wrong with it
        if array is not None:
            return content_of_array(fact.dtype, array)
        # a caller may override it
        return None if graph.is_constant(name) else self._store.unknown_content(name, fact)

    def _lookup(self, graph: Graph, name: str) -> Fact:
        """Return the fact of a value as far as the graph has been looked at."""
        fact = self._known.get(name)
        if fact is not None:
            return fact
        tensor = graph.initializers.get(name)
        if tensor is not None and graph.is_constant(name):
            fact = self._known[name] = Fact(tensor.data_type, tuple(tensor.dims[:]))
            return fact
        if self._outer is not None and not graph.defines(name):
            return self._outer.fact(name)
        return NOTHING


def captured(graph: Graph, slot: int) -> list[str]:
    """Return the outer values that the bodies of a node read."""
    return sorted(captures(graph.node_at(slot)))
