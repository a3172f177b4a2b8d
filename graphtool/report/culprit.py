"""What ``bisect`` and ``tune`` found, as text and as plain data. Floor 7."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphtool.culprit.bench import Attempt, Bench, Unit
from graphtool.culprit.rank import Measure
from graphtool.errors import show
from graphtool.finding import Bisected, Ranks, Tuning, unit_text
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import Figures
from graphtool.report.data import figures_data
from graphtool.report.figures import figure_text
from graphtool.report.pictures import curve
from graphtool.report.printing import line

_MANY = 40  # matches that are listed one by one


def _head(model: object, bench: Bench) -> None:
    stages = ", ".join(stage.spec.name for stage in bench.stages)
    line(f"{show(model)}: {stages}; feed {'; '.join(feed.text() for feed in bench.feeds)}", "bold")
    for note in bench.notes:
        line(f"note: {note}", "yellow")


def print_bisected(found: Bisected) -> None:
    """Print the culprits of a pipeline, with what they do alone, what is left without them, and the commands."""
    bench, finding = found.bench, found.finding
    whole = finding.whole
    _head(found.request.model, bench)
    if whole.ok:
        line("nothing is broken: every promise" + (" and budget" if bench.budgets else "") + " holds", "green")
        _figures(whole.figures, "  ")
        if not bench.budgets and any(stage.spec.parity == "lossy" for stage in bench.stages):
            line("lossy passes have no promise: give a budget with --min or --max, or --rank their matches", "dim")
        return
    line(broken_text(bench, whole), "bold red")
    if not finding.culprits:
        what = "it breaks without any of its matches too" if finding.candidates else "it has no matches to choose from"
        line(f"the pass as a whole: {what}", "bold")
    for culprit, (shows, _) in zip(finding.culprits, found.commands, strict=True):
        several = len(culprit.units) > 1
        line("needed together:" if several else f"culprit: {unit_text(bench, culprit.units[0])}", "bold")
        for unit in culprit.units if several else ():
            line(f"  {unit_text(bench, unit)}", "bold")
        line(f"  {'they' if several else 'it'} alone: {show(culprit.alone.reason, 300)}")
        if len(finding.culprits) == 1:
            _figures(culprit.alone.figures, "    ")
        line("  without: " + ("holds" if culprit.without.ok else show(culprit.without.reason, 300)))
        if len(finding.culprits) == 1:
            _figures(culprit.without.figures, "    ")
        line(f"  show it: {shows}")
    if finding.culprits:
        if not finding.complete:
            line(f"there are more culprits: without these {len(finding.culprits)} it still breaks", "yellow")
        elif len(finding.culprits) > 1 and finding.rest is not None:
            line("without all of these: holds")
            _figures(finding.rest.figures, "  ")
        if finding.complete:
            line(f"go on without: {found.commands[0][1]}")
        guilty = (bench.stages[unit.stage] for culprit in finding.culprits for unit in culprit.units)
        if whole.kind == "budget" and any(stage.spec.parity == "lossy" for stage in guilty):
            line("graphtool tune, with the same words, finds the most matches that keep the budget", "cyan")
    if not finding.monotone:
        line("not monotone: some sets of matches hold although a part of them breaks it; damages cancel", "yellow")
    line(f"{plural(finding.candidates, 'match')} searched in {plural(finding.runs, 'run')} of the pipeline", "dim")


def broken_text(bench: Bench, whole: Attempt) -> str:
    """Return which pass broke what, and why, in one line."""
    name = bench.stages[whole.stage].spec.name if whole.stage is not None else "the pipeline"
    if whole.kind == "budget":
        return f"{name} is over the budget: {show(whole.reason, 300)}"
    parity = bench.stages[whole.stage].spec.parity if whole.stage is not None else ""
    return f"{name} broke its promise '{parity}': {show(whole.reason, 300)}"


def _figures(figures: Mapping[str, Figures], indent: str) -> None:
    for name, found in figures.items():
        line(f"{indent}{show(name)}: {figure_text(found)}", "dim")


def plural(count: int, what: str) -> str:
    """Return a count and what is counted: ``1 match``, ``2 matches``."""
    return f"{count} {what}{'' if count == 1 else 'es' if what.endswith('ch') else 's'}"


def print_ranks(found: Ranks) -> None:
    """Print each lossy match with what it costs alone and what is left without it, the most damaging first."""
    bench, ranking = found.bench, found.ranking
    measure = ranking.measure
    _head(found.request.model, bench)
    where = f" of output {show(measure.output)}" if measure.output is not None else ""
    line(f"all {len(ranking.rows)} matches: {value_text(measure, ranking.whole)}{where}", "bold")
    width = max(len(unit_text(bench, row.unit)) for row in ranking.rows)
    for row in ranking.rows:
        name = unit_text(bench, row.unit)
        costs, without = cost_text(measure, row.alone), value_text(measure, row.without)
        line(f"  {name:<{width}}  alone costs {costs}; without it {without}")
    line(f"{plural(ranking.runs, 'run')} of the pipeline", "dim")
    _drawn(bench.feeds[0])


def _drawn(feed: Feed) -> None:
    if "seed" in feed.recipe:
        line("figures are those of this feed, drawn at random: they measure change, not accuracy", "dim")


def value_text(measure: Measure, attempt: Attempt) -> str:
    """Return what was measured of an attempt, or that it is broken."""
    if not attempt.ok:
        return f"broken ({show(attempt.reason, 200)})"
    return f"{measure.metric} {measure.of(attempt):.6g}"


def cost_text(measure: Measure, attempt: Attempt) -> str:
    """Return what an attempt lost against the original: ``3.5 points of argmax_agreement``."""
    if not attempt.ok:
        return f"a broken promise ({show(attempt.reason, 200)})"
    damage = measure.damage(attempt)
    if damage in (0, -math.inf):
        return "nothing"
    if measure.is_level:
        return f"all but {measure.metric} {-damage:.4g} dB"
    return f"{100 * damage:.3g} points of {measure.metric}" if measure.is_share else f"{measure.metric} {damage:.4g}"


def print_tuned(found: Tuning) -> None:
    """Print which matches were taken, how that holds on the other feeds, and how to run it."""
    bench, tuned = found.bench, found.tuned
    _head(found.request.model, bench)
    _order(found)
    for item in tuned.dropped:
        where = found.feeds[item.held_out].text()
        line(f"given back: {unit_text(bench, item.unit)}: on {where} {show(item.reason, 200)}", "yellow")
    line(f"{len(tuned.taken)} of {len(tuned.order)} matches: {value_text(tuned.measure, tuned.result)}", "bold")
    for feed, attempt in zip(found.feeds, tuned.held_out, strict=True):
        line(f"  held out, {feed.text()}: {value_text(tuned.measure, attempt)}")
    if not found.feeds:
        line("  not verified on other feeds: name some with --held-out", "yellow")
    line(f"pipeline: {tuned.text or '(no pass is left)'}", "bold")
    if tuned.text:
        line(f"run it: {found.command}")
    if found.path is not None:
        line(f"wrote {show(found.path)}: graphtool run --profile {show(found.path)} {show(found.request.model)}")
    line(f"{plural(tuned.runs, 'run')} of the pipeline", "dim")
    _drawn(bench.feeds[0])


def _order(found: Tuning) -> None:
    """Print each match, what it does alone, and whether it was taken; of many only those that were not."""
    bench, tuned = found.bench, found.tuned
    taken = set(tuned.taken)
    if not tuned.alone and len(taken) == len(tuned.order):
        line("all of them together keep the budget: none was run by itself")
        return
    line("matches, the least damaging first:" if tuned.alone else "matches, in the order of the passes:")
    many = len(tuned.order) > _MANY
    shown = [number for number, unit in enumerate(tuned.order) if not many or unit not in taken]
    width = max((len(unit_text(bench, tuned.order[number])) for number in shown), default=0)
    if many and taken:
        line(f"  {len(taken)} that were taken are not listed; --json has them", "dim")
    for number in shown:
        unit = tuned.order[number]
        alone = f"  {damage_text(tuned.measure, tuned.alone[number])} alone" if tuned.alone else ""
        mark, style = ("taken", "green") if unit in taken else ("left out", "yellow")
        line(f"  {unit_text(bench, unit):<{width}}{alone}  {mark}", style)


def damage_text(measure: Measure, damage: float) -> str:
    """Return a damage as a cell of a column."""
    if measure.is_share:
        return f"{100 * damage:8.4f} points"
    return f"{measure.metric} {-damage if measure.is_level else damage:9.4g}"


def plot_tuned(found: Tuning, path: Path) -> None:
    """Draw the measured value against the number of matches taken, the least damaging first; the budget is a line."""
    tuned = found.tuned
    first = found.budgets[0]
    curve(
        path,
        [(float(count), value) for count, value in enumerate(tuned.curve)],
        title=f"{found.request.model.name}: {', '.join(stage.spec.name for stage in found.bench.stages)}",
        x_label="matches taken, the least damaging first",
        y_label=tuned.measure.metric,
        limit=first.bound,
        chosen=len(tuned.taken) if set(tuned.taken) == set(tuned.order[: len(tuned.taken)]) else None,
    )


# -- plain data


def _attempt_data(attempt: Attempt) -> dict[str, Any]:
    return {
        "ok": attempt.ok,
        "kind": attempt.kind,
        "reason": attempt.reason,
        "figures": {name: figures_data(found) for name, found in attempt.figures.items()},
    }


def _unit_data(bench: Bench, unit: Unit) -> dict[str, Any]:
    stage = bench.stages[unit.stage]
    return {"stage": stage.spec.name, "pass": unit.place.spec, "where": unit.place.where, "item": bench.item(unit)}


def _units(bench: Bench, units: tuple[Unit, ...]) -> list[dict[str, Any]]:
    return [_unit_data(bench, unit) for unit in units]


def _common(found: Bisected | Ranks | Tuning) -> dict[str, Any]:
    stages = [stage.text() for stage in found.bench.stages]
    return {
        "model": str(found.request.model),
        "passes": stages,
        "feeds": [feed.recipe for feed in found.bench.feeds],
        "notes": found.bench.notes,
    }


def bisected_data(found: Bisected) -> dict[str, Any]:
    """Return what bisect found; keys are part of the interface."""
    finding, bench = found.finding, found.bench
    whole = finding.whole
    return {
        **_common(found),
        "ok": whole.ok,
        "broken": bench.stages[whole.stage].spec.name if whole.stage is not None else None,
        "whole": _attempt_data(whole),
        "culprits": [
            {
                "units": _units(bench, culprit.units),
                "alone": _attempt_data(culprit.alone),
                "without": _attempt_data(culprit.without),
                "reproduce": shows,
                "leave_out": without,
            }
            for culprit, (shows, without) in zip(finding.culprits, found.commands, strict=True)
        ],
        "complete": finding.complete,
        "monotone": finding.monotone,
        "searched": finding.candidates,
        "runs": finding.runs,
    }


def ranks_data(found: Ranks) -> dict[str, Any]:
    """Return a ranking; keys are part of the interface."""
    ranking, bench = found.ranking, found.bench
    return {
        **_common(found),
        "metric": ranking.measure.metric,
        "output": ranking.measure.output,
        "whole": _attempt_data(ranking.whole),
        "matches": [
            {
                "unit": _unit_data(bench, row.unit),
                "alone": _attempt_data(row.alone),
                "without": _attempt_data(row.without),
            }
            for row in ranking.rows
        ],
        "runs": ranking.runs,
    }


def tuned_data(found: Tuning) -> dict[str, Any]:
    """Return a tuned pipeline; keys are part of the interface."""
    tuned, bench = found.tuned, found.bench
    return {
        **_common(found),
        "metric": tuned.measure.metric,
        "output": tuned.measure.output,
        "budgets": [budget.text() for budget in found.budgets],
        "order": _units(bench, tuned.order),
        "alone": list(tuned.alone),
        "taken": _units(bench, tuned.taken),
        "given_back": [
            {"unit": _unit_data(bench, d.unit), "held_out": d.held_out, "reason": d.reason} for d in tuned.dropped
        ],
        "result": _attempt_data(tuned.result),
        "held_out": list(_held_out(found)),
        "pipeline": tuned.text,
        "command": found.command,
        "profile": str(found.path) if found.path is not None else None,
        "curve": list(tuned.curve),
        "runs": tuned.runs,
    }


def _held_out(found: Tuning) -> Iterator[dict[str, Any]]:
    for feed, attempt in zip(found.feeds, found.tuned.held_out, strict=True):
        yield {"feed": feed.recipe, **_attempt_data(attempt)}
