"""The rules of the parity classes: outputs of the graph after a pass against those of the graphs before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import GraphtoolError, quoted
from graphtool.parity.budget import Budget, broken, own_budgets
from graphtool.parity.double import NoTruth
from graphtool.parity.metrics import Figures, compare, equal, lost
from graphtool.parity.ties import loose_labels
from graphtool.parity.tolerance import close_tolerance, least_tolerance
from graphtool.parity.truth import MatchTruth
from graphtool.parity.verdict import Reference, Verdict
from graphtool.rewrite.passfile import Pass

Array = NDArray[Any]
Arrays = Mapping[str, Array]
_CHUNK = 1 << 18  # elements of an output that are cast at a time
# holds each match of a pass against double precision; NoTruth where that cannot be done
Truths = Callable[[], Sequence[MatchTruth]]


@dataclass(frozen=True, slots=True)
class Standing:
    """The graphs that a step is judged against: the original, the start of the segment, the step before."""

    original: Reference
    start: Reference
    before: Reference

    def against(self, parity: str) -> Reference:
        """Return the one that a class is held to."""
        return {"exact": self.before, "float16": self.before, "lossy": self.original}.get(parity, self.start)


def by_class(
    standing: Standing, spec: Pass, outputs: Arrays, budgets: Sequence[Budget], truths: Truths, always: bool = False
) -> Verdict:
    """Judge the ``outputs`` after ``spec``; with ``always`` a ``close`` pass is held to the second rule in any case."""
    reference = standing.against(spec.parity)
    pairs, notes = {}, []
    for name, array in outputs.items():
        was = reference.output(name)
        if was is None:  # an inner tensor that the reference does not have: the step before has it
            was = standing.before.output(name)
        if was is None:
            return Verdict(False, "not run", reference.name, reason=f"nothing to compare output {quoted(name)} with")
        if was.shape != array.shape:
            shapes = f"{list(was.shape)} before, {list(array.shape)} after"
            if spec.parity == "lossy" and "shapes" in spec.interface:
                notes.append(f"output {quoted(name)} is not compared: it has another shape, {shapes}")
                continue
            return Verdict(False, "shape", reference.name, reason=f"output {quoted(name)} changed its shape: {shapes}")
        pairs[name] = (was, array)
    figures = {name: compare(was, now) for name, (was, now) in pairs.items()}
    match spec.parity:
        case "exact" | "float16":
            verdict = _equal_verdict(spec.parity, reference.name, pairs, figures)
        case "lossy":
            step = _since_before(standing, outputs)
            verdict = Verdict(True, "measured", reference.name, figures, step=step, notes=tuple(notes))
        case _:
            verdict = _close(standing.start, pairs, figures, truths, always)
    if not verdict.ok:
        return verdict
    reasons = []
    if spec.parity in ("lossy", "float16"):
        given = [b for b in budgets if b.scope in ("", spec.name) and (b.output is None or b.output in figures)]
        reasons = broken([*given, *own_budgets(spec.budget, given, figures)], figures)
        gone = {name: count for name, (was, now) in pairs.items() if spec.held and (count := lost(was, now))}
        reasons += (f"output {quoted(name)}: {count} numbers became infinite or NaN" for name, count in gone.items())
    if any(budget.scope == spec.name for budget in budgets):
        step = figures if reference is standing.before else _since_before(standing, outputs) or figures
        reasons += broken(budgets, step, spec.name)
    return replace(verdict, ok=False, rule="measured", reason=reasons[0]) if reasons else verdict


def _since_before(standing: Standing, outputs: Arrays) -> dict[str, Figures]:
    if standing.before.outputs is standing.original.outputs:
        return {}
    pairs = {name: (standing.before.output(name), array) for name, array in outputs.items()}
    return {n: compare(a, b) for n, (a, b) in pairs.items() if a is not None and a.shape == b.shape}


def _equal_verdict(
    parity: str, against: str, pairs: Mapping[str, tuple[Array, Array]], figures: Mapping[str, Figures]
) -> Verdict:
    rule = "equal" if parity == "exact" else "cast"
    for name, (was, now) in pairs.items():
        if was.dtype != now.dtype and was.dtype.kind == "f" and now.dtype.kind in "fV":
            over = _overflows(was, now.dtype)
            if over:
                reason = f"{over} values of output {quoted(name)} do not fit {now.dtype}: they become infinite"
                return Verdict(False, rule, against, figures, reason=reason)
            if np.isnan(was).any():
                return Verdict(False, rule, against, figures, reason=f"output {quoted(name)} has NaN")
        if not _equal_as(was, now) or (was.dtype.kind in "iu" and not np.array_equal(was, now)):
            found = figures[name]
            reason = (
                f"output {quoted(name)}: {found.changed} of {found.count} values differ, by up to {found.max_abs:.3g}"
            )
            return Verdict(False, rule, against, figures, reason=reason)
    return Verdict(True, rule, against, figures)


def _overflows(was: Array, dtype: np.dtype[Any]) -> int:
    """Return how many finite numbers become infinite as ``dtype``."""
    return sum(
        int(np.count_nonzero(np.isfinite(some) & ~np.isfinite(_cast(some, dtype).astype(np.float64))))
        for some in _chunks(was)
    )


def _equal_as(was: Array, now: Array) -> bool:
    """Whether ``now`` is ``was`` in its own type; the cast of a large output is made in small pieces."""
    if was.dtype == now.dtype or was.dtype.hasobject or now.dtype.hasobject:
        return equal(_cast(was, now.dtype), now)
    return all(equal(_cast(a, now.dtype), b) for a, b in zip(_chunks(was), _chunks(now), strict=True))


def _cast(array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return array if array.dtype == dtype else array.astype(dtype)


def _chunks(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    return (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))


# -- close


def _close(
    start: Reference,
    pairs: Mapping[str, tuple[Array, Array]],
    figures: Mapping[str, Figures],
    truths: Truths,
    always: bool,
) -> Verdict:
    against, own = start.name, start.own_name
    if all(found.changed == 0 for found in figures.values()):
        return Verdict(True, "equal", against, figures)
    tolerance = {name: least_tolerance(start.graph, own.get(name, name), was) for name, (was, _) in pairs.items()}
    if any(figures[name].max_abs > allowed for name, allowed in tolerance.items()):
        if start.tolerance is None:
            start.tolerance = close_tolerance(start.graph, start.feed, start.outputs)
        known = start.tolerance
        tolerance = {name: known.get(own.get(name, name), least) for name, least in tolerance.items()}
    over = [name for name, allowed in tolerance.items() if figures[name].max_abs > allowed]
    ties = _ties(start, {name: pairs[name] for name in over if not tolerance[name]})
    over = [name for name in over if name not in ties]
    if not over:
        notes = tuple(
            f"output {quoted(n)}: {count} labels fell to the other side of a tie" for n, count in ties.items()
        )
        verdict = Verdict(True, "noise", against, figures, tolerance=tolerance, notes=notes)
        return by_truth(truths, replace(verdict, ok=False)) if always else verdict
    worst = max(over, key=lambda name: figures[name].max_abs / max(tolerance[name], 5e-324))
    found = figures[worst]
    if tolerance[worst]:
        reason = f"output {quoted(worst)}: error {found.max_abs / tolerance[worst]:.3g} times what noise explains"
    else:  # labels, masks: a tie may fall to the other side, which only the truth of each match can tell
        reason = f"output {quoted(worst)}: {found.changed} of {found.count} values changed"
    return by_truth(truths, Verdict(False, "noise", against, figures, {}, reason, tolerance))


def _ties(start: Reference, labels: Mapping[str, tuple[Array, Array]]) -> dict[str, int]:
    """Return those label outputs that changed only where noise may flip a label, and at how many positions."""
    names = {start.own_name.get(name, name): name for name in labels}
    known = {own: start.outputs[own] for own in names if own in start.outputs}
    found = {}
    for own, loose in (loose_labels(start.graph, start.feed, known) if known else {}).items():
        was, now = labels[names[own]]
        flipped = was != now
        if not np.any(flipped & ~loose.at) and int(flipped.sum()) <= loose.count:
            found[names[own]] = int(flipped.sum())
    return found


def by_truth(truths: Truths, verdict: Verdict) -> Verdict:
    """Return ``verdict``, which did not accept, as the second rule of ``close`` has it."""
    try:
        found = tuple(truths())
        if not found:  # what changed the numbers is none of its matches
            raise NoTruth("nothing is recorded of its matches")
    except (NoTruth, GraphtoolError) as error:
        return replace(verdict, reason=_joined(verdict.reason, f"not judged in double precision: {error}"))
    bad = [truth for truth in found if not truth.ok]
    if bad:
        worst = max(bad, key=lambda truth: truth.after / max(truth.allowed, 5e-324))
        distance = f"{worst.after:.3g} from the truth, where it was {worst.before:.3g} before"
        reason = _joined(verdict.reason, f"{quoted(worst.where)} is {distance}")
        return replace(verdict, reason=reason, truths=found)
    notes = (verdict.reason,) if verdict.reason else ()
    return replace(verdict, ok=True, rule="truth", reason="", truths=found, notes=notes)


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
