"""Applying a pass to a graph: its bodies, native code, or the passes of a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from graphtool.errors import PassError
from graphtool.graph import Graph, Snapshot
from graphtool.rewrite.bodies import Body
from graphtool.rewrite.boundary import Boundary
from graphtool.rewrite.catalog import Catalog, Stage, parse_pipeline
from graphtool.rewrite.edit import Edit
from graphtool.rewrite.native import Native
from graphtool.rewrite.passfile import Pass
from graphtool.rewrite.result import Applied
from graphtool.rewrite.rule import Rule, most_matches

_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Inner:
    """One application of a simple pass: the graph before it and what it did. A sequence has several."""

    spec: Pass
    before: Snapshot
    applied: Applied


@dataclass(slots=True)
class Outcome:
    """What applying a stage did, all of it and pass by pass; ``unmet`` says why a requirement is not met."""

    applied: Applied = field(default_factory=Applied)
    inner: list[Inner] = field(default_factory=list)
    unmet: str | None = None


def apply_stage(graph: Graph, stage: Stage, catalog: Catalog) -> Outcome:
    """Apply ``stage`` to ``graph`` in place. The graph is restored when an error is raised."""
    before = graph.snapshot()
    outcome = Outcome(unmet=stage.spec.requires.missing(graph))
    if outcome.unmet:
        return outcome
    try:
        _apply(graph, stage.spec, stage.params, catalog, outcome)
    except BaseException:
        graph.restore(before)
        raise
    return outcome


def _apply(graph: Graph, spec: Pass, params: Mapping[str, object], catalog: Catalog, outcome: Outcome) -> int:
    """Apply one pass and return how many matches it had."""
    if spec.requires.missing(graph):
        return 0
    with _blamed(spec):
        if spec.sequence:
            return _sequence(graph, spec, catalog, outcome)
        before = graph.snapshot()
        applied = _simple(graph, spec, params)
    if applied.matches:
        outcome.inner.append(Inner(spec, before, applied))
        graph.forget_shapes()
    outcome.applied.add(applied)
    return len(applied.matches)


def _simple(graph: Graph, spec: Pass, params: Mapping[str, object]) -> Applied:
    if spec.native is not None:
        return Native(spec.native).apply(graph, params)
    applied = Applied()
    for kind in (Edit, Rule, Boundary):
        bodies = [body for body in spec.bodies if isinstance(body.run, kind)]
        if bodies:
            applied.add(_rounds(graph, bodies, params, _ROUNDS if kind is Rule else 1))
    return applied


def _rounds(graph: Graph, bodies: list[Body], params: Mapping[str, object], limit: int) -> Applied:
    """Apply bodies until nothing matches: a later round sees the shapes of values that an earlier one made."""
    total = Applied()
    allowed = most_matches(graph)
    for _ in range(limit):
        found = Applied()
        for body in bodies:
            found.add(body.apply(graph, params))
        total.add(Applied(found.matches, [], found.renamed))
        total.misses = found.misses
        if not found.matches or limit == 1:
            return total
        if len(total.matches) > allowed:
            break
        graph.forget_shapes()
    raise PassError("it matches its own results without end; it was stopped")


def _sequence(graph: Graph, spec: Pass, catalog: Catalog, outcome: Outcome) -> int:
    total = 0
    allowed = most_matches(graph)
    for _ in range(_ROUNDS):
        found = 0
        for stage in (stage for word in spec.sequence for stage in parse_pipeline(word, catalog)):
            found += _apply(graph, stage.spec, stage.params, catalog, outcome)
        total += found
        if not found or not spec.fixpoint:
            return total
        if total > allowed:
            break
    raise PassError("no fixed point; its passes undo each other")


@contextmanager
def _blamed(spec: Pass) -> Iterator[None]:
    """Put the pass's name before an error that does not have one yet."""
    try:
        yield
    except PassError as error:
        if str(error).startswith(("unknown pass", spec.name, spec.path.name)):
            raise
        raise PassError(f"{spec.name}: {error}") from None
