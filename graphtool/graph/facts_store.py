"""The facts of one graph by name, and which of them could become better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from math import prod

from graphtool.graph.contents import FLOATS, MOST_UNKNOWN, Content, holds
from graphtool.graph.facts_call import Fact
from graphtool.graph.facts_join import both, known_inside
from graphtool.graph.facts_local import MOST_KEPT
from graphtool.graph.facts_symbols import Size, Symbols


class Store:
    """Facts by name. No size in them is None: what is unknown has a symbol of its own, named after value and axis.

    ``known`` are the facts; ``open`` the names, in order, whose facts could become better; ``news`` those whose facts
    have become better since whoever follows that emptied it. ``scope`` makes the symbols of a graph its own.
    """

    def __init__(self, symbols: Symbols, scope: str, known: dict[str, Fact] | None = None) -> None:
        self.scope = scope
        self.known = {} if known is None else known
        self.open: dict[str, None] = {}
        self.news: set[str] = set()
        self.changed: list[str] = []  # names of which another answer was given before, until somebody takes them
        self._symbols = symbols
        self._complete: set[Fact] = set()  # some that are, to be quick about it

    def put(self, name: str, fact: Fact) -> None:
        """Note what is given."""
        self.known[name] = self._named(name, fact)

    def learn(self, name: str, fact: Fact) -> None:
        """Add what a fact says of a value to what is known of it."""
        old = self.known.get(name)
        new = fact if old is None else both(old, fact, self._symbols)
        if new not in self._complete:
            new = self._named(name, new)
        if new != old:
            self.known[name] = new
            self.news.add(name)
            if old is not None:
                self.changed.append(name)
        if self._is_complete(new):
            self.open.pop(name, None)
        else:
            self.open[name] = None

    def drop(self, name: str) -> None:
        """Forget what was known of an open value: it is seen anew when it is asked for."""
        if name in self.open:
            del self.open[name]
            self.known.pop(name, None)
            self.changed.append(name)

    def open_up(self, names: Iterable[str]) -> None:
        """Note which of the values that the nodes make are open; few facts are shared by many values."""
        known = self.known
        complete = {id(fact): self._is_complete(fact) for fact in known.values()}
        self.open = {name: None for name in names if name not in known or not complete[id(known[name])]}
        for name in self.open:
            if name in known:
                known[name] = self._named(name, known[name])

    def shown(self, fact: Fact) -> tuple[Size, ...] | None:
        """Return the shape of a value as others see it: numbers, symbols of the model, None."""
        if fact.shape is None or fact in self._complete:
            return fact.shape
        own = self._symbols.is_own
        return tuple(size if isinstance(size, int) or own(size) else None for size in fact.shape)

    # -- contents

    def unknown_content(self, name: str, fact: Fact) -> Content | None:
        """Return a content of which nothing is known: equal to itself, if it is a short one of integers."""
        sizes = tuple(size for size in fact.shape or () if isinstance(size, int))
        if not fact.static or fact.dtype in FLOATS or not holds(fact.dtype) or prod(sizes) > MOST_UNKNOWN:
            return None
        return self.with_elements(name, Content(fact.dtype, sizes, (None,) * prod(sizes)))

    def with_elements(self, name: str, content: Content) -> Content:
        """Return a content with a symbol for each unknown integer."""
        if None not in content.items or content.dtype in FLOATS:
            return content
        element, scope = self._symbols.element, self.scope
        items = [element(name, at, scope) if item is None else item for at, item in enumerate(content.items)]
        return Content(content.dtype, content.shape, tuple(items))

    def says_nothing(self, name: str, content: Content) -> bool:
        """Whether a content is only that of itself: each element is unknown, or its own symbol."""
        element, scope = self._symbols.element, self.scope
        items = content.items
        return bool(items) and all(i is None or i == element(name, at, scope) for at, i in enumerate(items))

    def _named(self, name: str, fact: Fact) -> Fact:
        if fact.shape is None or None not in fact.shape:
            return fact
        axis = self._symbols.axis
        sizes = [axis(name, at, self.scope) if size is None else size for at, size in enumerate(fact.shape)]
        return Fact(fact.dtype, tuple(sizes), fact.kind, fact.other)

    def _is_complete(self, fact: Fact) -> bool:
        if fact in self._complete:
            return True
        if fact.kind != "tensor":
            return fact.kind != "unknown" and known_inside(fact.other) == math.inf
        if not fact.dtype or fact.shape is None:
            return False
        own = self._symbols.is_own
        if not all(isinstance(size, int) or own(size) for size in fact.shape):
            return False
        if len(self._complete) < MOST_KEPT:
            self._complete.add(fact)
        return True
