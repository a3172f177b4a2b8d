"""Judging a local change on its cone: the nodes that changed, run alone on recorded tensors of the graph before.

A change begins where the graph after has a node that the graph before has not (:mod:`hashes`), and ends at the first
tensors that correspond, those that kept their names. If all of these hold what they held, so does every tensor behind
them, and nothing else has to run. If one does not, the change goes on behind it; where that leads far, or the tensors
that are needed would take most of the model to compute, the whole graph is run instead.

After a change that was accepted by the truth of its matches (``close``), tensors behind it are those recorded before
it: the numbers that the same node gave before the rounding changed are as good to judge the next change on.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import GraphtoolError
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.parity.hashes import Against, Numbers
from graphtool.parity.metrics import equal
from graphtool.parity.parts import View, draws, reads, run_part, work
from graphtool.parity.record import CannotRecordError, Needed, record
from graphtool.parity.runerror import RunError
from graphtool.parity.session import Session, give_back
from graphtool.parity.tape import Tape

Array = NDArray[Any]
Arrays = Mapping[str, Array]

MOST_SITES = 40  # above that many separate changes the whole graph is cheaper
SHARE = 0.5  # of the whole graph's work that a cone may take, the tensors that it needs included
_ROUNDS = 3  # times that a change may go on behind a tensor that was thought to be the same


class NoConeError(GraphtoolError):
    """A change cannot be judged on its cone; the message says why.

    ``costly``: with more recorded tensors it could. ``fails``: what was changed does not run, which the whole shows.
    """

    def __init__(self, message: str, costly: bool = False, fails: bool = False) -> None:
        super().__init__(message)
        self.costly = costly
        self.fails = fails


@dataclass(frozen=True, slots=True)
class Cone:
    """What running a cone showed.

    ``view`` is the graph after, ``nodes`` how many nodes were run, 0 where nothing changed. ``differ`` are the tensors
    at its end that do not hold what they held, with what they held and hold now.
    """

    view: View
    nodes: int
    differ: dict[str, tuple[Array, Array]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What it takes to run the changed nodes and to compare what they make.

    ``fed`` are inputs that they read, ``wanted`` what they read of the graph before and ``ends`` what of theirs it has,
    each with its name there; ``places`` are the nodes of the graph before that have to run for both.
    """

    fed: list[str]
    wanted: dict[str, str]
    ends: dict[str, str]
    places: list[int]


