"""One ``graphtool run`` in the words of its command line: what they ask for, read and checked. Floor 7.

What only a judged run, or one for a target, needs is imported there: a run without either is over sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from graphtool.errors import ModelError, UsageError, quoted, show
from graphtool.graph import Graph, check
from graphtool.graph.bodies import captures
from graphtool.parity.runerror import RunError
from graphtool.rewrite import Catalog, Stage, parse_pipeline
from graphtool.rewrite.params import split_raw

if TYPE_CHECKING:
    from graphtool.atc.profile import Profile
    from graphtool.atc.target import Target
    from graphtool.kept import Keep
    from graphtool.parity.budget import Budget
    from graphtool.parity.feed import Feed
    from graphtool.parity.feed_images import Preprocess
    from graphtool.parity.trials import Trial


class _Noting(Protocol):
    @property
    def notes(self) -> list[str]: ...


_State = TypeVar("_State", bound=_Noting)


class Request(NamedTuple):
    """One ``graphtool run``, in the words of its command line."""

    model: Path
    passes: str | None = None
    settings: tuple[str, ...] = ()
    target: Target | None = None  # none: no ATC commands, and no profile
    out: Path | None = None
    seed: int = 0
    feed: tuple[str, ...] = ()
    feeds: int | None = None
    extremes: bool = False
    preprocess: Preprocess | None = None  # of images among the feeds; None: the profile's
    keep: Keep | None = None
    shapes: tuple[str, ...] = ()
    minima: tuple[str, ...] = ()
    maxima: tuple[str, ...] = ()
    keep_going: bool = False
    checked: bool = True
    require_match: bool = False
    truth: bool = False
    atc: bool = True

    @property
    def profile(self) -> str | None:
        """Return the word of --profile."""
        return None if self.target is None else self.target.profile


def prepare(request: Request) -> tuple[Graph, list[Stage], Catalog, Profile | None]:
    """Load the model and read the pipeline; raises for every word that does not fit, before anything is run."""
    profile = None if request.target is None else request.target.check()
    shapes_of(request.shapes)
    catalog = Catalog(to_run=True)
    text = request.passes or (profile and profile.pipeline)
    if not text:
        raise UsageError("no pass is named; give --passes NAME,NAME  (graphtool passes list)")
    stages = parse_pipeline(text, catalog, settings(request.settings), profile.passes if profile else None)
    if profile is not None:
        from graphtool.atc.allowed import refuse

        refuse(stages, catalog, profile)
    budgets_of(request.minima, request.maxima, stages)
    return Graph.load(request.model), stages, catalog, profile


def shapes_of(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of ``--shape NAME:DIMS``; raises UsageError."""
    if not words:
        return {}
    from graphtool.atc.target import shapes_of as parsed

    return parsed(words)


def sound(graph: Graph) -> bool:
    """Check a graph that was loaded; return whether its nodes had to be sorted. ModelError says which file."""
    try:
        return check(graph)
    except ModelError as error:
        raise ModelError(f"{quoted(graph.path)}: {error}") from None


def settings(words: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the values of ``--set pass.param=value``."""
    found: dict[str, dict[str, object]] = {}
    for word in words:
        key, *value = split_raw(word, "=")
        name, dot, param = key.rpartition(".")
        if not value or not dot or not name or not param:
            raise UsageError(f"--set {show(word)}: expected PASS.PARAM=VALUE, such as prune_outputs.keep=Resize_317")
        found.setdefault(name, {})[param] = "=".join(value)
    return found


def feed_for(graph: Graph, feed: Sequence[str], seed: int, shapes: Sequence[str], variant: int = 0) -> Feed:
    """Return the feed that the command line asks for: files, or a drawn one."""
    from graphtool.parity.feed import draw
    from graphtool.parity.feed_files import feed_from

    if feed:
        return feed_from(list(feed), graph) if len(feed) > 1 else feed_from(feed[0], graph)
    return draw(graph, seed, shapes_of(shapes), variant=variant)


def trials_for(graph: Graph, request: Request, profile: Profile | None, variant: int = 0) -> list[Trial]:
    """Return the feeds that a run is judged on: files, images prepared as the profile says, drawn ones, extremes.

    For ``variant`` see :func:`graphtool.parity.feed.draw`.
    """
    from graphtool.parity.feed_sets import feeds_from
    from graphtool.parity.trials import Trial, plan

    images = request.preprocess or (profile.images if profile is not None else None)
    given = feeds_from(request.feed, graph, images) if request.feed else []
    trials = [Trial(feed, must=True) for feed in given]
    return plan(graph, trials, request.seed, shapes_of(request.shapes), request.feeds, request.extremes, variant)


def on_feeds(graph: Graph, request: Request, profile: Profile | None, begin: Callable[[list[Trial]], _State]) -> _State:
    """Return what ``begin`` makes of the request's feeds, drawn with other sizes where the model runs only on those.

    Raises RunError, which says what helps, where it runs on none.
    """
    from graphtool.parity.trials import on_sizes_that_run

    try:
        state, note = on_sizes_that_run(begin, partial(trials_for, graph, request, profile))
    except RunError as error:
        raise _cannot_run(error, graph, request) from None
    if note:
        state.notes.append(note)
    return state


def _cannot_run(error: RunError, graph: Graph, request: Request) -> RunError:
    """Return ``error`` with the input that the node depends on, where that was drawn, and the flag that helps."""
    helps = "--no-check applies the passes without running the model"
    if error.reason == "run" and not request.feed:
        name = _input_before(graph, error.node)
        which = f"input {quoted(name)} was drawn" if name else "the inputs were drawn"
        helps = f"{which}: give your own with --feed, sizes with --shape; or {helps}"
    return RunError(f"{error}; {helps}", error.reason, error.op, error.node)


def _input_before(graph: Graph, node: str | None) -> str | None:
    """Return the graph input nearest to a node, against the edges, one of an open size first; None for none."""
    inputs = {value.name: value for value in graph.inputs}
    at = [found for found in graph.nodes if found.name == node and node]
    front: list[str] = [value for found in at for value in (*found.input, *sorted(captures(found)))]
    seen = set(front)
    nearest: str | None = None
    for value in front:  # grows on the way
        if value in inputs:
            nearest = nearest or value
            shape = inputs[value].shape
            if shape is None or not all(isinstance(size, int) for size in shape):
                return value
        producer = graph.index.producer(value)
        fresh = [name for name in (producer.input if producer is not None else ()) if name not in seen]
        seen.update(fresh)
        front += fresh
    return nearest


def budgets_of(minima: Sequence[str], maxima: Sequence[str], stages: Sequence[Stage] = ()) -> list[Budget]:
    """Return the budgets of ``--min`` and ``--max``; those of one pass name one of ``stages``."""
    if not minima and not maxima:
        return []
    from graphtool.parity.budget import parse_budget

    passes = {stage.spec.name for stage in stages}
    found = [parse_budget(text, "min", passes) for text in minima]
    return found + [parse_budget(text, "max", passes) for text in maxima]
