"""Saved outputs compared again, with other budgets and without running anything. Floor 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.errors import UsageError, quoted
from graphtool.parity.budget import Budget, broken
from graphtool.parity.metrics import Figures, compare
from graphtool.parity.saved import Array, Outputs, read_outputs

Pairs = Mapping[str, tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Rejudged:
    """Figures by output for each feed, what was not compared, and which budgets do not hold."""

    feeds: tuple[tuple[str, Mapping[str, Figures]], ...]
    pairs: tuple[tuple[str, Pairs], ...]
    notes: tuple[str, ...]
    broken: tuple[str, ...]


def rejudge(before: Path, after: Path, budgets: Sequence[Budget] = ()) -> Rejudged:
    """Compare two folders of saved outputs, feed by feed and output by output, and hold the figures to ``budgets``.

    Outputs are paired by name. Raises FeedError for what is no folder of outputs, UsageError where nothing can be
    paired and for a budget whose output or metric there is not.
    """
    was, now = read_outputs(before), read_outputs(after)
    notes = []
    if len(was) != len(now):
        raise UsageError(f"{quoted(before)} has {len(was)} feeds, {quoted(after)} has {len(now)}")
    feeds, pairs, reasons = [], [], []
    for (feed, old), (_, new) in zip(was, now, strict=True):
        shared = _paired(old, new, before, after)
        for name in sorted((old.keys() | new.keys()) - shared.keys()):
            same_name = name in old and name in new
            why = "has two shapes" if same_name else f"is only in {quoted(before if name in old else after)}"
            notes.append(f"output {quoted(name)} {why} and was not compared")
        figures = {name: compare(a, b) for name, (a, b) in shared.items()}
        feeds.append((feed, figures))
        pairs.append((feed, shared))
        where = f" (feed: {feed})" if len(was) > 1 else ""
        reasons += [reason + where for reason in broken(budgets, figures)]
    return Rejudged(tuple(feeds), tuple(pairs), tuple(dict.fromkeys(notes)), tuple(reasons))


def _paired(old: Outputs, new: Outputs, before: Path, after: Path) -> dict[str, tuple[Array, Array]]:
    found = {name: (old[name], array) for name, array in new.items() if name in old and old[name].shape == array.shape}
    if not found:
        raise UsageError(f"no output of {quoted(before)} has its name and shape in {quoted(after)}")
    return found
