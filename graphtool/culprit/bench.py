"""A pipeline applied with some of its matches, again and again, judged on one feed each time.

The original is run once, and so are the stages before the first that differs: an attempt goes on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphtool import pipeline
from graphtool.errors import GraphtoolError
from graphtool.graph import Graph
from graphtool.parity.budget import Budget, broken
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import Figures, compare
from graphtool.parity.panel import Panel
from graphtool.parity.trials import Trial
from graphtool.rewrite import Catalog, Stage, apply_stage
from graphtool.rewrite.selection import Place, Selection
from graphtool.step import Run, Step

Watch = Callable[[str], None]
Bounded = tuple[Mapping[str, Figures], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """What can be left out of a pipeline: one place of one stage, by the stage's number."""

    stage: int
    place: Place


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a pipeline went.

    ``kind`` is empty where all held, else ``promise``, ``budget`` or ``error`` (a pass that could not be applied),
    ``reason`` says why and ``stage`` where (None: the pipeline as a whole). ``figures`` compare each output at the end
    with the original's, on the worst feed; they are those of the broken step where there is one. ``bounded`` are all
    that a budget is held to: the figures after each lossy or float16 step, then, in ``ends``, those at the end; of each
    feed.
    """

    kind: str = ""
    reason: str = ""
    stage: int | None = None
    figures: Mapping[str, Figures] = field(default_factory=dict)
    units: tuple[Unit, ...] = ()
    bounded: tuple[Mapping[str, Figures], ...] = ()
    ends: tuple[Mapping[str, Figures], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every promise and budget held."""
        return not self.kind

    def over(self, budgets: Sequence[Budget]) -> str:
        """Return why the budgets do not hold, after a step or at the end as in a run; an empty string where they do.

        Those of a single pass are the judge's, step by step.
        """
        budgets = [budget for budget in budgets if not budget.scope]
        for figures in self.bounded:
            reasons = broken([b for b in budgets if b.output is None or b.output in figures], figures)
            if reasons:
                return reasons[0]
        return next((reason for figures in self.ends for reason in broken(budgets, figures)), "")


