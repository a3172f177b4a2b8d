"""``graphtool check``: a model held against the rules of a target, and fixed by passes under parity. Floor 7."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from graphtool import job, pipeline
from graphtool.analysis.bind import bound
from graphtool.atc.ascend_model import chip_model, with_semantics
from graphtool.atc.command import told_shapes
from graphtool.atc.profile import Profile
from graphtool.atc.target import Target, shapes_of
from graphtool.atc.words import parse_batches, parse_option
from graphtool.errors import GraphtoolError, ProfileError
from graphtool.graph import Graph
from graphtool.lint.engine import Checked, check
from graphtool.lint.rulefile import selected, shipped_rules
from graphtool.lint.target import Aim
from graphtool.parity.metrics import Figures, compare
from graphtool.parity.session import Array, Session
from graphtool.request import Request, feed_for, sound
from graphtool.rewrite import Catalog, Pass, Stage, parse_pipeline

Watch = Callable[[str], None]
_ROUNDS = 3  # of fixing what an earlier round has brought up
_SAFE = ("exact", "close", "repair")


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """One ``graphtool check``, in the words of its command line."""

    model: Path
    target: Target = field(default_factory=Target)
    cann: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    run: bool = False
    feed: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    seed: int = 0
    fix: bool = False
    unsafe: bool = False
    out: Path | None = None
    strict: bool = False


class Sized(NamedTuple):
    """A graph at the shapes that ATC is told, ``shapes`` of inputs with open sizes, and the batches that are wanted.

    ``fault`` is why ``atc emit`` has no command for it.
    """

    graph: Graph
    shapes: dict[str, tuple[int, ...]]
    batches: tuple[int, ...]
    fault: str = ""


@dataclass(slots=True)
class CheckResult:
    """What a check came to: ``before``, and after ``--fix`` the run of passes and ``after``.

    ``sized`` is the graph that was looked at last.

    ``left`` are passes that would help and were not run, each with the reason. ``float32`` compares the outputs of the
    fixed model with those of the original; ``float16`` does so with the fixed model as the model of the chip computes
    it (``atc/ascend_model.py``); by output.
    """

    request: CheckRequest
    profile: Profile
    graph: Graph
    before: Checked
    sized: Sized
    after: Checked | None = None
    run: job.Result | None = None
    left: dict[str, str] = field(default_factory=dict)
    float32: dict[str, Figures] = field(default_factory=dict)
    float16: dict[str, Figures] = field(default_factory=dict)
    float16_fault: str = ""

    @property
    def latest(self) -> Checked:
        """The check of the model as it is now."""
        return self.after or self.before

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: no errors, with ``strict`` no warnings either, and no broken promise."""
        allowed = ("note",) if self.request.strict else ("warning", "note")
        return all(f.level in allowed for f in self.latest.findings) and (self.run is None or not self.run.fault)


def check_model(request: CheckRequest, watch: Watch = lambda _: None) -> CheckResult:
    """Check a model, and fix what passes can fix where that is asked for; raises GraphtoolError."""
    profile = request.target.check()
    given = dict(parse_option(word) for word in request.target.options)
    profile = replace(profile, options={name: text for name, text in {**profile.options, **given}.items() if text})
    if request.target.batches is not None:
        profile = replace(profile, batches=parse_batches(request.target.batches))
    rules = selected(shipped_rules(), request.select, request.ignore)
    watch("loading")
    graph = Graph.load(request.model)
    sound(graph)
    sized = _sized(graph, profile, request.shapes)
    aim = replace(Aim.of(profile, request.cann), batches=sized.batches)
    if request.run or request.feed:
        aim = replace(aim, feed=feed_for(sized.graph, request.feed, request.seed, request.shapes))
    result = CheckResult(request, profile, graph, check(sized.graph, rules, aim, watch), sized)
    if request.fix:
        _fix(result, watch)
        result.left = {word: why for word, why in result.left.items() if why and word in result.latest.fixes}
    return result