class Cones:
    """Follows a pipeline from graph to graph: their numbers, and what was recorded.

    ``before`` is the graph to which the next change is made. ``on`` is False where nothing can be judged on a cone.
    """

    before: View

    def __init__(self, graph: Graph, feed: Arrays, share: float = SHARE) -> None:
        self.on = not draws(graph) and all(array.dtype.kind not in "OSU" for array in feed.values())
        self.share = share
        self.tape = Tape()
        self._numbers = Numbers()
        self._stands: dict[int, int] = {}
        self._outputs: dict[int, Array] = {}
        self._first: dict[int, Array] = {}  # the outputs of the original
        self.loose = False  # some recorded tensors only stand in for those of the graph before
        self.restart(graph, feed)

    def restart(self, graph: Graph, feed: Arrays) -> None:
        """Go on with another graph and feed, of which nothing is recorded."""
        start = object()  # a feed is another one than all before
        self.tape = Tape()  # a fork may go on with the old one
        self._outputs, self._first, self.loose = {}, {}, False
        self._stands = {}
        self._feed = dict(feed)
        self._sources: dict[str, Hashable] = {name: (start, name) for name in feed}
        self.before = View(graph, self._numbers.of(graph, self._sources, self._stands))

    def __copy__(self) -> Cones:
        """Return one that can go another way from here; numbers and recorded tensors are shared."""
        own = object.__new__(Cones)
        own.__dict__.update(self.__dict__)
        own._stands = dict(self._stands)
        return own

    # -- runs

    def whole(self, view: View, feed: Arrays, recording: bool | Needed) -> dict[str, Array]:
        """Run the whole graph and return its outputs; with ``recording`` keep tensors for cones to come.

        It may say which, should they be many.
        """
        names = [value.name for value in view.graph.outputs]
        give_back()
        if recording and self.on and not self.loose:
            try:
                return record(view, feed, self.tape, names, recording if callable(recording) else None)
            except (RunError, CannotRecordError):
                self.on = False  # what the pieces cannot do, the whole may
        return Session(view.graph).run(feed)

    def know(self, view: View, outputs: Arrays) -> None:
        """Take note of outputs that were computed from the feed."""
        if not self.loose:
            found = {view.numbered.number(name) or 0: array for name, array in outputs.items()}
            self._first = self._first or found
            self._outputs = self._first | found

    def let_go(self) -> None:
        """Hold no outputs but those of the original."""
        self._outputs = self._first

    # -- changes

    def view(self, graph: Graph, feed: Arrays, renamed: Mapping[str, str]) -> View:
        """Return the graph after a pass with its numbers, without any supposition."""
        return View(graph, self._numbers.of(graph, self._translated(feed, renamed), self._stands))

    def advance(self, view: View, feed: Arrays, renamed: Mapping[str, str], loose: bool = False) -> None:
        """Go on with the graph after, judged and accepted; ``loose`` where its numbers moved within rounding."""
        self._sources = self._translated(feed, renamed)
        self._feed = dict(feed)
        self.loose |= loose
        values = view.numbered.values
        self._stands.update({own: values[name] for name, own in view.numbered.own.items()})
        self.before = view

    def cone(self, graph: Graph, feed: Arrays, renamed: Mapping[str, str], final: Iterable[str] = ()) -> Cone:
        """Run what a pass changed. Where a tensor of ``final`` differs, the cone ends there.

        Raises NoConeError where the whole graph has to be run.
        """
        if not self.on:
            raise NoConeError("nothing can be judged on a cone")
        refuted: frozenset[str] = frozenset()
        ran = 0
        for _ in range(_ROUNDS):
            against = Against(self.before.numbered, renamed, refuted)
            view = View(graph, self._numbers.of(graph, self._translated(feed, renamed), self._stands, against))
            for value in view.graph.outputs:
                seen = view.numbered.seen(value.name)
                if seen is None or seen != self.before.numbered.seen(renamed.get(value.name, value.name)):
                    raise NoConeError(f"output {value.name} has nothing that it corresponds to")
            if not view.numbered.changed:
                return Cone(view, 0)
            count, differ = self._run(view, feed, renamed)
            ran += count
            if not differ or not differ.keys().isdisjoint(final):
                return Cone(view, ran, {name: differ[name] for name in sorted(differ, key=view.makers.__getitem__)})
            refuted |= differ.keys()
        raise NoConeError("the change goes on")

    def first_differing(
        self, graph: Graph, feed: Arrays, renamed: Mapping[str, str], final: Iterable[str]
    ) -> str | None:
        """Return the first tensor of ``final`` that a pass changed; None where that cannot be found.

        For a pass that was refused: this may take as much as another run of the whole graph.
        """
        own, wanted = copy.copy(self), set(final)
        own.share = float("inf")
        try:
            if self.tape.recorded is not self.before:
                own.whole(self.before, self._feed, recording=True)
            found = own.cone(graph, feed, renamed, wanted).differ
        except (NoConeError, RunError):
            return None
        return next((name for name in found if name in wanted), None)

    def _run(self, view: View, feed: Arrays, renamed: Mapping[str, str]) -> tuple[int, dict[str, tuple[Array, Array]]]:
        """Run the changed nodes; return how many nodes that took, and the tensors that differ, before and after."""
        changed = view.numbered.changed
        need = self._needs(view, feed, renamed)
        if not need.ends:
            return 0, {}
        try:
            values = self._values(self.before, self._feed, need.places, need.wanted.values(), need.ends.values())
            given = {name: values[old, False] for name, old in need.wanted.items()}
            given |= {name: feed[name] for name in need.fed}
            now = run_part(view, changed, given, sorted(need.ends))
        except RunError as error:
            raise NoConeError(str(error), fails=True) from None
        pairs = {name: (values[old, True], now[name]) for name, old in need.ends.items()}
        count = len(changed) + len(need.places)
        return count, {name: pair for name, pair in pairs.items() if not equal(*pair)}

    def _needs(self, view: View, feed: Arrays, renamed: Mapping[str, str]) -> _Needs:
        """Return what it takes to run the changed nodes and to compare what they make."""
        nodes = [view.nodes[place] for place in view.numbered.changed]
        made = {name for node in nodes for name in node.output if name}
        ends = {name: renamed.get(name, name) for name in made if name.encode() in view.numbered.own}
        fed, wanted = [], {}
        for name in {name for node in nodes for name in reads(node)} - made:
            if name in feed:
                fed.append(name)
            elif not view.is_constant(name):
                number = view.numbered.seen(name)
                if number not in self.before.names:
                    raise NoConeError(f"{name} is not in the graph before")
                wanted[name] = self.before.names[number]
        places: list[int] = []
        if ends:
            places = self._slice(self.before, self._feed, wanted.values(), ends.values(), work(nodes))
        return _Needs(fed, wanted, ends, places)

    def recorded(self, graph: Graph, feed: Arrays, reading: Sequence[str], making: Sequence[str]) -> dict[str, Array]:
        """Return tensors of a graph between before and after: what is read, and what is made, by a match.

        Raises NoConeError where that takes most of the model, or a tensor cannot be recorded.
        """
        view = View(
            graph, self._numbers.of(graph, self._translated(feed, {}), self._stands, Against(self.before.numbered))
        )
        places = self._slice(view, feed, reading, making)
        values = self._values(view, feed, places, reading, making)
        return {name: array for (name, _), array in values.items()}

    def outputs(self, view: View, feed: Arrays) -> tuple[dict[str, Array], int]:
        """Return the outputs of the graph after, and how many nodes were run: those behind what is known.

        Raises NoConeError where that is all of them.
        """
        if not self.on or self.loose:
            raise NoConeError("nothing is known that could be used")
        names = [value.name for value in view.graph.outputs]
        places = self._slice(view, feed, [], names)
        values = self._values(view, feed, places, [], names)
        for value in view.graph.outputs:
            if value.dtype and ops.numpy_dtype(value.dtype) != values[value.name, True].dtype:
                raise NoConeError(f"output {value.name} is declared of another type", fails=True)
        return {name: values[name, True] for name in names}, len(places)

    # -- what is known

    def _translated(self, feed: Arrays, renamed: Mapping[str, str]) -> dict[str, Hashable]:
        """Return where the arrays of a feed come from; one of another type is another source."""
        found: dict[str, Hashable] = {}
        for name, array in feed.items():
            old = renamed.get(name, name)
            was = self._feed.get(old)
            same = was is not None and was.dtype == array.dtype
            found[name] = self._sources[old] if same else (self._sources.get(old), name, str(array.dtype))
        return found

    def _slice(
        self, view: View, feed: Arrays, reading: Iterable[str], making: Iterable[str], more: float = 0.0
    ) -> list[int]:
        """Return the nodes to run for tensors: to be read (what stands in will do), or for what the node makes.

        Raises NoConeError where these, and ``more`` work, are most of the model.
        """
        places: set[int] = set()
        front = [name for name in making if self._find(view, name, True) is None and name in view.makers]
        places.update(view.makers[name] for name in front)
        names = [*reading, *(name for place in places for name in reads(view.nodes[place]))]
        for name in names:  # grows on the way
            if name in feed or view.is_constant(name) or self._find(view, name, False) is not None:
                continue
            place = view.makers[name]
            if place not in places:
                places.add(place)
                names += reads(view.nodes[place])
        if more + work(view.nodes[place] for place in places) > self.share * self.before.weight:
            raise NoConeError("what it takes is most of the model", costly=True)
        return sorted(places)

    def _find(self, view: View, name: str, itself: bool) -> int | None:
        """Return the number under which a tensor is known: its own, or also that of what stands in for it."""
        numbers = view.numbered.number(name), None if itself else view.numbered.seen(name)
        return next((n for n in numbers if n is not None and (n in self.tape or n in self._outputs)), None)

    def _value(self, view: View, feed: Arrays, name: str, itself: bool) -> Array:
        if name in feed:
            return feed[name]
        number = self._find(view, name, itself)
        if number is None:
            constant = view.graph.constant(name)
            if constant is None:
                raise NoConeError(f"{name} is not known")
            return constant
        array = self._outputs.get(number)
        array = self.tape.get(number) if array is None else array
        assert array is not None, "it was found"
        return array

    def _values(
        self, view: View, feed: Arrays, places: Sequence[int], reading: Iterable[str], making: Iterable[str]
    ) -> dict[tuple[str, bool], Array]:
        """Return tensors by name and whether they are to be what the node makes; ``places`` are run for them."""
        made = {name for place in places for name in view.nodes[place].output if name}
        given = {}
        for name in {name for place in places for name in reads(view.nodes[place])} - made:
            if not view.is_constant(name):
                given[name] = self._value(view, feed, name, False)
        asked = {(name, False) for name in reading} | {(name, True) for name in making}
        ran = run_part(view, places, given, sorted({name for name, _ in asked if name in made})) if places else {}
        if any(array.dtype.kind not in "fiub" for array in (*ran.values(), *given.values())):
            raise NoConeError("a tensor of a type that is not recorded")
        for name, array in ran.items():
            self.tape.put(view.numbered.number(name) or 0, array, spill=False)  # it is cheap to compute again
        return {ask: ran[ask[0]] if ask[0] in ran else self._value(view, feed, *ask) for ask in asked}