class Bench:
    """Runs of one pipeline on one model, on the same feeds. ``count`` is how many pipelines were applied and judged.

    ``held`` says that budgets are promises: those given, and those that passes have of their own. Without, they are
    for the caller to look at. Raises what :func:`graphtool.pipeline.begin` does.
    """

    def __init__(
        self,
        graph: Graph,
        stages: Sequence[Stage],
        catalog: Catalog,
        feed: Feed | Sequence[Trial],
        budgets: Sequence[Budget] = (),
        truth: bool = False,
        held: bool = True,
        watch: Watch = lambda _: None,
    ) -> None:
        self.specs = [stage.spec for stage in stages]
        self.stages = [_selected(stage, held) for stage in stages]
        self.catalog = catalog
        self.budgets = tuple(budgets)
        self.watch = watch
        self.held = held
        self.count = 0
        watch("running the original, twice")
        self._states: list[Run] = [pipeline.begin(graph, self.stages, catalog, feed, budgets if held else (), truth)]
        self._figures: list[Bounded] = []  # those that a budget is held to, by stage
        self.whole = self._forward()
        shared = Counter((unit.stage, unit.place.spec, unit.place.where) for unit in self.whole.units)
        self._shared = {key for key, count in shared.items() if count > 1}

    @property
    def notes(self) -> list[str]:
        """What there is to say of the model itself."""
        return self._states[0].notes

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds that every run is judged on."""
        judge = self._states[0].judge
        assert judge is not None, "a bench judges"
        return tuple(seat.feed for seat in judge.seats)

    def _forward(self) -> Attempt:
        """Apply the whole pipeline, keeping the state after each stage."""
        self.count += 1
        units: list[Unit] = []
        for number, stage in enumerate(self.stages):
            self.watch(f"pass {stage.spec.name}")
            state = pipeline.fork(self._states[-1], [stage])
            steps = list(pipeline.advance(state, self.catalog))
            units += [Unit(number, place) for place in steps[0].places]
            if steps[-1].status == "broken":
                return _failed(number, steps[-1], units)
            self._states.append(state)
            self._figures.append(_bounded(steps[0]))
        return self._ended(self._states[-1], units, self._figures)

    def _ended(self, state: Run, units: Sequence[Unit], steps: Sequence[Bounded], whole: bool = True) -> Attempt:
        """Return how a pipeline that kept its promises ended; outputs of one not ``whole`` may be renamed yet."""
        ends = end_figures(state.judge)
        bounded = tuple(figures for step in steps for figures in step)
        worst = max(ends, key=_damage, default={})
        found = Attempt("", "", None, worst, tuple(units), (*bounded, *ends), ends if whole else ())
        reason = found.over(self.budgets) if self.held else ""
        return replace(found, kind="budget", reason=reason) if reason else found

    def run(self, chosen: Sequence[Unit]) -> Attempt:
        """Apply the stages up to the one that failed (all, where none did) with those units alone."""
        last = len(self.stages) if self.whole.stage is None else self.whole.stage + 1
        picked = [self.staged(number, chosen) for number in range(last)]
        first = next((n for n in range(last) if picked[n] is not self.stages[n]), last)
        first = min(first, len(self._states) - 1)
        self.count += 1
        self.watch(f"run {self.count}: {len(chosen)} of {len(self.whole.units)} matches")
        rest = [(number, stage) for number in range(first, last) if (stage := picked[number]) is not None]
        state = pipeline.fork(self._states[first], [stage for _, stage in rest])
        try:
            steps = list(pipeline.advance(state, self.catalog))
        except GraphtoolError as error:  # a pass that cannot stand that only some of it is done
            return Attempt("error", str(error), None, {}, tuple(chosen))
        if steps and steps[-1].status == "broken":
            number = next(number for number, stage in rest if stage is steps[-1].stage)
            return _failed(number, steps[-1], chosen)
        figures = [*self._figures[:first], *map(_bounded, steps)]
        return self._ended(state, chosen, figures, whole=last == len(self.stages))

    def staged(self, number: int, chosen: Sequence[Unit], short: bool = False) -> Stage | None:
        """Return a stage that applies only the chosen units; None where there are none of its own.

        With ``short`` it is spelled in the shorter of two ways, by those that are left out where these are fewer.
        """
        stage = self.stages[number]
        own = [unit for unit in self.whole.units if unit.stage == number]
        picked = set(chosen)
        kept = [unit for unit in own if unit in picked]
        if not own or len(kept) == len(own):
            return stage
        if not kept:
            return None
        assert stage.selection is not None, "every stage of a bench has a selection"
        if short and stage.selection.only is None and len(own) - len(kept) < len(kept):
            left = tuple(self.item(unit) for unit in own if unit not in picked)
            return stage._replace(selection=stage.selection._replace(skip=(*stage.selection.skip, *left)))
        only = tuple(self.item(unit) for unit in kept)
        return stage._replace(selection=stage.selection._replace(only=only, strict=False))

    def item(self, unit: Unit) -> str:
        """Return a unit as an item of ``only`` and ``skip``: by its node, or by what that makes where it must be."""
        place, sequence = unit.place, bool(self.stages[unit.stage].spec.sequence)
        name = place.alias if (unit.stage, place.spec, place.where) in self._shared else place.where
        return name if not sequence else f"{place.spec}@{name}" if place.where else place.spec

    def text(self, chosen: Sequence[Unit], last: int | None = None) -> str:
        """Return the pipeline, to the stage ``last``, with those units alone, as words for ``--passes``.

        What matches only where another match was taken is not named where that is left out: it would be an error.
        """
        end = len(self.stages) if last is None else last + 1
        stages = [self.staged(number, chosen, short=True) for number in range(end)]
        first = next((number for number in range(end) if stages[number] is not self.stages[number]), end)
        if first < min(end, len(self._states)):
            graph = self._states[first].graph.copy()
            stages[first:] = [self._named(graph, stage) for stage in stages[first:]]
        return ",".join(stage.text() for stage in stages if stage is not None)

    def _named(self, graph: Graph, stage: Stage | None) -> Stage | None:
        """Apply a stage to ``graph`` and return it without the items that no match answers to; None for none left."""
        if stage is None or stage.selection is None:
            return stage
        selection = stage.selection
        idle = set(apply_stage(graph, stage._replace(selection=selection._replace(strict=False)), self.catalog).idle)
        only = None if selection.only is None else tuple(item for item in selection.only if item not in idle)
        skip = tuple(item for item in selection.skip if item not in idle)
        return None if only == () else stage._replace(selection=selection._replace(only=only, skip=skip))


def _selected(stage: Stage, held: bool) -> Stage:
    """Return a stage that tells its places, and without ``held`` one that is only measured where it is lossy."""
    spec = stage.spec if held else replace(stage.spec, budget={}, held=False)
    return stage._replace(spec=spec, selection=stage.selection or Selection())


def end_figures(judge: Panel | None) -> Bounded:
    """Compare each output of the latest step with the original's, feed by feed."""
    if judge is None or judge.original is None or judge.before is None:
        return ()
    return tuple(
        {name: compare(before, after) for name, (before, after) in pairs.items()} for _, pairs in judge.pairs()
    )


def _damage(figures: Mapping[str, Figures]) -> tuple[float, float]:
    """Return how far outputs moved on a feed: labels first, then distance."""
    agreed = [found.argmax_agreement for found in figures.values() if found.argmax_agreement is not None]
    return 1.0 - min(agreed, default=1.0), max((found.max_abs for found in figures.values()), default=0.0)


def _bounded(step: Step) -> Bounded:
    """Return the figures of a step that budgets are held to, feed by feed."""
    verdict = step.verdict
    if verdict is None or step.stage.spec.parity not in ("lossy", "float16"):
        return ()
    return tuple(heard.figures for heard in verdict.feeds) or (verdict.figures,)


def _failed(number: int, step: Step, units: Sequence[Unit]) -> Attempt:
    verdict = step.verdict
    over = verdict is not None and verdict.rule == "measured"
    figures = verdict.figures if verdict is not None else {}
    return Attempt("budget" if over else "promise", step.reason, number, figures, tuple(units))
