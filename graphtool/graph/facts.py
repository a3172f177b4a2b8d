"""Facts: types, shapes and small contents of the values of one graph, kept while the graph is edited.

onnx infers the whole model once. What it leaves open is then looked at in the order of the graph, node by node: with
the contents of shape arithmetic (:mod:`graphtool.graph.contents`), with rules for what symbols size
(:mod:`graphtool.graph.facts_rules`), and with onnx's own inference for single nodes. Contents are computed only where a
shape or a caller asks for them, so a static graph costs no more than the one inference.

A value that keeps its name keeps its facts. Values made later are looked at when they are asked for, and
:meth:`Facts.refine` follows what edits made known. No method recurses along the graph.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from graphtool.graph.contents import Content
from graphtool.graph.facts_bodies import given
from graphtool.graph.facts_call import NOTHING, Fact
from graphtool.graph.facts_join import may_have_content, with_declared
from graphtool.graph.facts_local import SIZING
from graphtool.graph.facts_look import Look, captured
from graphtool.graph.facts_node import FOLLOWED, MEASURES, NodeRules
from graphtool.graph.facts_store import Store
from graphtool.graph.facts_symbols import Symbols
from graphtool.graph.shapes import infer, symbols_of
from graphtool.graph.values import Value, value_of

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

_Goal = int | str  # a slot: the facts of the node's outputs; a name: the content of that value


class Facts(Look):
    """What is known of the values that one graph, the main one or a body, sees. Made by ``Graph`` at first use."""

    def __init__(self, graph: Graph, slots: int) -> None:
        self._graph = weakref.ref(graph)  # a cycle would keep the weights of a dropped graph
        self._outer: Facts | None = None if graph.parent is None else graph.parent.facts
        self._contents: dict[str, Content | None] = {}
        self._vague: set[str] = set()  # whose content has elements that are no number
        self._todo: set[str] = set()  # open values at whose nodes this walk has not been
        self._seen = (slots, frozenset(graph.initializers))  # when edits were last followed
        self._declared: dict[str, Value] = {}
        self._bodies = 0
        if self._outer is None:
            self._symbols: Symbols = symbols_of(graph.proto)
            self._rules: NodeRules = NodeRules(graph.proto, self._symbols)
            self._store = Store(self._symbols, "", infer(graph, self._symbols))
            self._declared = {info.name: value_of(info) for info in graph.header.output}
        else:  # what a body makes is looked at when it is asked for
            self._symbols, self._rules = self._outer._symbols, self._outer._rules
            self._outer._bodies += 1  # sibling bodies may use one name for two values
            self._store = Store(self._symbols, f"{self._outer._store.scope}@{self._outer._bodies}")
        self._known = self._store.known
        outer = self.fact if self._outer is None else self._outer.fact
        for name, fact in given(graph, self._symbols, outer).items():
            self._store.put(name, fact)
        if self._outer is None:
            self._walk(graph)
        self._store.changed.clear()

    @property
    def symbols(self) -> Symbols:
        """The symbols that facts and contents are written in."""
        return self._symbols

    # -- questions

    def value(self, name: str) -> Value | None:
        """Return type and shape of a value; None where nothing is known. Sizes: numbers, the model's symbols, None."""
        if not name:
            return None
        fact = self.fact(name)
        value = None if fact.kind == "unknown" else Value(name, fact.dtype, self._store.shown(fact), fact.kind)
        declared = self._declared.get(name)
        return value if declared is None else with_declared(value, declared)

    def content(self, name: str) -> Content | None:
        """Return what is known of the elements of a small tensor; None where nothing is."""
        found = self.elements(name) if name else None
        return None if found is None or self._store.says_nothing(name, found) else found

    def fact(self, name: str) -> Fact:
        """Return the type and the sizes of a value, opaque symbols included; NOTHING where nothing is known."""
        fact = self._known.get(name)
        if fact is not None and name not in self._store.open:
            return fact
        graph = self._live()
        slot = graph.index.producer_slot(name)
        if slot is None:
            self._store.drop(name)  # a constant by now, or removed
        elif fact is None:
            self._run(slot)
        return self._lookup(graph, name)

    def elements(self, name: str) -> Content | None:
        """Return the content of a value with a symbol for each unknown integer; None where it has none."""
        if name not in self._contents:
            self._run(name)
        found = self._contents[name]
        if found is None and name not in self._known:
            del self._contents[name]  # not there yet
            self._vague.discard(name)
        return found

    # -- edits

    def refine(self, slots: int, rewired: Iterable[int] = ()) -> None:
        """Follow what edits made known: nodes in slots below ``slots`` that are new, new constants, ``rewired`` slots.

        Costs nothing where all is known, else as much as there are nodes behind what is new.
        """
        if not self._store.open and not self._vague:
            return
        graph = self._live()
        old, constants = self._seen
        self._seen = (slots, frozenset(graph.initializers))
        names = [name for name in graph.initializers if name not in constants]
        for slot in range(old, slots):
            row = graph.row(slot)
            if row is not None:
                names += filter(None, row.outputs)
        self._follow(graph, names, [*range(old, slots), *rewired])

    def learn(self, other: Facts) -> None:
        """Take over what another graph, with the same values and more, knows of those that are open here."""
        if other is self:
            return
        for name in list(self._store.open):
            fact = other.fact(name)
            if fact.shape is not None:  # symbols of its own mean nothing here
                own = self._symbols.own
                sizes = tuple(size if isinstance(size, int) or size in own else None for size in fact.shape)
                fact = Fact(fact.dtype, sizes, fact.kind, fact.other)
            self._store.learn(name, fact)
        self._follow(self._live(), sorted(self._store.news))

    def changed(self) -> list[str]:
        """Return the values of which more is known than an earlier answer said, each time since the last call."""
        names, self._store.changed = self._store.changed, []
        return names

    def _follow(self, graph: Graph, names: Iterable[str], slots: Iterable[int] = ()) -> None:
        """Look again at what is not known in ``slots``, and behind values that are new, or of which more is known."""
        queue = list(slots)
        for name in names:
            if graph.index.producer_slot(name) is None:
                self._store.drop(name)  # a constant by now
            self._store.news.add(name)
            self._better(name)
            queue += graph.index.reader_slots(name)
        heapq.heapify(queue)  # nearly the order of the graph
        while queue:
            slot = heapq.heappop(queue)
            while queue and queue[0] == slot:
                heapq.heappop(queue)
            row = graph.row(slot)
            names = [] if row is None else [n for n in row.outputs if n in self._store.open or n in self._vague]
            if not names:
                continue
            before = [self._known.get(name) for name in names]
            self._todo.update(name for name in names if name in self._store.open)
            self._run(slot)
            for name, fact in zip(names, before, strict=True):
                if self._better(name) or self._known.get(name) != fact:
                    for reader in graph.index.reader_slots(name):
                        heapq.heappush(queue, reader)
        self._store.news.clear()

    def _better(self, name: str) -> bool:
        """Compute a content again that had elements which were no number; return whether it is another one now."""
        if name not in self._vague:
            return False
        old = self._contents.pop(name)
        self._vague.discard(name)
        if self.elements(name) == old:
            return False
        self._store.changed.append(name)
        return True

    # -- the walk

    def _walk(self, graph: Graph) -> None:
        """Look at every node whose outputs are open, each after those that it reads."""
        producers = graph.index.producers
        self._store.open_up(producers)
        self._todo = set(self._store.open)
        self._known[""] = NOTHING  # of an absent output there is nothing to learn
        wanted, todo, rows = self._is_wanted, self._todo, graph.index.rows
        for slot in sorted({producers[name] for name in self._store.open}):
            row = rows[slot]
            if row is None or todo.isdisjoint(row.outputs):
                continue
            inputs = row.inputs
            places = SIZING.get(row.op_type)
            if (
                todo.isdisjoint(inputs)  # what a node makes and nothing is known of is to do
                and (places is None or not any(wanted(graph, inputs[i]) for i in places if i < len(inputs)))
                and not row.holds
            ):  # the usual case, in short: in order, and nothing to find out first
                todo.difference_update(row.outputs)
                self._look_at(graph, slot, row)
            else:
                self._run(slot)
        self._store.news.clear()

    def _run(self, goal: _Goal) -> None:
        """Reach a goal, and first those that it needs, depth first on a stack of our own."""
        graph = self._live()
        rows = graph.index.rows
        stack = [goal]
        begun: set[_Goal] = set()
        settled: set[_Goal] = set()  # what they need has been reached when they are met again
        while stack:
            goal = stack[-1]
            if goal not in settled:
                begun.add(goal)
                needs = [need for need in self._needs(graph, goal) if need not in begun]
                if needs:
                    if isinstance(goal, int) or isinstance(needs[0], str):  # else the type of a value comes first
                        settled.add(goal)
                    stack += reversed(needs)
                    continue
            stack.pop()
            if isinstance(goal, int):
                row = rows[goal]
                if row is not None:
                    self._todo.difference_update(row.outputs)
                    self._look_at(graph, goal, row)
            elif goal not in self._contents:
                self._fill(graph, goal)

    def _fill(self, graph: Graph, name: str) -> None:
        """Note the content of a value whose needs are reached."""
        found = self._contents[name] = self._evaluate(graph, name)
        if found is None or not found.known:
            self._vague.add(name)

    def _is_wanted(self, graph: Graph, name: str) -> bool:
        """Whether the content of an input is still to be reached: an initializer is read at once."""
        if not name or name in self._contents:
            return False
        if name in graph.initializers:
            self._fill(graph, name)
            return False
        return True

    def _needs(self, graph: Graph, goal: _Goal) -> list[_Goal]:
        """Return what must be reached before ``goal``, none where that has been reached itself."""
        producers = graph.index.producers
        if isinstance(goal, int):
            row = graph.row(goal)
            if row is None:
                return []
            inputs = row.inputs
            names = [*inputs, *captured(graph, goal)] if row.holds else inputs
            needs: list[_Goal] = [slot for name in names if (slot := self._unseen(producers, name)) is not None]
            for place in SIZING.get(row.op_type, ()):
                if place < len(inputs) and self._is_wanted(graph, inputs[place]):
                    needs.append(inputs[place])
            return needs
        slot = producers.get(goal)
        if goal in self._contents or slot is None:
            return []
        if self._unseen(producers, goal) is not None:
            return [slot]
        row = graph.row(slot)
        if row is None or row.op_type not in FOLLOWED or not may_have_content(self._known[goal]):
            return []
        if row.op_type in MEASURES:
            return [slot for name in row.inputs if (slot := self._unseen(producers, name)) is not None]
        return [name for name in row.inputs if self._is_wanted(graph, name)]

    def _unseen(self, producers: dict[str, int], name: str) -> int | None:
        """Return the slot that makes ``name`` where it has not been looked at."""
        return producers.get(name) if name in self._todo or name not in self._known else None

    def _live(self) -> Graph:
        graph = self._graph()
        assert graph is not None, "facts outlived their graph"
        return graph
