"""A pipeline applied with some of its matches, again and again, judged on one feed each time.

The original is run once, and so are the stages before the first that differs: an attempt goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphtool import pipeline
from graphtool.errors import GraphtoolError
from graphtool.graph import Graph
from graphtool.parity.budget import Budget, broken
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import Figures, compare
from graphtool.parity.panel import Panel
from graphtool.pipeline import Run, Step
from graphtool.rewrite import Catalog, Stage
from graphtool.rewrite.selection import Place, Selection

Watch = Callable[[str], None]


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
    with the original's; they are those of the broken step where there is one. ``bounded`` are all that a budget is held
    to: the figures after each lossy or float16 step, then those at the end.
    """

    kind: str = ""
    reason: str = ""
    stage: int | None = None
    figures: Mapping[str, Figures] = field(default_factory=dict)
    units: tuple[Unit, ...] = ()
    bounded: tuple[Mapping[str, Figures], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every promise and budget held."""
        return not self.kind

    def over(self, budgets: Sequence[Budget]) -> str:
        """Return why the budgets do not hold, after a step or at the end as in a run; an empty string where they do."""
        *steps, end = self.bounded or ({},)
        for figures in steps:
            reasons = broken([b for b in budgets if b.output is None or b.output in figures], figures)
            if reasons:
                return reasons[0]
        return next(iter(broken(budgets, end)), "")


class Bench:
    """Runs of one pipeline on one model and feed. ``count`` is how many pipelines were applied and judged.

    Raises what :func:`graphtool.pipeline.begin` does.
    """

    def __init__(
        self,
        graph: Graph,
        stages: Sequence[Stage],
        catalog: Catalog,
        feed: Feed,
        budgets: Sequence[Budget] = (),
        truth: bool = False,
        watch: Watch = lambda _: None,
    ) -> None:
        self.stages = [replace(stage, selection=stage.selection or Selection()) for stage in stages]
        self.catalog = catalog
        self.budgets = tuple(budgets)
        self.watch = watch
        self.count = 0
        watch("running the original, twice")
        self._states: list[Run] = [pipeline.begin(graph, self.stages, catalog, feed, budgets, truth)]
        self._figures: list[Mapping[str, Figures] | None] = []  # those that a budget is held to, by stage
        self.whole = self._forward()

    @property
    def notes(self) -> list[str]:
        """What there is to say of the model itself."""
        return self._states[0].notes

    def _forward(self) -> Attempt:
        """Apply the whole pipeline, keeping the state after each stage."""
        self.count += 1
        units: list[Unit] = []
        for number, stage in enumerate(self.stages):
            self.watch(f"pass {stage.spec.name}")
            state = pipeline.fork(self._states[-1], [stage])
            step = next(iter(pipeline.advance(state, self.catalog)))
            units += [Unit(number, place) for place in step.places]
            if step.status == "broken":
                return _failed(number, step, units)
            self._states.append(state)
            self._figures.append(_bounded(step))
        return self._ended(self._states[-1], units, self.budgets, self._figures)

    @staticmethod
    def _ended(
        state: Run,
        units: Sequence[Unit],
        budgets: Sequence[Budget],
        steps: Sequence[Mapping[str, Figures] | None],
    ) -> Attempt:
        figures = whole_figures(state.judge)
        reasons = broken(budgets, figures)
        bounded = (*(found for found in steps if found is not None), figures)
        reason = reasons[0] if reasons else ""
        return Attempt("budget" if reasons else "", reason, None, figures, tuple(units), bounded)

    def run(self, chosen: Sequence[Unit]) -> Attempt:
        """Apply the stages up to the one that failed (all, where none did) with those units alone."""
        last = len(self.stages) if self.whole.stage is None else self.whole.stage + 1
        picked = [self.staged(number, chosen) for number in range(last)]
        first = next((n for n in range(last) if picked[n] is not self.stages[n]), last)
        first = min(first, len(self._states) - 1)
        self.count += 1
        self.watch(f"run {self.count}: {len(chosen)} of {len(self.whole.units)} matches")
        state = self._states[first]
        steps = self._figures[:first]
        for number in range(first, last):
            stage = picked[number]
            if stage is None:
                continue
            state = pipeline.fork(state, [stage])
            try:
                step = next(iter(pipeline.advance(state, self.catalog)))
            except GraphtoolError as error:  # a pass that cannot stand that only some of it is done
                return Attempt("error", str(error), number, {}, tuple(chosen))
            if step.status == "broken":
                return _failed(number, step, chosen)
            steps.append(_bounded(step))
        # before the last stage outputs may have other names than at the end
        budgets = [b for b in self.budgets if last == len(self.stages) or b.output is None]
        return self._ended(state, chosen, budgets, steps)

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
        if short and len(own) - len(kept) < len(kept):
            left = tuple(self.item(unit) for unit in own if unit not in picked)
            return replace(stage, selection=replace(stage.selection, skip=(*stage.selection.skip, *left)))
        only = tuple(self.item(unit) for unit in kept)
        return replace(stage, selection=replace(stage.selection, only=only, strict=False))

    def item(self, unit: Unit) -> str:
        """Return a unit as an item of ``only`` and ``skip``: by its node, or by what that makes where it must be."""
        place, sequence = unit.place, bool(self.stages[unit.stage].spec.sequence)
        same = [u for u in self.whole.units if (u.stage, u.place.spec, u.place.where) == (unit.stage, *_key(place))]
        name = place.where if len(same) == 1 else place.alias
        return name if not sequence else f"{place.spec}@{name}" if place.where else place.spec

    def text(self, chosen: Sequence[Unit], last: int | None = None) -> str:
        """Return the pipeline, to the stage ``last``, with those units alone, as words for ``--passes``."""
        end = len(self.stages) if last is None else last + 1
        stages = (self.staged(number, chosen, short=True) for number in range(end))
        return ",".join(stage.text() for stage in stages if stage is not None)


def _key(place: Place) -> tuple[str, str]:
    return place.spec, place.where


def whole_figures(judge: Panel | None) -> dict[str, Figures]:
    """Compare each output of the latest step with the original's, where they have one shape."""
    found: dict[str, Figures] = {}
    if judge is None or judge.original is None or judge.before is None:
        return found
    for name, after in judge.outputs().items():
        before = judge.original.output(name)
        if before is not None and before.shape == after.shape:
            found[name] = compare(before, after)
    return found


def _bounded(step: Step) -> Mapping[str, Figures] | None:
    """Return the figures of a step that budgets are held to."""
    held = step.stage.spec.parity in ("lossy", "float16")
    return step.verdict.figures if held and step.verdict is not None else None


def _failed(number: int, step: Step, units: Sequence[Unit]) -> Attempt:
    verdict = step.verdict
    over = verdict is not None and verdict.rule == "measured"
    figures = verdict.figures if verdict is not None else {}
    return Attempt("budget" if over else "promise", step.reason, number, figures, tuple(units))
