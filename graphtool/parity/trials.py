"""Which feeds a run is judged on: given ones, drawn ones, extremes. What is left out is for the panel to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from graphtool.errors import FeedError, UsageError
from graphtool.graph import Graph
from graphtool.graph.weights import payload_bytes
from graphtool.parity.containers import first, is_absent
from graphtool.parity.feed import Feed, Shapes, draw
from graphtool.parity.feed_extremes import extremes
from graphtool.parity.feed_sizes import VARIANTS
from graphtool.parity.metrics import equal
from graphtool.parity.runerror import RunError

# a model within all of these is small: judging it on a second feed costs a person nothing
SMALL_WEIGHTS = 1 << 25  # bytes
SMALL_INPUTS = 1 << 20  # elements
SMALL_NODES = 2000
_MOST_TRIED = 1 << 24  # elements of inputs with which larger sizes are tried

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Trial:
    """A feed to judge on.

    ``must``: that the original does not run on it is an error. One that need not run is replaced by ``instead`` where
    there is one, else dropped, and either is said.
    """

    feed: Feed
    must: bool = False
    instead: Feed | None = None


def is_small(graph: Graph, feed: Feed) -> bool:
    """Whether a model with these inputs is judged on two drawn feeds unless a number is asked for."""
    weights = sum(payload_bytes(tensor) or 0 for tensor in graph.initializers.values())
    return graph.node_count <= SMALL_NODES and elements(feed) <= SMALL_INPUTS and weights <= SMALL_WEIGHTS


def elements(feed: Feed) -> int:
    """Return how many numbers a feed has."""
    return sum(array.size for array in feed.arrays.values())


def plan(
    graph: Graph,
    given: Sequence[Trial] = (),
    seed: int = 0,
    shapes: Shapes | None = None,
    count: int | None = None,
    with_extremes: bool = False,
    variant: int = 0,
) -> list[Trial]:
    """Return the feeds that a run is judged on, the first one first.

    Where feeds are ``given``, others are drawn only if ``count`` asks for them. Drawn ones
    have the seeds ``seed``, ``seed + 1`` ...; every second one has another size for each dimension that the model
    leaves open; ``variant`` is that of the first one, see :func:`graphtool.parity.feed.draw`. By default two are drawn
    for a small model, one for any other. ``with_extremes`` adds those of :mod:`feed_extremes`. Raises FeedError, and
    UsageError for a ``count`` below 1.
    """
    if count is not None and count < 1:
        raise UsageError(f"a run is judged on at least one feed, not {count}")
    found = list(given)
    if not given or count is not None:
        first = draw(graph, seed, shapes, variant=variant)
        found.append(Trial(first, must=True))
        wanted = count if count is not None else 2 if is_small(graph, first) else 1
        others = [_drawn(graph, seed + number, shapes, variant, number % 2) for number in range(1, wanted)]
        found += [trial for trial in others if not _same(trial.feed, first)]  # no inputs, or none that may vary
    if with_extremes:
        found += [Trial(feed) for feed in extremes(graph, found[0].feed)]
    return found


def on_sizes_that_run(
    run: Callable[[list[Trial]], _Result], drawn: Callable[[int], list[Trial]], but: tuple[type[RunError], ...] = ()
) -> tuple[_Result, str]:
    """Return what ``run`` makes of the first feeds on which the model runs, and a note where they are not the usual.

    ``drawn`` gives the feeds of a variant, see :func:`graphtool.parity.feed.draw`: a window may be wider than the usual
    sizes or be one size alone, inputs may have to fit each other, indices to be small. Raises what ``run`` raises of
    the usual ones where no others are drawn, where it is one of the errors in ``but``, or where it runs on none.
    """
    usual = drawn(0)
    try:
        return run(usual), ""
    except RunError as error:
        if error.reason != "run" or isinstance(error, but) or not usual:
            raise
        tried = [_recipe(usual)]
        for variant in range(1, len(VARIANTS)):
            try:
                trials = drawn(variant)
                if _recipe(trials) not in tried and elements(trials[0].feed) <= _MOST_TRIED:
                    tried.append(_recipe(trials))
                    what = "smaller integers" if "integers" in trials[0].feed.recipe else "other sizes"
                    return run(trials), f"judged on {what} than usual, on which the original does not run: {error}"
            except (RunError, FeedError):
                continue
        raise


def _recipe(trials: Sequence[Trial]) -> tuple[object, ...]:
    """Return what tells the feeds of one variant from those of another; of files it is the same each time."""
    recipe = trials[0].feed.recipe
    return recipe.get("dims"), recipe.get("integers")


def _drawn(graph: Graph, seed: int, shapes: Shapes | None, variant: int, other_sizes: int) -> Trial:
    usual = draw(graph, seed, shapes, variant=variant)
    if not other_sizes:
        return Trial(usual)
    try:
        other = draw(graph, seed, shapes, variant=variant ^ 1)
    except FeedError:  # sizes that some operator's input does not allow
        return Trial(usual)
    if _sizes(other) == _sizes(usual):
        return Trial(usual)
    return Trial(other, instead=usual)


def _same(one: Feed, other: Feed) -> bool:
    return all(equal(array, other.arrays[name]) for name, array in one.arrays.items())


def _sizes(feed: Feed) -> list[tuple[object, ...]]:
    return [(is_absent(array), array.shape, first(array).shape) for array in feed.arrays.values()]
