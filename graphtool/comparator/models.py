"""Two models on one feed: their outputs, and where they part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from numpy.typing import NDArray

from graphtool.comparator.culprit import divergence, reaching
from graphtool.comparator.feeding import both_feeds, draw_for
from graphtool.comparator.noise import explained, in_half
from graphtool.comparator.pairing import pair_inputs, pair_outputs, read_maps
from graphtool.comparator.parts import MOST_BYTES, chunks, part, run_part
from graphtool.comparator.result import Comparison, Pair, Row
from graphtool.comparator.tensors import Found, Side, Watch, matching, side_by_side
from graphtool.errors import PromiseError, UsageError, quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import walk
from graphtool.parity.budget import Budget, broken, check
from graphtool.parity.metrics import Figures, compare, equal
from graphtool.parity.runerror import RunError
from graphtool.parity.session import Session
from graphtool.parity.tolerance import least_tolerance

Array = NDArray[Any]
_FAR, _FAR_COSINE = 0.05, 0.99  # of the largest value
_HALF = "the second model computes in float16: what that explains is measured by rounding the first one to float16"
_TIMES_GROWN = 10.0  # what noise does to an inner tensor, beside what it was seen to do to an output
_OF_SOME = frozenset({"agreement", "argmax_agreement", "top5_agreement", "miou"})  # what only labels and scores have


@dataclass(frozen=True, slots=True)
class Ran:
    """Both models after one run: how inputs and outputs are paired, the feeds, all outputs of either by name.

    ``session`` is the one that the first model ran in.
    """

    inputs: tuple[Pair, ...]
    outputs: tuple[Pair, ...]
    feeds: tuple[Mapping[str, Array], Mapping[str, Array]]
    was: dict[str, Array]
    now: dict[str, Array]
    notes: tuple[str, ...]
    session: Session | None

    def figures(self) -> dict[str, Figures]:
        """Return the figures of each pair of outputs, by its name in the second model."""
        return {name: compare(*arrays) for name, arrays in self.pairs().items()}

    def pairs(self) -> dict[str, tuple[Array, Array]]:
        """Return both outputs of each pair, by its name in the second model."""
        return {pair.after: (self.was[pair.before], self.now[pair.after]) for pair in self.outputs}


class SecondModelError(RunError):
    """The second of two models does not run on what the first one does."""


@contextmanager
def _said_of(which: str) -> Iterator[None]:
    """Say of an error which of the two models cannot run."""
    try:
        yield
    except RunError as error:
        kind = SecondModelError if which == "second" else RunError
        raise kind(f"the {which} model: {error}", error.reason, error.op, error.node) from None


def run_both(
    a: Graph,
    b: Graph,
    *,
    feed: Mapping[str, Array] | None = None,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    maps: Iterable[str] = (),
    outputs: Sequence[Pair] = (),
    watch: Watch = lambda _: None,
) -> Ran:
    """Pair the inputs, run both models on one feed, pair the outputs; see :func:`compare_models`.

    With ``outputs`` these are paired as they were on another feed.
    """
    mapped = read_maps(maps, a, b)
    inputs = pair_inputs(a, b, mapped[0])
    arrays = feed if feed is not None else draw_for(a, b, inputs, seed, shapes).arrays
    feeds = both_feeds(a, b, inputs, arrays)
    watch("running the first model")
    with _said_of("first"):
        session = Session(a)
        was = session.run(feeds[0])
    watch("running the second model")
    with _said_of("second"):
        now = Session(b).run(feeds[1])
    notes: list[str] = []
    if not outputs:
        structure = matching(a, b, inputs).values if set(was) != set(now) else {}
        outputs, notes = pair_outputs(was, now, mapped[1], structure)
    for pair in outputs:
        shapes_ = was[pair.before].shape, now[pair.after].shape
        if shapes_[0] != shapes_[1]:
            raise UsageError(f"output {quoted(pair.after)} has two shapes, {list(shapes_[0])} and {list(shapes_[1])}")
    return Ran(tuple(inputs), tuple(outputs), feeds, was, now, tuple(notes), session)


def compare_models(
    a: Graph,
    b: Graph,
    *,
    feed: Mapping[str, Array] | None = None,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    maps: Iterable[str] = (),
    budgets: Sequence[Budget] = (),
    layers: bool = False,
    watch: Watch = lambda _: None,
    most: int = MOST_BYTES,
    keep: Callable[[Mapping[str, tuple[Array, Array]]], None] = lambda _: None,
) -> Comparison:
    """Run two models on one feed, and find the first tensor at which they part where an output does.

    Both must be such that onnxruntime can run them. ``feed`` is by the inputs of ``a``; without one it is drawn.
    An output diverges where it breaks one of ``budgets``, or where none bounds it, where it is further off than the
    noise of ``a`` explains. ``layers`` compares the inner tensors even where no output diverges. ``most`` bounds the
    bytes of inner tensors held at a time on either side. ``keep`` is given both outputs of each pair. Raises UsageError
    where inputs or outputs cannot be paired, FeedError or RunError where a graph cannot run, PromiseError where ``a``
    disagrees with itself.
    """
    ran = run_both(a, b, feed=feed, seed=seed, shapes=shapes, maps=maps, watch=watch)
    keep(ran.pairs())
    seen = outputs_of(a, b, ran, budgets, watch)
    del ran  # room for the inner tensors
    return inside(a, b, seen, budgets, watch, most) if seen.found.diverging or layers else seen.found


@dataclass(frozen=True, slots=True)
class Seen:
    """Both models on one feed as far as outputs tell: ``found`` has no inner tensors; the rest is what these need.

    ``growth`` is how many times more noise explains than rounding alone, where that was measured, ``half`` whether
    the second model alone computes in float16.
    """

    found: Comparison
    feeds: tuple[Mapping[str, Array], Mapping[str, Array]]
    growth: float | None
    half: bool


def outputs_of(a: Graph, b: Graph, ran: Ran, budgets: Sequence[Budget], watch: Watch) -> Seen:
    """Say of each output whether it diverges; raises PromiseError where ``a`` disagrees with itself."""
    outputs, figures = ran.outputs, ran.figures()
    half = not budgets and in_half(b) and not in_half(a)
    allowed, growth = _allowed(a, ran, figures, budgets, half, watch)
    diverging = tuple(
        pair.after for pair in outputs if _diverges(pair, figures[pair.after], allowed[pair.after], budgets)
    )
    reasons = tuple(broken(budgets, figures)) if budgets else _apart(figures, allowed, diverging)
    said = (_HALF,) if half and growth is not None else ()
    notes = (*ran.notes, *said, *_permuted(outputs, diverging, ran.was, ran.now))
    found = Comparison(
        ran.inputs, outputs, figures, allowed, diverging, notes=notes, broken=reasons, bounded=bool(budgets)
    )
    return Seen(found, ran.feeds, growth, half)


def inside(a: Graph, b: Graph, seen: Seen, budgets: Sequence[Budget], watch: Watch, most: int) -> Comparison:
    """Compare the inner tensors, ``most`` bytes at a time on either side, and name the first that diverges."""
    found = seen.found
    sides = (
        Side.of(a, seen.feeds[0], [pair.before for pair in found.outputs]),
        Side.of(b, seen.feeds[1], [pair.after for pair in found.outputs]),
    )
    tensors = side_by_side(*sides, found.inputs, found.outputs, watch, most)
    first = [pair.before for pair in found.outputs if pair.after in found.diverging]
    rows = _rows(sides, tensors, first, budgets, seen.growth, seen.half, watch, most)
    return replace(
        found,
        rows=tuple(rows),
        first=divergence(sides[0].graph, sides[1].graph, rows),
        tensors=(len(sides[0].tensors), len(sides[1].tensors)),
    )


def _allowed(
    a: Graph, ran: Ran, figures: Mapping[str, Figures], budgets: Sequence[Budget], half: bool, watch: Watch
) -> tuple[dict[str, float | None], float | None]:
    """Return by how much each output may differ: what rounding allows, more where that is measured; None: a budget.

    And how many times more noise explains than rounding alone, at most, where any was measured.
    """
    allowed: dict[str, float | None] = {}
    doubtful: dict[str, float] = {}
    for pair in ran.outputs:
        if any(budget.output in (None, pair.after) for budget in budgets):
            allowed[pair.after] = None
            continue
        allowed[pair.after] = least = least_tolerance(a, pair.before, ran.was[pair.before])
        if figures[pair.after].changed and not figures[pair.after].max_abs <= least:
            doubtful[pair.before] = least
    if not doubtful:
        return allowed, None
    watch("measuring the noise of the first model")
    _agrees_with_itself(a, ran)
    apart = {pair.before for pair in ran.outputs if far(figures[pair.after])}
    names = [name for name in doubtful if name not in apart]
    graph = part(a, names) if all(name in a.index.producers for name in names) else a
    measured = explained(graph, ran.feeds[0], {name: ran.was[name] for name in names}, half)
    allowed |= {pair.after: measured[pair.before] for pair in ran.outputs if pair.before in measured}
    growth = [measured[name] / doubtful[name] for name in names if doubtful[name]]
    return allowed, max(growth, default=None)


def far(figures: Figures) -> bool:
    """Whether an output is so far off that no rounding comes near it, and measuring it would only take time."""
    return figures.cosine < _FAR_COSINE and not figures.max_abs <= _FAR * figures.before_max


def _beyond(found: Found, growth: float | None) -> bool:
    """Whether an inner tensor is further off than noise can be that grows from layer to layer up to the outputs."""
    return growth is not None and not found.figures.max_abs <= _TIMES_GROWN * growth * found.rounding


def _agrees_with_itself(graph: Graph, ran: Ran) -> None:
    assert ran.session is not None
    again = ran.session.run(ran.feeds[0])
    unlike = next((name for name, array in ran.was.items() if not equal(array, again[name])), None)
    if unlike is not None:
        random = [node for node in walk(graph.proto.graph) if node.op_type in ops.RANDOM | {"Dropout"}]
        cause = f" (node {quoted(random[0].name or random[0].op_type)} draws at random)" if random else ""
        raise PromiseError(
            f"the first model disagrees with itself: output {quoted(unlike)} differs between two runs on one "
            f"feed{cause}; nothing can be blamed"
        )


def _diverges(pair: Pair, figures: Figures, allowed: float | None, budgets: Sequence[Budget]) -> bool:
    if allowed is None:
        return any(check(budget, pair.after, figures) for budget in budgets)
    return figures.changed > 0 and not figures.max_abs <= allowed


def _apart(
    figures: Mapping[str, Figures], allowed: Mapping[str, float | None], diverging: Sequence[str]
) -> tuple[str, ...]:
    return tuple(
        f"output {quoted(name)}: max {figures[name].max_abs:.3g}, where rounding explains {allowed[name] or 0:.2g}"
        for name in diverging
    )


def _permuted(
    outputs: Sequence[Pair], diverging: Sequence[str], was: Mapping[str, Array], now: Mapping[str, Array]
) -> list[str]:
    """Name diverging outputs that equal another output of the other model: they may have changed places."""
    notes = []
    for pair in outputs:
        if pair.after in diverging:
            twins = [y for y, array in now.items() if y != pair.after and equal(was[pair.before], array)]
            notes += [
                f"output {quoted(pair.before)} of the first model equals {quoted(y)} of the second: have outputs "
                "changed places?"
                for y in twins[:1]
            ]
    return notes


def _rows(
    sides: tuple[Side, Side], tensors: Sequence[Found], targets: Sequence[str], budgets: Sequence[Budget],
    growth: float | None, half: bool, watch: Watch, most: int,
) -> list[Row]:  # fmt: skip
    """Say of each tensor whether the models agree there, and measure noise until the first that it does not explain."""
    a, b = sides
    inner = [budget for budget in budgets if budget.output is None and budget.metric not in _OF_SOME]

    def differs(found: Found) -> bool:
        if not inner:
            return found.beyond
        # equal tensors hold any budget, also where a metric (of nothing, of words) has no value
        changed = found.figures.changed > 0
        return changed and any(check(budget, found.pair.after, found.figures) for budget in inner)

    apart = {found.pair.before for found in tensors if differs(found) or found.pair.before in targets}
    known = {found.pair.before for found in tensors}
    passed = reaching(a.graph, targets, known - apart)
    measured: dict[str, float] = {}
    suspects = [found for found in tensors if found.pair.before in apart & passed]
    if not inner:
        doubtful = list(takewhile(lambda found: not (far(found.figures) or _beyond(found, growth)), suspects))
        for chunk in chunks(doubtful, a.sizes(found.pair.before for found in doubtful), most // 4):
            watch(f"noise of {len(chunk)} tensors from {chunk[0].pair.before} on")
            names = [found.pair.before for found in chunk]
            own = part(a.graph, names)
            measured |= explained(own, a.feed, run_part(own, a.feed, names), half)
            if any(not found.figures.max_abs <= measured[found.pair.before] for found in chunk):
                break
    rows = []
    for found in tensors:
        x = found.pair.before
        allowed = None if inner else measured.get(x, found.rounding)
        apart_here = x in apart and not (x in measured and found.figures.max_abs <= measured[x])
        verdict = "equal" if found.figures.changed == 0 else "diverges" if apart_here else "agrees"
        makers = a.graph.index.producer(x), b.graph.index.producer(found.pair.after)
        rows.append(
            Row(
                found.pair,
                (makers[0].name if makers[0] else "", makers[1].name if makers[1] else ""),
                (makers[0].op_type if makers[0] else "", makers[1].op_type if makers[1] else ""),
                found.figures,
                verdict,  # type: ignore[arg-type]
                allowed,
                x in measured,
                verdict == "diverges" and x in passed,
            )
        )
    return rows
