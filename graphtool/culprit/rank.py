"""What each match of a lossy pass costs by itself, and what is left without it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphtool.culprit.bench import Attempt, Bench, Unit
from graphtool.errors import PromiseError, UsageError
from graphtool.parity.budget import METRICS, Budget
from graphtool.parity.metrics import Figures


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric, of one output or (None) of the worst of all that have it, after each lossy step and at the end."""

    metric: str
    output: str | None = None

    @property
    def is_share(self) -> bool:
        """Whether the metric is 1 where nothing changed, such as cosine and agreement."""
        return METRICS[self.metric][0] == "min" and not self.is_level

    @property
    def is_level(self) -> bool:
        """Whether the metric is in decibels, infinite where nothing changed; what is neither is a distance."""
        return self.metric in ("snr", "psnr")

    def of(self, attempt: Attempt) -> float:
        """Return the metric's worst value in all that budgets are held to; raises UsageError where no output has it."""
        read = METRICS[self.metric][1]
        outputs = (item for figures in attempt.bounded for item in figures.items())
        values = [value for name, f in outputs if self.output in (None, name) and (value := read(f)) is not None]
        if not values:
            raise UsageError(f"no output to compare has the metric {self.metric}")
        return min(values) if METRICS[self.metric][0] == "min" else max(values)

    def damage(self, attempt: Attempt) -> float:
        """Return how much is lost: 0 where nothing is (minus infinity in decibels), infinite for a broken promise."""
        if not attempt.ok:
            return math.inf
        value = self.of(attempt)
        return 1.0 - value if self.is_share else -value if self.is_level else value


def measure_for(budgets: Sequence[Budget], figures: Mapping[str, Figures]) -> Measure:
    """Return what damage is measured in: the first budget's metric, else agreement of classes or labels, or cosine."""
    whole = [budget for budget in budgets if not budget.scope]
    if whole:
        return Measure(whole[0].metric, whole[0].output)
    maps = any(found.argmax_agreement is not None for found in figures.values())
    labels = bool(figures) and all(found.agreement is not None for found in figures.values())
    return Measure("argmax_agreement" if maps else "agreement" if labels else "cosine")


@dataclass(frozen=True, slots=True)
class Ranked:
    """One match: the pipeline with it as the only one of the lossy passes, and with all but it."""

    unit: Unit
    alone: Attempt
    without: Attempt


@dataclass(frozen=True, slots=True)
class Ranking:
    """The matches of the lossy passes of a pipeline, the most damaging first; ``whole`` is the pipeline as given."""

    measure: Measure
    whole: Attempt
    rows: tuple[Ranked, ...]
    runs: int


def lossy_units(bench: Bench) -> tuple[Unit, ...]:
    """Return what the lossy passes did; raises PromiseError where a promise broke, UsageError where they did nothing.

    The bench must have no budgets.
    """
    whole = bench.whole
    if not whole.ok:
        name = bench.stages[whole.stage].spec.name if whole.stage is not None else "the pipeline"
        raise PromiseError(f"{name} broke its promise: {whole.reason}; graphtool bisect without --rank finds the match")
    found = tuple(u for u in whole.units if bench.stages[u.stage].spec.parity == "lossy")
    if not found:
        lossy = [stage.spec.name for stage in bench.stages if stage.spec.parity == "lossy"]
        what = f"{', '.join(lossy)} matched nothing" if lossy else "no pass of the pipeline is lossy"
        raise UsageError(f"{what}: there are no matches to choose from")
    return found


def damage_alone(bench: Bench, units: Sequence[Unit]) -> dict[Unit, Attempt]:
    """Return the pipeline with each of ``units`` as the only one of them."""
    others = [unit for unit in bench.whole.units if unit not in set(units)]
    return {unit: bench.run([*others, unit]) for unit in units}


def rank(bench: Bench, budgets: Sequence[Budget]) -> Ranking:
    """Rank the matches of the lossy passes by the damage that each does alone: two runs a match.

    Ties keep the order in which the passes applied them. Raises what :func:`lossy_units` does.
    """
    units = lossy_units(bench)
    measure = measure_for(budgets, bench.whole.figures)
    alone = damage_alone(bench, units)
    rows = [
        Ranked(unit, alone[unit], bench.run([other for other in bench.whole.units if other != unit])) for unit in units
    ]
    rows.sort(key=lambda row: -measure.damage(row.alone))
    return Ranking(measure, bench.whole, tuple(rows), bench.count)
