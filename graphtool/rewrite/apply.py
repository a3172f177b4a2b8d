"""Applying a pass to a graph: its bodies, native code, or the passes of a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from graphtool.errors import ModelError, PassError
from graphtool.graph import Graph, Snapshot
from graphtool.graph.arity import arity_fault
from graphtool.graph.declared import open_states
from graphtool.graph.journal import Journal
from graphtool.rewrite.bodies import Body
from graphtool.rewrite.boundary import Boundary
from graphtool.rewrite.catalog import Catalog
from graphtool.rewrite.edit import Edit
from graphtool.rewrite.endless import Rounds, most_matches
from graphtool.rewrite.native import Native
from graphtool.rewrite.passfile import Pass
from graphtool.rewrite.region import Region
from graphtool.rewrite.result import Applied
from graphtool.rewrite.rule import Rule
from graphtool.rewrite.selection import Chooser, Offer, Place
from graphtool.rewrite.stages import Stage, parse_pipeline


class Inner(NamedTuple):
    """One application of a simple pass: the graph before it and what it did. A sequence has several."""

    spec: Pass
    before: Snapshot
    applied: Applied


@dataclass(slots=True)
class Outcome:
    """What applying a stage did, all of it and pass by pass; ``unmet`` says why a requirement is not met.

    ``places`` are the units that can be selected, where the stage was applied with a selection, ``idle`` the items of
    that which no match answered to.
    """

    applied: Applied = field(default_factory=Applied)
    inner: list[Inner] = field(default_factory=list)
    latest: Snapshot | None = None  # of the graph as it is, where that is known
    unmet: str | None = None
    places: tuple[Place, ...] = ()
    idle: tuple[str, ...] = ()


def apply_stage(
    graph: Graph,
    stage: Stage,
    catalog: Catalog,
    record: bool = True,
    tell: bool = True,
    before: Snapshot | None = None,
) -> Outcome:
    """Apply ``stage`` to ``graph`` in place. The graph is restored when an error is raised.

    With ``record`` the outcome holds what parity needs: the graph before each inner pass, and the nodes of each match.
    With ``tell`` it holds the misses of rewrites, and why, which costs more than finding none. ``before`` is a snapshot
    of the graph as it is, where the caller has one. Raises PassError too
    where the stage's selection names a place that nothing matches at, ModelError where a node has fewer inputs or
    outputs than its operator, and the pass stumbles on that.
    """
    before = before or graph.snapshot()
    outcome = Outcome(unmet=stage.spec.requires.missing(graph))
    if outcome.unmet:
        return outcome
    try:
        chosen = stage.selection
        chooser = None if chosen is None else Chooser(chosen, stage.spec.name, bool(stage.spec.sequence))
        _apply(graph, stage.spec, stage.params, catalog, outcome, _Mode(record, tell, chooser=chooser))
        if outcome.applied.matches and graph.index.holders():
            open_states(graph)
        if chooser is not None:
            outcome.idle = chooser.finish()
            outcome.places = tuple(chooser.taken)
    except BaseException as error:
        graph.restore(before)
        # a pass takes an operator's inputs and outputs for granted; looking at every node before would cost each run
        if isinstance(error, IndexError) and (fault := arity_fault(graph)) is not None:
            raise ModelError(fault) from error
        raise
    return outcome


class _Mode(NamedTuple):
    """How a pass is applied: recorded for parity or not; repeated from outside, in a sequence to a fixpoint, or not."""

    record: bool
    tell: bool
    repeated: bool = False
    chooser: Chooser | None = None
    inner: bool = False  # a pass of a sequence


def _apply(
    graph: Graph, spec: Pass, params: Mapping[str, object], catalog: Catalog, outcome: Outcome, mode: _Mode
) -> int:
    """Apply one pass and return how many matches it had."""
    if spec.requires.missing(graph):
        return 0
    chooser = mode.chooser
    if mode.inner and chooser is not None and not chooser.enters(spec.name, bool(spec.sequence)):
        return 0
    with _blamed(spec):
        if spec.sequence:
            whole = mode.inner and chooser is not None and chooser.names(spec.name)
            with chooser.whole() if whole and chooser is not None else nullcontext():
                return _sequence(graph, spec, catalog, outcome, mode)
        before = outcome.latest
        if before is None and mode.record:
            before = outcome.latest = graph.snapshot()
        applied = _simple(graph, spec, params, mode)
    if applied.matches:
        if spec.native is not None and chooser is not None and not Native(spec.native).chooses:
            chooser.did(spec.name)
        outcome.latest = None
        if before is not None:
            outcome.inner.append(Inner(spec, before, applied))
        graph.refine_shapes()
    outcome.applied.add(applied)
    return len(applied.matches)


def _simple(graph: Graph, spec: Pass, params: Mapping[str, object], mode: _Mode) -> Applied:
    offer = None if mode.chooser is None else partial(mode.chooser.takes, spec.name)
    if spec.native is not None:
        return _native(graph, Native(spec.native), params, offer)
    applied = Applied()
    for kind in (Edit, Rule, Region, Boundary):
        bodies = [body for body in spec.bodies if body.kind is kind]
        if bodies:
            applied.add(_rounds(graph, bodies, params, mode, offer, once=kind is not Rule))
    if applied.matches and (spec.parity not in ("exact", "close") or any(b.kind is Edit for b in spec.bodies)):
        graph.forget_shapes()  # values that keep their names may have another type or shape
    return applied


def _native(graph: Graph, native: Native, params: Mapping[str, object], offer: Offer | None) -> Applied:
    """Run a native pass, in a sequence to a fixpoint only where there is something new since it found nothing."""
    journal = graph.journal
    key = native.name, repr(sorted(params.items()))
    if journal is None:
        return native.apply(graph, params, offer)
    if not journal.is_new(graph, key):
        return Applied()
    applied = native.apply(graph, params, offer)
    if not native.is_tracked(applied):
        journal.everything()
    if not applied.matches:
        journal.look(graph, key)
    return applied


def _rounds(
    graph: Graph, bodies: list[Body], params: Mapping[str, object], mode: _Mode, offer: Offer | None, once: bool
) -> Applied:
    """Apply bodies until nothing matches: a later round sees the shapes of values that an earlier one made."""
    total = Applied()
    once = once or mode.repeated
    allowed = 0 if once else most_matches(graph)
    rounds = Rounds(graph)
    while rounds.next():
        found = Applied()
        for body in bodies:
            # the reasons of a sequence's passes are those of `passes explain`
            done = body.apply(graph, params, mode.tell, mode.record, offer)
            found.add(done)
            if done.matches and graph.journal is not None and not isinstance(body.run, Rule):
                graph.journal.everything()
        total.add(Applied(found.matches, [], found.renamed))
        total.misses = found.misses
        if once or not found.matches:
            return total
        if len(total.matches) > (allowed := max(allowed, most_matches(graph))):
            break
        if graph.index.holders():  # what an edit in a body makes known outside of it is seen by a fresh look only
            graph.forget_shapes()
        else:
            graph.refine_shapes()
    raise PassError("it matches its own results without end; it was stopped")


def _sequence(graph: Graph, spec: Pass, catalog: Catalog, outcome: Outcome, mode: _Mode) -> int:
    total = 0
    # by the nodes there were: a first round that removes most of them has as many matches
    allowed, first = most_matches(graph), 0
    repeated = mode.repeated or spec.fixpoint
    inner = _Mode(mode.record, mode.tell and not repeated, repeated, mode.chooser, inner=True)
    stages = [stage for word in spec.sequence for stage in parse_pipeline(word, catalog)]
    # what edits in a body make known outside of it is seen by a fresh look only
    unsettled = bool(graph.index.holders())
    rounds = Rounds(graph)
    with _journal(graph, inner.repeated), graph.budget.bounding(spec.growth):
        while rounds.next():
            found = sum(_apply(graph, stage.spec, stage.params, catalog, outcome, inner) for stage in stages)
            total += found
            if not spec.fixpoint or mode.repeated or not (found or (total and unsettled)):
                return total
            if not found:
                unsettled = False
                graph.forget_shapes()
                if graph.journal is not None:
                    graph.journal.everything()
            else:
                unsettled = unsettled or bool(graph.index.holders())
            # the first round may inline, unroll and fold what was never a node of the graph before or after it
            first = first or total
            if total - first > (allowed := max(allowed, most_matches(graph))):
                break
    raise PassError("no fixed point; its passes undo each other")


@contextmanager
def _journal(graph: Graph, wanted: bool) -> Iterator[None]:
    """Let the graph keep a journal of what edits touch, where passes are repeated."""
    if not wanted or graph.journal is not None:
        yield
        return
    graph.journal = Journal()
    try:
        yield
    finally:
        graph.journal.everything()  # bodies that it knows hold the graph
        graph.journal = None


@contextmanager
def _blamed(spec: Pass) -> Iterator[None]:
    """Put the pass's name before an error that does not have one yet."""
    try:
        yield
    except PassError as error:
        if str(error).startswith(("unknown pass", spec.name, spec.path.name)):
            raise
        raise PassError(f"{spec.name}: {error}") from None
