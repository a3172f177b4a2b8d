"""Two models on several feeds: the outputs on each, and where they part on the worst."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from graphtool.comparator.models import SecondModelError, Seen, inside, outputs_of, run_both
from graphtool.comparator.parts import MOST_BYTES
from graphtool.comparator.result import Comparison, OnFeed
from graphtool.comparator.tensors import Watch
from graphtool.errors import FeedError, GraphtoolError
from graphtool.graph import Graph
from graphtool.parity.budget import METRICS, Budget
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import Figures, finite
from graphtool.parity.runerror import RunError
from graphtool.parity.trials import Trial, on_sizes_that_run

Array = NDArray[Any]


def compare_drawn(a: Graph, b: Graph, drawn: Callable[[int], list[Trial]], **how: Any) -> Comparison:
    """Compare two models as :func:`compare_feeds` does, on other sizes where the first one runs only on those.

    ``drawn`` gives the feeds of a variant, see :func:`graphtool.parity.feed.draw`.
    """
    found, note = on_sizes_that_run(lambda trials: compare_feeds(a, b, trials, **how), drawn, but=(SecondModelError,))
    return replace(found, notes=(note, *found.notes)) if note else found


def compare_feeds(
    a: Graph,
    b: Graph,
    trials: Sequence[Trial],
    *,
    maps: Iterable[str] = (),
    budgets: Sequence[Budget] = (),
    layers: bool = False,
    watch: Watch = lambda _: None,
    most: int = MOST_BYTES,
    keep: Callable[[Feed, Mapping[str, tuple[Array, Array]]], None] = lambda *_: None,
) -> Comparison:
    """Run two models on each feed; the result is that of the worst, with what the outputs did on the others.

    See :func:`graphtool.comparator.models.compare_models`, which has one feed. Outputs are paired on the first feed. A
    feed that need not run, and on which one of the models does not, or the first makes infinities or NaN of, is
    replaced or left out, and a note says so. ``keep`` is given each feed and both outputs of each pair.
    """
    maps = list(maps)
    heard: list[tuple[Feed, Seen]] = []
    first: dict[str, bool] = {}  # whether outputs are finite
    notes: list[str] = []
    for trial in trials:
        for feed in [trial.feed] if trial.instead is None else [trial.feed, trial.instead]:
            if len(trials) > 1:
                watch(f"on {feed.text()}")
            pairs = heard[0][1].found.outputs if heard else ()
            try:
                ran = run_both(a, b, feed=feed.arrays, maps=maps, outputs=pairs, watch=watch)
            except (RunError, FeedError) as error:
                if trial.must:
                    raise _on(feed, error, len(trials)) from None
                notes.append(f"not compared on {feed.text()}: {error}")
                continue
            now = {name: finite(array) for name, array in ran.was.items()}
            first = first or now
            if feed.recipe.get("source") != "drawn" and not trial.must and _lost(first, now):
                notes.append(f"not compared on {feed.text()}: the first model makes infinities or NaN of it")
                continue
            keep(feed, ran.pairs())
            heard.append((feed, outputs_of(a, b, ran, budgets, watch)))
            del ran  # outputs of one feed at a time
            break
    worst = max(range(len(heard)), key=lambda place: (_severity(heard[place][1].found, budgets), -place))
    feed, seen = heard[worst]
    found = inside(a, b, seen, budgets, watch, most) if seen.found.diverging or layers else seen.found
    if len(trials) == 1:
        return replace(found, feed=feed.text())
    feeds = tuple(OnFeed(f.text(), s.found.figures, s.found.diverging, s.found.broken) for f, s in heard)
    ordered = [feeds[worst], *(one for place, one in enumerate(feeds) if place != worst)]
    said = dict.fromkeys(note for _, other in (heard[worst], heard[0]) for note in other.found.notes)
    broken = tuple(f"{reason} (feed: {one.feed})" for one in ordered for reason in one.broken)
    return replace(found, feed=feed.text(), feeds=feeds, notes=(*said, *notes), broken=broken)


def _on(feed: Feed, error: GraphtoolError, count: int) -> GraphtoolError:
    """Return the error with the feed it was on, where there are several."""
    if count == 1:
        return error
    if isinstance(error, RunError):
        return type(error)(f"on {feed.text()}: {error}", error.reason, error.op, error.node)
    return FeedError(f"on {feed.text()}: {error}")


def _severity(found: Comparison, budgets: Sequence[Budget]) -> list[float]:
    """Return how far two models are apart on a feed, to be compared with others: what is judged by comes first."""
    times, lost = 0.0, 0.0
    for name, figures in found.figures.items():
        agreed = 1.0 if figures.argmax_agreement is None else figures.argmax_agreement
        lost = max(lost, 1 - figures.cosine, 1 - agreed)
        times = max(times, figures.max_abs / (found.allowed[name] or 1.0))
    over = [max(_excess(budget, found.figures), default=-math.inf) for budget in budgets]
    return [bool(found.broken), bool(found.diverging), *over, times, lost]


def _excess(budget: Budget, figures: Mapping[str, Figures]) -> Iterator[float]:
    """Yield by how much each output that a budget is about is beyond it; less than 0 where it keeps it."""
    kind, read = METRICS[budget.metric]
    for name, moved in figures.items():
        value = read(moved) if budget.output in (None, name) else None
        if value is not None:
            yield budget.bound - value if kind == "min" else value - budget.bound


def _lost(before: Mapping[str, bool], now: Mapping[str, bool]) -> bool:
    return any(before[name] and not now[name] for name in now)
