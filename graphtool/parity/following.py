"""The graphs that a pipeline has come through, as far as later steps are judged against them, and the feed of today."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from numpy.typing import NDArray

from graphtool.graph import Graph, Snapshot
from graphtool.graph import opset as ops
from graphtool.parity.cone import Cones
from graphtool.parity.metrics import Figures, compare, equal
from graphtool.parity.rules import Standing
from graphtool.parity.session import Session, give_back
from graphtool.parity.verdict import Reference
from graphtool.rewrite.apply import Outcome
from graphtool.rewrite.passfile import Pass

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Unproven:
    """A step that was accepted without a run of the whole graph: what it takes to judge it by one.

    ``loose``: it was judged on recorded tensors of which some stood in for those of the graph before.
    """

    number: int
    spec: Pass
    outcome: Outcome
    standing: Standing
    feed: dict[str, Array]  # of the graph before
    now: dict[str, Array]  # of the graph after
    after: Snapshot
    loose: bool


class Following:
    """What a judge knows of the graphs before: the original, the start of the segment, the step before.

    ``unproven`` are the steps since the last run of a whole graph, ``accepted`` counts all steps.
    """

    def __init__(self, feed: Arrays) -> None:
        self.feed = dict(feed)
        self.original: Reference | None = None
        self.start: Reference | None = None  # of the segment
        self.before: Reference | None = None  # the step before
        self.cones: Cones | None = None
        self.accepted = 0
        self.unproven: list[Unproven] = []
        self._compared: dict[tuple[int, int], tuple[Array, Array, Figures]] = {}

    def __copy__(self) -> Self:
        """Return one that can go another way from here; what is recorded is shared."""
        own = object.__new__(type(self))
        own.__dict__.update(self.__dict__)
        own.unproven = list(self.unproven)
        own.cones = None if self.cones is None else copy.copy(self.cones)
        return own

    def standing(self) -> Standing:
        """Return the graphs that the next step is judged against; there must be some."""
        assert self.original is not None and self.start is not None and self.before is not None
        return Standing(self.original, self.start, self.before)

    def known_cones(self) -> Cones:
        """Return what cones are judged with; there must be an original that runs."""
        assert self.cones is not None
        return self.cones

    def go_on(
        self, spec: Pass, outcome: Outcome, graph: Graph, feed: dict[str, Array], outputs: dict[str, Array],
        ran: bool = True, moved: bool = False,
    ) -> None:  # fmt: skip
        """Take the graph after an accepted step for the one before the next."""
        if ran:
            self.unproven.clear()
            self._compared = {}
        else:
            now, loose = graph.snapshot(), self.known_cones().loose
            self.unproven.append(Unproven(self.accepted, spec, outcome, self.standing(), self.feed, feed, now, loose))
        self.accepted += 1
        self.feed = feed
        self.before = Reference(f"the graph before (after {spec.name})", graph, feed, outputs, ran=ran)
        if spec.parity in ("lossy", "float16", "repair") or moved:
            self.start = replace(self.before, name=f"the graph after {spec.name}")
        if self.original is None:
            self.original = replace(self.before, name=f"the graph after {spec.name}")

    def figures(self, against: Reference, outputs: Arrays) -> dict[str, Figures]:
        """Return the figures of outputs that were carried over; those of the same two arrays are computed once."""
        found = {}
        for name, array in outputs.items():
            was = against.output(name)
            if was is not None and was.shape == array.shape:
                known = self._compared.get((id(was), id(array)))
                figures = compare(was, array) if known is None else known[2]
                self._compared[id(was), id(array)] = was, array, figures
                found[name] = figures
        return found

    def let_go(self) -> None:
        """Hold no outputs but those of the original, the start of the segment and the step before.

        Should a step be judged again, the others are computed again.
        """
        standing = self.standing()
        held = {id(one.outputs) for one in (standing.original, standing.start, standing.before)}
        for place, step in enumerate(self.unproven):
            was = step.standing
            kept = [
                one if id(one.outputs) in held else replace(one, outputs={})
                for one in (was.original, was.start, was.before)
            ]
            self.unproven[place] = replace(step, standing=Standing(*kept))
        self._compared = {}
        self.known_cones().let_go()
        give_back()

    # -- feeds

    def translated(self, after: Graph, renamed: Mapping[str, str]) -> dict[str, Array]:
        """Return the feed for ``after``: inputs by their new names, cast by value where their type changed.

        A value that does not survive the cast and back is changed in every reference too: the promise is about inputs
        that the narrower type can hold.
        """
        feed = {}
        for value in after.inputs:
            old = renamed.get(value.name, value.name)
            array = self.feed[old]
            wanted = ops.numpy_dtype(value.dtype) if value.dtype else array.dtype  # a sequence has none
            if array.dtype != wanted:
                cast = array.astype(wanted)
                back = cast.astype(array.dtype)
                if not equal(array, back):
                    self._refeed(old, back)
                array = cast
            feed[value.name] = array
        return feed

    def _refeed(self, name: str, array: Array) -> None:
        self.feed = {**self.feed, name: array}
        kept = (self.original, self.start, self.before)
        changed: dict[int, Reference] = {}  # new ones: a judge that was forked off has the old ones
        for reference in {id(r): r for r in kept if r is not None}.values():
            own = reference.own_name.get(name, name)
            if own not in reference.feed:  # an inner tensor there, which a pass made an input
                continue
            reference.settle()
            feed = {**reference.feed, own: array.astype(reference.feed[own].dtype)}
            outputs = Session(reference.graph, outputs=list(reference.outputs)).run(feed)
            changed[id(reference)] = replace(reference, feed=feed, outputs=outputs, tolerance=None)
        self.original, self.start, self.before = (changed.get(id(r), r) for r in kept)
        if self.before is not None:
            self.known_cones().restart(self.before.graph, self.before.feed)


def renamed_reference(reference: Reference, renamed: Mapping[str, str]) -> Reference:
    """Return a reference that is asked for its values by the names that they have after a pass."""
    if not renamed:
        return reference
    known = reference.own_name
    return replace(reference, own_name=known | {new: known.get(old, old) for new, old in renamed.items()})


def carried(before: Reference, graph: Graph) -> dict[str, Array]:
    """Return the outputs of the graph after, which are those of the graph before; none where these are unknown."""
    if not before.outputs:
        return {}
    found = {value.name: before.output(value.name) for value in graph.outputs}
    return {name: array for name, array in found.items() if array is not None}
