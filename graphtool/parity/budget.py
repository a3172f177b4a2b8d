"""Budgets: the bounds that a user sets on figures.

``--min argmax_agreement=0.85``, ``--max 794:max_abs=1e-3`` for one output, ``--min resize_nearest/794:cosine=0.99`` for
what one pass does to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graphtool.errors import UsageError, did_you_mean, quoted
from graphtool.parity.metrics import Figures

Kind = Literal["min", "max"]

# name -> the side from which it is bounded, and where to find it
METRICS: dict[str, tuple[Kind, Callable[[Figures], float | None]]] = {
    "max_abs": ("max", lambda f: f.max_abs),
    "mean_abs": ("max", lambda f: f.mean_abs),
    "median_abs": ("max", lambda f: f.abs.median),
    "q90_abs": ("max", lambda f: f.abs.q90),
    "q99_abs": ("max", lambda f: f.abs.q99),
    "q999_abs": ("max", lambda f: f.abs.q999),
    "max_rel": ("max", lambda f: f.max_rel),
    "mean_rel": ("max", lambda f: f.rel.mean),
    "median_rel": ("max", lambda f: f.rel.median),
    "q90_rel": ("max", lambda f: f.rel.q90),
    "q99_rel": ("max", lambda f: f.rel.q99),
    "q999_rel": ("max", lambda f: f.rel.q999),
    "cosine": ("min", lambda f: f.cosine),
    "snr": ("min", lambda f: f.snr),
    "psnr": ("min", lambda f: f.psnr),
    "agreement": ("min", lambda f: f.agreement),
    "argmax_agreement": ("min", lambda f: f.argmax_agreement),
    "top5_agreement": ("min", lambda f: f.top5_agreement),
    "miou": ("min", lambda f: f.miou),
}
_DECIBEL = ("snr", "psnr")
_NEEDS = {  # any other: a class map
    "agreement": "whole numbers or truth values, such as labels",
    "top5_agreement": "class scores [N,C] of more than five classes",
}


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on one metric of one output (``output``), or of every output (None).

    With ``scope``, the name of a pass, it bounds what that pass alone changes: the graph after it against the graph
    before it. Without, what has changed since the original: after each lossy pass and at the end.
    """

    metric: str
    bound: float
    output: str | None
    kind: Kind
    own: bool = False  # the pass's, not the user's
    scope: str = ""

    def text(self) -> str:
        """Return the budget as the words of a command line, such as ``--min 794:cosine=0.99``."""
        return f"--{self.kind} {self.where()}{self.metric}={self.bound:g}"

    def where(self) -> str:
        """Return what stands before the metric: ``resize_nearest/794:``."""
        return (f"{self.scope}/" if self.scope else "") + ("" if self.output is None else f"{self.output}:")


def parse_budget(text: str, kind: Kind, passes: Container[str] = ()) -> Budget:
    """Return the budget written ``[PASS/][OUTPUT:]METRIC=NUMBER``, given with ``--min`` or ``--max`` (``kind``).

    An output's name may hold colons, slashes and equals signs; what is before the first slash is a pass only if it is
    one of ``passes``. Raises UsageError.
    """
    where = f"--{kind} {quoted(text)[1:-1]}"
    left, equals, number = text.rpartition("=")
    if not equals:
        raise UsageError(f"{where}: expected METRIC=NUMBER or OUTPUT:METRIC=NUMBER, such as cosine=0.99")
    scope, slash, rest = left.partition("/")
    scope, left = (scope, rest) if slash and scope in passes else ("", left)
    output, colon, metric = left.rpartition(":")
    if not colon and "/" in metric and metric.rpartition("/")[2] in METRICS:
        raise UsageError(f"{where}: {quoted(metric.rpartition('/')[0])} is no pass of this pipeline")
    if metric not in METRICS:
        raise UsageError(
            f"{where}: unknown metric {quoted(metric)}{did_you_mean(metric, METRICS)}  (one of {', '.join(METRICS)})"
        )
    if colon and not output:
        raise UsageError(f"{where}: no output is named before the colon")
    right = METRICS[metric][0]
    if kind != right:
        side = "small: bound it from above" if right == "max" else "large: bound it from below"
        raise UsageError(f"{where}: a good {metric} is {side}, with --{right}")
    try:
        bound = float(number)
    except ValueError:
        raise UsageError(f"{where}: {quoted(number)} is not a number") from None
    if not math.isfinite(bound):
        raise UsageError(f"{where}: {quoted(number)} is not a finite number")
    lowest, highest = (0.0, math.inf) if kind == "max" else (-1.0 if metric == "cosine" else 0.0, 1.0)
    if metric in _DECIBEL:
        lowest, highest = -math.inf, math.inf
    if not lowest <= bound <= highest:
        limits = "is never negative" if kind == "max" else f"lies between {lowest:g} and 1"
        raise UsageError(f"{where}: {metric} {limits}")
    return Budget(metric, bound, output if colon else None, kind, scope=scope)


def check(budget: Budget, output: str, figures: Figures) -> str | None:
    """Return why ``budget`` does not hold for this output, or None. Raises UsageError where the metric has no value."""
    if budget.output is not None and budget.output != output:
        return None
    value = METRICS[budget.metric][1](figures)
    if value is None:
        hint = f"; name the output that has: --{budget.kind} OUTPUT:{budget.metric}=" if budget.output is None else ""
        needs = _NEEDS.get(budget.metric, "a class map")
        raise UsageError(f"{budget.metric} is only known for {needs}, and output {quoted(output)} is none{hint}")
    holds = value <= budget.bound if budget.kind == "max" else value >= budget.bound
    if holds:
        return None
    relation = "above" if budget.kind == "max" else "below"
    whose = f" for {budget.scope} alone" if budget.scope else ""
    whose = f" of the pass; --{budget.kind} {budget.metric}=X sets another" if budget.own else whose
    said, bound = f"{value:.6g}", f"{budget.bound:g}"
    if said == bound:  # they differ in a later digit
        said, bound = repr(float(value)), repr(budget.bound)
    return f"output {quoted(output)}: {budget.metric} {said} is {relation} the budget {bound}{whose}"


def own_budgets(bounds: Mapping[str, float], given: Sequence[Budget], figures: Mapping[str, Figures]) -> list[Budget]:
    """Return the bounds of a pass by output: where that has the metric, and the user has not bounded it."""
    return [
        Budget(metric, bound, output, METRICS[metric][0], own=True)
        for metric, bound in bounds.items()
        for output, found in figures.items()
        if METRICS[metric][1](found) is not None
        and not any(b.metric == metric and b.output in (None, output) for b in given)
    ]


def broken(budgets: Iterable[Budget], figures: Mapping[str, Figures], scope: str = "") -> list[str]:
    """Return why the budgets of a ``scope`` do not hold for these outputs, one reason each; an empty list: all hold.

    Raises UsageError for a budget whose output does not exist or has no such metric: a bound that cannot be checked
    must not pass in silence.
    """
    reasons = []
    for budget in budgets:
        if budget.scope != scope:
            continue
        if budget.output is not None and budget.output not in figures:
            raise UsageError(
                f"--{budget.kind}: no output named {quoted(budget.output)}{did_you_mean(budget.output, figures)}"
                f"  (outputs: {', '.join(map(quoted, figures))})"
            )
        for output, found in figures.items():
            reason = check(budget, output, found)
            if reason is not None:
                reasons.append(reason)
    return reasons
