"""The largest set of matches of lossy passes that keeps a budget, found greedily and verified on other feeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from graphtool.culprit.bench import Attempt, Bench, Unit
from graphtool.culprit.rank import Measure, damage_alone, lossy_units, measure_for
from graphtool.errors import PromiseError, UsageError
from graphtool.parity.budget import Budget


@dataclass(frozen=True, slots=True)
class Dropped:
    """A match that was taken and given back, and the feed (from 0 the held-out ones) on which that showed."""

    unit: Unit
    held_out: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was taken.

    ``order`` are all matches, the least damaging first; ``alone`` is the damage of each by itself, empty where none was
    run by itself: then ``order`` is that of the passes. ``text`` is the pipeline to run again. ``curve`` is the
    measured value with the first 0, 1, 2 ... of ``order``, where it was asked for. ``result`` is the pipeline on the
    first feed, ``held_out`` on the others, after the last change.
    """

    measure: Measure
    order: tuple[Unit, ...]
    alone: tuple[float, ...]
    taken: tuple[Unit, ...]
    text: str
    result: Attempt
    held_out: tuple[Attempt, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    curve: tuple[float, ...] = ()
    runs: int = 0


def tune(
    bench: Bench, budgets: Sequence[Budget], held_out: Sequence[Bench] = (), curve: bool = False, quick: bool = False
) -> Tuned:
    """Take the matches of the lossy passes, the least damaging first, as long as the budgets hold.

    Where all of them hold, on every feed, none is run by itself (but for a ``curve``). One that breaks a budget is
    tried again after the others, since damages may cancel; in the end none of those left out can be added. The set is
    the largest that this order leads to; a larger one may exist. Then it must hold on every held-out feed too: where it
    does not, the most damaging match is given back until it does. With ``quick`` no match is run by itself: they are
    taken in the order of the passes, and those that a held-out feed does not bear are searched in the same way. The
    benches have the same pipeline and no budgets. Raises UsageError without a budget, PromiseError where none of the
    matches is needed to break it.
    """
    if not budgets:
        raise UsageError("tune needs a budget, such as --min argmax_agreement=0.95")
    if any(budget.scope for budget in budgets):
        raise UsageError("tune keeps budgets of the whole; one of a single pass (PASS/METRIC=X) is for run and bisect")
    lossy = lossy_units(bench)
    kept = [unit for unit in bench.whole.units if unit not in set(lossy)]
    measure = measure_for(budgets, bench.whole.figures)
    attempts: dict[tuple[int, frozenset[Unit]], Attempt] = {}

    def tried(chosen: Sequence[Unit], number: int = -1) -> Attempt:
        """Run a set of matches on the first feed, or on a held-out one."""
        own = bench if number < 0 else held_out[number]
        key = number, frozenset(chosen)
        if key not in attempts:
            attempts[key] = own.whole if len(chosen) == len(lossy) else own.run([*kept, *chosen])
        return attempts[key]

    def fault(chosen: Sequence[Unit], number: int = -1) -> str:
        found = tried(chosen, number)
        return found.reason if not found.ok else found.over(budgets)

    if reason := fault(()):
        raise PromiseError(f"over the budget with no match of a lossy pass taken: {reason}")
    order, damage = list(lossy), dict[Unit, float]()
    whole = not fault(order)
    feeds = range(len(held_out))
    if not quick and (curve or not whole or any(fault(order, number) for number in feeds)):
        singles = damage_alone(bench, lossy)
        attempts |= {(-1, frozenset([unit])): found for unit, found in singles.items()}
        damage = {unit: measure.damage(found) for unit, found in singles.items()}
        order.sort(key=lambda unit: damage[unit])
    found = set(order if whole else _greedy(order, lambda chosen: not fault(chosen)))
    taken = [unit for unit in order if unit in found]
    dropped = _searched(taken, len(held_out), fault) if quick else _verified(taken, len(held_out), fault)
    picked = [unit for unit in lossy if unit in set(taken)]
    return Tuned(
        measure,
        tuple(order),
        tuple(damage[unit] for unit in order if damage),
        tuple(picked),
        bench.text([*kept, *picked]),
        tried(picked),
        tuple(tried(picked, number) for number in range(len(held_out))),
        tuple(dropped),
        tuple(measure.of(tried(order[:count])) for count in range(len(order) + 1)) if curve else (),
        bench.count + sum(other.count for other in held_out),
    )


def _greedy(order: Sequence[Unit], holds: Callable[[Sequence[Unit]], bool]) -> list[Unit]:
    """Take what the set still holds with, in order, until none of the others can be added.

    Several are tried at a time, twice as many after each time that it holds and half as many after each that it does
    not: where damage only adds up, the result is that of one by one.
    """
    taken: list[Unit] = []
    grown = True
    while grown:
        grown = False
        left = [unit for unit in order if unit not in set(taken)]
        place, size = 0, 1
        while place < len(left):
            some = left[place : place + size]
            if holds([*taken, *some]):
                taken += some
                grown = True
                place, size = place + len(some), 2 * size
            elif len(some) == 1:
                place, size = place + 1, 1
            else:
                size = len(some) // 2
    return taken


def _verified(taken: list[Unit], feeds: int, fault: Callable[[Sequence[Unit], int], str]) -> list[Dropped]:
    """Give back the last of ``taken``, the most damaging, until the rest holds on every feed."""
    dropped = []
    number = 0
    while taken and number < feeds:
        reason = fault(taken, number)
        if not reason:
            number += 1
            continue
        dropped.append(Dropped(taken.pop(), number, reason))
        while taken and fault(taken, -1):  # what held with it may not hold without
            taken.pop()
        number = 0
    return dropped


def _searched(taken: list[Unit], feeds: int, fault: Callable[[Sequence[Unit], int], str]) -> list[Dropped]:
    """Leave of ``taken`` what holds on every feed, taken in order."""
    dropped: list[Dropped] = []
    while taken and (number := next((n for n in range(feeds) if fault(taken, n)), None)) is not None:
        reason = fault(taken, number)
        left = set(_greedy(taken, partial(_holds, fault, number)))
        dropped += [Dropped(unit, number, reason) for unit in taken if unit not in left]
        taken[:] = [unit for unit in taken if unit in left]
    return dropped


def _holds(fault: Callable[[Sequence[Unit], int], str], last: int, chosen: Sequence[Unit]) -> bool:
    """Whether matches hold on the first feed and on the held-out ones up to ``last``."""
    return not any(fault(chosen, number) for number in range(-1, last + 1))
