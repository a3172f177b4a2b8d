"""The pass manager: for each stage snapshot, apply, clean up, check, diff, judge; on a broken promise roll back.

Floor 4. :func:`advance` yields a :class:`Step` as each stage ends, so that a caller can show progress and stop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from graphtool.errors import GraphtoolError, PassError, show
from graphtool.graph import Graph, Snapshot, check
from graphtool.parity.interface import interface_fault, type_fault
from graphtool.parity.runnable import Meanings, checker_fault, foreign, runnable, stand_ins
from graphtool.rewrite import Catalog, Miss, Outcome, Stage, apply_stage
from graphtool.rewrite.misspelt import misspelt
from graphtool.step import Changes, Run, Step

# the judge is imported where it is needed: a run without a check is over before onnxruntime alone is loaded
if TYPE_CHECKING:
    from graphtool.parity.budget import Budget
    from graphtool.parity.feed import Feed
    from graphtool.parity.trials import Trial

SORTED = "the nodes were not in topological order; they are now"


def begin(
    graph: Graph,
    stages: Sequence[Stage],
    catalog: Catalog,
    feed: Feed | Sequence[Trial] | None,
    budgets: Sequence[Budget] = (),
    truth: bool = False,
    structure: bool = False,
    moved: bool | None = None,
) -> Run:
    """Return a run of ``stages`` over ``graph``, which is checked and from now on edited in place.

    A caller that has checked it says with ``moved`` what :func:`check` returned.

    ``feed`` may be several (see :mod:`graphtool.parity.trials`); with None nothing is judged. With ``truth`` every
    ``close`` pass is held against double precision. The original is run here, twice on each feed. Raises ModelError for
    an unsound graph, and RunError where the original cannot run and no pass is there to repair it. With ``structure``
    a graph with an operator that nothing here can run is no error: its passes are judged by structure, and by those of
    their matches that run alone; a note says so.
    """
    notes = [SORTED] if (check(graph) if moved is None else moved) else []
    original = graph.copy()
    state = Run(graph, original, stages, notes=notes, same=original)
    if feed:
        from graphtool.parity.feed import Feed
        from graphtool.parity.forecast import recording
        from graphtool.parity.panel import Panel
        from graphtool.parity.trials import Trial

        trials = [Trial(feed, must=True)] if isinstance(feed, Feed) else feed
        state.feed = trials[0].feed
        record = recording(original, stages, catalog, state.feed.arrays, budgets)
        state.judge = Panel(original, trials, catalog.semantics(), budgets, truth, record)
        fault = state.judge.fault
        if fault is not None and not any(stage.spec.parity == "repair" for stage in stages):
            if not structure or fault.reason != "op" or budgets:
                raise fault
            state.notes.append(f"the numbers of the whole model are NOT checked: {fault}")
        state.notes += state.judge.notes
        state.notes += [_lacking(item.op) for item in stand_ins(original, state.judge.meanings)]
    return state


def fork(state: Run, stages: Sequence[Stage]) -> Run:
    """Return a run that goes on with ``stages`` from where ``state`` is, closed, which stays as it is."""
    judge = None if state.judge is None else state.judge.fork()
    return Run(state.graph.copy(), state.original, stages, [], state.feed, judge, [], state.segment)


def _lacking(op: str) -> str:
    return f"onnxruntime has no {show(op)}: it is judged by the meaning that a pass file declares; the result keeps it"


def advance(state: Run, catalog: Catalog, keep_going: bool = False) -> Iterator[Step]:
    """Apply the stages one by one and yield each step; stops after a broken one unless ``keep_going``.

    After the last one the whole graph is run where steps were judged on less. A promise that turns out to be broken
    there is a last step: that of its stage, broken now, which and all after which are undone.
    """
    before_fault = _checker_fault(state.graph, catalog) if state.judge is not None else None
    if before_fault:
        state.notes.append(f"onnx.checker refuses the model as it came: {before_fault}")
    for number, stage in enumerate(state.stages):
        before = state.same or state.graph.copy()
        state.latest = (before.snapshot(), number)
        state.segment = state.segment or state.latest
        step, outcome = _apply(state.graph, before, stage, catalog, state.judge is not None, state.latest[0])
        state.same = before if step.changes is None else step.changes.after
        if step.status == "applied":
            fault = _structural_fault(before, state.graph, stage, outcome)
            if fault is None and before_fault is None:
                fault = _checker_fault(state.graph, catalog)
                if fault is not None and state.judge is None and _checker_fault(before, catalog):
                    fault = None  # it refuses what the pass was given, too
            step = _judged(state, before, stage, step, outcome, fault)
            before_fault = before_fault if stage.spec.parity != "repair" else _checker_fault(state.graph, catalog)
        if step.status == "broken":
            state.graph.restore(state.latest[0])
            state.same = before
            earlier = next(_closed(state), None)  # is it this step, or one whose fault only shows now?
            if earlier is not None:
                yield earlier
                return
        elif stage.spec.parity in ("lossy", "float16", "repair") and step.status != "unmatched":
            state.segment = None
        state.steps.append(step)
        yield step
        if step.status == "broken" and not keep_going:
            return
    yield from _closed(state)


def _closed(state: Run) -> Iterator[Step]:
    """Let the judge close the pipeline: yield the step, broken now, whose promise turns out not to hold.

    That step and all after it are undone.
    """
    closing = None if state.judge is None else state.judge.close()
    if closing is None:
        return
    if closing.verdict is None:
        state.closed = closing
        return
    accepted = [number for number, step in enumerate(state.steps) if step.status == "applied"]
    assert closing.back <= len(accepted), "a run that forks is closed first"
    number = accepted[-closing.back]
    step = state.steps[number]
    assert step.changes is not None, "it was applied"
    before = step.changes.before.snapshot()
    state.latest = before, next(place for place, stage in enumerate(state.stages) if stage is step.stage)
    state.graph.restore(before)
    broken = step._replace(status="broken", verdict=closing.verdict, reason=closing.verdict.reason)
    state.steps[number:] = [broken]
    yield broken


def _meanings(graph: Graph, catalog: Catalog) -> Meanings:
    """Return the declared semantics of operators, where a graph may have one that needs them."""
    return catalog.semantics() if foreign(graph) else {}


def _checker_fault(graph: Graph, catalog: Catalog) -> str | None:
    return checker_fault(runnable(graph, _meanings(graph, catalog)))


def _apply(
    graph: Graph, before: Graph, stage: Stage, catalog: Catalog, record: bool = False, snapshot: Snapshot | None = None
) -> tuple[Step, Outcome]:
    started = time.perf_counter()
    meanings = _meanings(graph, catalog)
    if stand_ins(graph, meanings):  # behind an op that onnx does not know all shapes are unknown
        graph.learn_shapes(runnable(graph, meanings))
    outcome = apply_stage(graph, stage, catalog, record, before=snapshot)
    applied = outcome.applied
    status, reason = "applied", ""
    if not applied.matches:
        status, reason = "unmatched", outcome.unmet or _why_unmatched(graph, stage, applied.misses)
    seconds = time.perf_counter() - started
    nodes = (before.node_count, graph.node_count)
    changed = Changes(before, graph.copy()) if applied.matches else None
    step = Step(
        stage,
        status,
        tuple(applied.matches),
        tuple(applied.misses),
        nodes,
        seconds,
        0.0,
        changed,
        None,
        reason,
        outcome.places,
    )
    return step, outcome


def _why_unmatched(graph: Graph, stage: Stage, misses: Sequence[Miss]) -> str:
    typo = next(iter(misspelt(stage.spec, graph)), None)
    if typo:
        return typo
    if not misses:
        return "the model has no node that it is for"
    reasons = {miss.reason for miss in misses}
    more = f" (and {len(misses) - 1} more)" if len(misses) > 1 else ""
    nearest = max(misses, key=lambda miss: miss.reach)
    where = f"{show(nearest.where)}: " if nearest.where else ""  # of no node: a parameter is missing
    return f"{where}{nearest.text()}" + ("" if len(reasons) == 1 and len(misses) == 1 else more)


def _structural_fault(before: Graph, after: Graph, stage: Stage, outcome: Outcome) -> str | None:
    """Return why the graph is unsound after a pass, or changed more of its interface than declared."""
    try:
        check(after)
    except GraphtoolError as error:
        return str(error)
    fault = interface_fault(before, after, stage.spec.interface, outcome.applied.renamed)
    if fault is None and stage.spec.parity in ("exact", "close"):
        fault = type_fault(before, after, outcome.applied.matches)
    return fault


def _judged(state: Run, before: Graph, stage: Stage, step: Step, outcome: Outcome, fault: str | None) -> Step:
    if fault is not None:
        return step._replace(status="broken", reason=fault)
    if state.judge is None:
        return step._replace(status="unchecked")
    started = time.perf_counter()
    verdict = state.judge.judge(stage.spec, outcome, before, state.graph.copy())
    seconds = time.perf_counter() - started
    told = {item.op for item in stand_ins(before, state.judge.meanings)}
    new = [item.op for item in stand_ins(state.graph, state.judge.meanings) if item.op not in told]
    verdict = replace(verdict, notes=(*verdict.notes, *map(_lacking, new)))
    status = "applied" if verdict.ok else "broken"
    return step._replace(status=status, verdict=verdict, judge_seconds=seconds, reason=verdict.reason)


def dry_run(graph: Graph, stages: Sequence[Stage], catalog: Catalog) -> list[Step]:
    """Return what each stage would match, each seeing the result of those before it; nothing is judged."""
    check(graph)
    own = graph.copy()
    steps = []
    for stage in stages:
        try:
            steps.append(_apply(own, own.copy(), stage, catalog)[0])
        except PassError as error:
            raise PassError(f"{error} (dry run)") from None
    return steps