def _sized(graph: Graph, profile: Profile, words: Sequence[str]) -> Sized:
    """Return a graph as ATC compiles it: inputs with open sizes have the shapes that the commands of ``atc emit`` say.

    Inputs that nothing fixes stay open. Raises UsageError or ProfileError for a ``--shape`` that does not fit.
    """
    given = shapes_of(words)
    fixed = {value.name for value in graph.inputs if value.static}
    try:
        told = told_shapes(graph, profile, given)
    except ProfileError as error:
        if any(_contradicts(value.shape or (), given.get(value.name, ())) for value in graph.inputs):
            raise
        return Sized(bound(graph, given), given, profile.batches, str(error))
    sizes = {name: shape for name, shape in told.sizes().items() if name not in fixed}
    batches = told.batches if told.fixed not in (None, told.batches[0]) else ()
    where = "--shape" if given else "the shapes that ATC is told"
    return Sized(bound(graph, sizes, where), sizes, profile.batches or batches)


def _contradicts(shape: Sequence[int | str | None], given: Sequence[int]) -> bool:
    return any(isinstance(size, int) and size != dim for size, dim in zip(shape[1:], given[1:], strict=False))


def _fix(result: CheckResult, watch: Watch) -> None:
    """Run the passes that remove findings, and those that remove what is found behind them."""
    request, catalog = result.request, Catalog()
    words: list[str] = []
    found, graph = result.before, result.graph
    for _ in range(_ROUNDS):
        fresh, idle = [], []
        for word in found.fixes:
            stages = parse_pipeline(word, catalog, None, result.profile.passes)
            unsafe = "" if request.unsafe else _unsafe(stages[0].spec, result.profile)
            useless = "" if unsafe else _useless(graph, stages, catalog)
            result.left[word] = f"{unsafe}; --unsafe-fixes does" if unsafe else useless
            idle += [word] * bool(useless)
            fresh += [word] * (not result.left[word])
        if not fresh:
            break
        words += fresh
        run = Request(
            request.model, ",".join(words), target=request.target, out=request.out, seed=request.seed,
            feed=request.feed, shapes=request.shapes, keep_going=True, atc=False,
        )  # fmt: skip
        result.run = job.run(run, watch)
        graph = result.run.run.graph
        result.sized = _sized(graph, result.profile, request.shapes)
        found = result.after = check(result.sized.graph, result.before.rules, result.before.aim, watch, [*words, *idle])
    if result.run is not None:
        _compare(result, watch)


def _useless(graph: Graph, stages: Sequence[Stage], catalog: Catalog) -> str:
    """Return why a pass does nothing for a graph; an empty string where it does something."""
    try:
        (step,) = pipeline.dry_run(graph, stages, catalog)
    except GraphtoolError as error:
        return str(error)
    return "" if step.matches else f"nothing to do: {step.reason}"


def _unsafe(spec: Pass, profile: Profile) -> str:
    """Return why a pass is not run without ``--unsafe-fixes``; an empty string where it is."""
    asked = profile.passes.get(spec.name, {})
    if spec.name in (profile.pipeline or "").replace(",", " ").replace(":", " ").split() or asked:
        return ""  # the profile asks for it
    if spec.parity not in _SAFE:
        return f"its promise is {spec.parity}"
    return f"it changes the interface ({', '.join(sorted(spec.interface))})" if spec.interface else ""


def _compare(result: CheckResult, watch: Watch) -> None:
    """Compare the outputs of the fixed model, in float32 and rounded to float16 throughout, with the original's."""
    assert result.run is not None
    run = result.run.run
    if run.judge is None or run.judge.original is None or run.feed is None:
        return
    made = run.judge.outputs()
    for name, after in made.items():
        before = run.judge.original.output(name)
        if before is not None and before.shape == after.shape:
            result.float32[name] = compare(before, after)
    if not result.before.aim.float16 or not result.float32:
        return
    watch("running the result as the chip is modelled")
    try:
        rounded = _on_chip(run.graph, result.float32, run.feed.arrays)
    except GraphtoolError as error:
        result.float16_fault = str(error)
        return
    for name in result.float32:
        before = run.judge.original.output(name)
        assert before is not None
        if rounded[name].shape == before.shape:  # a pass that changes the batch changes the feed
            result.float16[name] = compare(before, rounded[name])


def _on_chip(graph: Graph, names: Collection[str], arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Return outputs as the model of the chip computes them: the plugins' semantics, results rounded to float16."""
    return Session(chip_model(with_semantics(graph)[0]).graph, sorted(names)).run(arrays)
