"""Which pass of a pipeline breaks a promise or a budget, and which of its matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphtool.culprit.bench import Attempt, Bench, Unit
from graphtool.culprit.search import Probe, failing_sets

MOST = 8  # culprits that are looked for, one after the other


@dataclass(frozen=True, slots=True)
class Culprit:
    """Matches that break it, and none of which can be left out: one, or several that are needed together.

    ``alone`` is the pipeline with these matches alone, ``without`` the one with all but these.
    """

    units: tuple[Unit, ...]
    alone: Attempt
    without: Attempt


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    ``whole`` is the pipeline as it was given; there are no ``culprits`` where that holds, or where it fails without any
    of its matches too. ``complete`` says that what is left without the culprits holds. ``monotone`` is False where a
    set of matches was seen to hold although a part of it fails: damages that cancel each other out. ``runs`` counts
    pipelines that were applied and judged, ``candidates`` the matches that were searched.
    """

    whole: Attempt
    culprits: tuple[Culprit, ...] = ()
    rest: Attempt | None = None
    complete: bool = True
    monotone: bool = True
    candidates: int = 0
    runs: int = 0


def bisect(bench: Bench, most: int = MOST) -> Finding:
    """Search the matches of the stage that broke its promise, or those of all stages that a budget is about."""
    whole = bench.whole
    if whole.ok:
        return Finding(whole, runs=bench.count)
    kept, items = _candidates(bench, whole)
    attempts: dict[tuple[Unit, ...], Attempt] = {}

    def tried(chosen: Sequence[Unit]) -> Attempt:
        picked = set(chosen) | set(kept)
        key = tuple(unit for unit in whole.units if unit in picked)
        if key not in attempts:
            attempts[key] = bench.run(key)
        return attempts[key]

    attempts[whole.units] = whole
    test = Probe(items, lambda chosen: not tried(chosen).ok)
    if not items or test(()):
        return Finding(whole, candidates=len(items), runs=bench.count)
    sets, complete = failing_sets(items, test, most)
    culprits = []
    for units in sets:
        others = tuple(item for item in items if item not in units)
        culprits.append(Culprit(units, tried(units), tried(others)))
    guilty = {unit for units in sets for unit in units}
    rest = tried(tuple(item for item in items if item not in guilty))
    return Finding(whole, tuple(culprits), rest, complete, test.is_monotone, len(items), bench.count)


def _candidates(bench: Bench, whole: Attempt) -> tuple[list[Unit], list[Unit]]:
    """Return the units that stay, and those that are searched.

    A promise is about one stage. A budget is about what all stages did to the numbers, but for those that were held to
    change none.
    """
    if whole.kind == "promise":
        items = [unit for unit in whole.units if unit.stage == whole.stage]
    else:
        items = [unit for unit in whole.units if bench.stages[unit.stage].spec.parity != "exact"]
    searched = set(items)
    return [unit for unit in whole.units if unit not in searched], items


__all__ = ["MOST", "Culprit", "Finding", "bisect"]
