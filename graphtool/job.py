"""What the commands do with files: load, run a pipeline, write the result and the ATC lines. Floor 7."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool import pipeline, written
from graphtool.api import SORTED, over_budget
from graphtool.atc.allowed import refuse
from graphtool.atc.command import Command
from graphtool.atc.profile import Profile
from graphtool.atc.target import Target, shapes_of
from graphtool.batches import gated, unchecked
from graphtool.errors import GraphtoolError, ModelError, UsageError, quoted, show
from graphtool.graph import Graph, check
from graphtool.graph.bodies import all_tensors
from graphtool.graph.stripped import file_of, is_stripped
from graphtool.graph.weights import external_place, is_external
from graphtool.kept import Keep
from graphtool.parity.batch import BatchResult
from graphtool.parity.budget import Budget, parse_budget
from graphtool.parity.feed import Feed, draw
from graphtool.parity.feed_files import feed_from
from graphtool.parity.feed_images import Preprocess
from graphtool.parity.feed_sets import feeds_from
from graphtool.parity.metrics import compare
from graphtool.parity.runerror import RunError
from graphtool.parity.trials import Trial, plan
from graphtool.pipeline import Run, Step
from graphtool.reproducer import broken_text, write_reproducer
from graphtool.rewrite import Catalog, Stage, parse_pipeline
from graphtool.rewrite.params import split_raw

Watch = Callable[[str], None]  # told what is under way


@dataclass(frozen=True, slots=True)
class Request:
    """One ``graphtool run``, in the words of its command line."""

    model: Path
    passes: str | None = None
    settings: tuple[str, ...] = ()
    target: Target = field(default_factory=Target)
    out: Path | None = None
    seed: int = 0
    feed: tuple[str, ...] = ()
    feeds: int | None = None
    extremes: bool = False
    preprocess: Preprocess | None = None  # of images among the feeds; None: the profile's
    keep: Keep = field(default_factory=Keep)
    shapes: tuple[str, ...] = ()
    minima: tuple[str, ...] = ()
    maxima: tuple[str, ...] = ()
    keep_going: bool = False
    checked: bool = True
    require_match: bool = False
    truth: bool = False
    atc: bool = True


@dataclass(slots=True)
class Result:
    """What a run came to.

    ``fault`` says why it ends with exit code 1, ``reproduce`` is the command for the first broken promise. ``path`` is
    None where nothing was written; ``atc_fault`` says why there are no ``commands``, ``batches`` which were looked at
    and how that went: one that the graph does not bear has no command.
    """

    request: Request
    run: Run
    path: Path | None = None
    commands: list[Command] = field(default_factory=list)
    atc_fault: str = ""
    fault: str = ""
    batches: list[BatchResult] = field(default_factory=list)
    reproduce: str = ""
    hints: list[str] = field(default_factory=list)

    def classes(self) -> dict[str, tuple[int, int, int]]:
        """Return for each output that is a class map ``[N,C,H,W]`` how many classes occur before, after, and exist."""
        judge = self.run.judge
        if judge is None or judge.original is None:
            return {}
        found = {}
        for name, after in judge.outputs().items():
            before = judge.original.output(name)
            if before is None or after.ndim != 4:
                continue
            row = after[:1, :, :1]
            if compare(row, row).argmax_agreement is not None:
                found[name] = (_classes_in(before), _classes_in(after), after.shape[1])
        return found


def _classes_in(scores: NDArray[Any]) -> int:
    wide = scores if scores.dtype.itemsize >= 4 else scores.astype(np.float32)  # argmax of float16 is slow
    return len(np.unique(np.argmax(wide, axis=1)))


def prepare(request: Request) -> tuple[Graph, list[Stage], Catalog, Profile]:
    """Load the model and read the pipeline; raises for every word that does not fit, before anything is run."""
    profile = request.target.check()
    shapes_of(request.shapes)
    catalog = Catalog()
    text = request.passes or profile.pipeline
    if not text:
        raise UsageError("no pass is named; give --passes NAME,NAME  (graphtool passes list)")
    stages = parse_pipeline(text, catalog, settings(request.settings), profile.passes)
    refuse(stages, catalog, profile)
    budgets_of(request.minima, request.maxima, stages)
    return Graph.load(request.model), stages, catalog, profile


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


def feed_for(graph: Graph, feed: Sequence[str], seed: int, shapes: Sequence[str]) -> Feed:
    """Return the feed that the command line asks for: files, or a drawn one."""
    if feed:
        return feed_from(list(feed), graph) if len(feed) > 1 else feed_from(feed[0], graph)
    return draw(graph, seed, shapes_of(shapes))


def trials_for(graph: Graph, request: Request, profile: Profile) -> list[Trial]:
    """Return the feeds that a run is judged on: files, images prepared as the profile says, drawn ones, extremes."""
    given = feeds_from(request.feed, graph, request.preprocess or profile.images) if request.feed else []
    trials = [Trial(feed, must=True) for feed in given]
    return plan(graph, trials, request.seed, shapes_of(request.shapes), request.feeds, request.extremes)


def budgets_of(minima: Sequence[str], maxima: Sequence[str], stages: Sequence[Stage] = ()) -> list[Budget]:
    """Return the budgets of ``--min`` and ``--max``; those of one pass name one of ``stages``."""
    passes = {stage.spec.name for stage in stages}
    found = [parse_budget(text, "min", passes) for text in minima]
    return found + [parse_budget(text, "max", passes) for text in maxima]


def run(request: Request, watch: Watch = lambda _: None, on_step: Callable[[Step], None] = lambda _: None) -> Result:
    """Carry out a run: nothing is written where a promise broke (but a reproducer is).

    Raises GraphtoolError for everything a user can get wrong, before anything is written.
    """
    out = request.out or Path(f"{_stem(request.model)}.graphtool.onnx")
    watch("loading")
    graph, stages, catalog, profile = prepare(request)
    moved = sound(graph)
    _check_target(request, graph, stages, out)
    request.keep.check()
    budgets = budgets_of(request.minima, request.maxima, stages) or list(profile.budgets)
    if budgets and not request.checked:
        raise UsageError("a budget cannot be held with --no-check")
    if request.keep != Keep() and not request.checked:
        raise UsageError("--save-outputs and --pictures are of outputs, and with --no-check there are none")
    trials = trials_for(graph, request, profile) if request.checked else None
    watch("running the original, twice")
    try:
        state = pipeline.begin(graph, stages, catalog, trials, budgets, request.truth, structure=True)
    except RunError as error:
        raise cannot_run(error, graph, request) from None
    if moved:
        state.notes.insert(0, SORTED)
    result = Result(request, state)
    steps = pipeline.advance(state, catalog, request.keep_going)
    names = [f"pass {stage.spec.name}" for stage in stages]
    for number in range(len(names) + 1):
        watch(names[number] if number < len(names) else "running the whole graph")
        step = next(steps, None)
        if step is None:
            break
        on_step(step)
        if step.status == "broken" and not result.fault:
            watch("writing what reproduces it")
            result.fault = broken_text(step)
            _reproduce(result, step, budgets)
    result.hints += _hints(state.steps)
    if not result.fault or request.keep_going:
        refusal = _refusal(state, request, budgets)
        result.fault = refusal or result.fault
        if not refusal:
            watch("writing the result")
            _write(result, out, watch)
    _keep(result)
    return result


def cannot_run(error: RunError, graph: Graph, request: Request) -> RunError:
    """Return ``error`` with the input that the node depends on, where that was drawn, and the flag that helps."""
    helps = "--no-check applies the passes without running the model"
    if error.reason != "op" and not request.feed:
        name = _input_before(graph, error.node)
        which = f"input {quoted(name)} was drawn" if name else "the inputs were drawn"
        helps = f"{which}: give your own with --feed, sizes with --shape; or {helps}"
    return RunError(f"{error}; {helps}", error.reason, error.op, error.node)


def _input_before(graph: Graph, node: str | None) -> str | None:
    """Return the graph input nearest to a node, against the edges; None where there is none."""
    inputs = {value.name for value in graph.inputs}
    front: list[str] = [value for found in graph.nodes if found.name == node and node for value in found.input]
    seen = set(front)
    for value in front:  # grows on the way
        if value in inputs:
            return value
        producer = graph.index.producer(value)
        fresh = [name for name in (producer.input if producer is not None else ()) if name not in seen]
        seen.update(fresh)
        front += fresh
    return None


def _refusal(state: Run, request: Request, budgets: Sequence[Budget]) -> str:
    """Return why the result must not be written although no promise is broken; an empty string where it may."""
    reasons = over_budget(state, budgets)
    if reasons:
        return f"the pipeline is over its budget: {reasons[0]}"
    unmatched = next((step for step in state.steps if step.status == "unmatched"), None)
    if request.require_match and unmatched is not None:
        return f"{unmatched.name} matched nothing, and --require-match was given: {unmatched.reason}"
    return ""


def _keep(result: Result) -> None:
    """Write the outputs and pictures that were asked for: of the result, or of the step that ended the run."""
    judge, keep = result.run.judge, result.request.keep
    if judge is None or keep == Keep():
        return
    if judge.original is None:
        result.hints.append("no outputs were kept, since nothing could be run")
        return
    refused = not result.run.ok and not result.request.keep_going
    runs = judge.refused if refused else list(judge.pairs())
    last = next((step.verdict for step in reversed(result.run.steps) if step.verdict is not None), None)
    result.hints += keep.write([(feed.text(), pairs) for feed, pairs in runs], last.tolerance if last else None)


def _gate(result: Result) -> None:
    """Keep the commands of batches at which the graph runs and agrees."""
    judge, graph = result.run.judge, result.run.graph
    if judge is None:
        result.commands = unchecked(result.commands, graph)
        return
    found = gated(result.commands, graph, judge.meanings, judge.feed)
    result.commands, result.batches = found.commands, found.batches
    result.fault = result.fault or found.fault


def _write(result: Result, out: Path, watch: Watch) -> None:
    """Write the model, once its ATC commands are known: a target that was asked for and does not fit is an error."""
    request, graph = result.request, result.run.graph
    if request.atc:
        try:
            result.commands = request.target.commands(graph, out, request.shapes)
        except GraphtoolError as error:
            if request.target.given:
                raise
            result.atc_fault = str(error)
        watch("running the batches")
        _gate(result)
        watch("writing the result")
    graph.save(out)
    written.remember(out)
    result.path = out


def _check_target(request: Request, graph: Graph, stages: Sequence[Stage], out: Path) -> None:
    """Raise where the result cannot, or must not, be written to ``out``: before the work, not after it."""
    if out.exists() and any(path.exists() and out.samefile(path) for path in _read(request, graph, stages)):
        raise UsageError(f"{quoted(out)} is an input of this run; graphtool does not overwrite it: give another -o")
    if request.out is None:
        written.refuse_foreign(out)
    parent = out.parent
    reason = (
        "it is a folder" if out.is_dir()
        else "it is not a regular file" if out.exists() and not out.is_file()
        else f"there is no folder {quoted(parent)}" if not parent.is_dir()
        else f"no permission in folder {quoted(parent)}" if not os.access(parent, os.W_OK)
        else ""
    )  # fmt: skip
    if reason:
        raise ModelError(f"cannot write {quoted(out)}: {reason}")


def _read(request: Request, graph: Graph, stages: Sequence[Stage]) -> Iterator[Path]:
    """Yield the files that a run reads: the model, its external data, pass files, the profile, the feed."""
    yield request.model
    yield from (stage.spec.path for stage in stages)
    yield from (Path(word) for word in [request.target.profile] if word)
    if graph.weights.folder is not None:
        for tensor in all_tensors(graph.proto):
            if is_stripped(tensor):  # its file may be elsewhere
                yield graph.weights.folder / Path(file_of(tensor)).name
            elif is_external(tensor):
                yield external_place(tensor, graph.weights.folder).path
    for word in request.feed:
        yield from (Path(word), Path(word.rpartition("=")[2]))


def _stem(model: Path) -> str:
    return model.name.removesuffix(".onnx")


def _hints(steps: Sequence[Step]) -> list[str]:
    """Name the exact counterparts of lossy passes that matched."""
    found = {step.name: step.stage.spec.exact_form for step in steps if step.matches and step.stage.spec.exact_form}
    return [
        f"{name} changes the numbers; {exact} does the same job without changing them" for name, exact in found.items()
    ]


def _reproduce(result: Result, step: Step, budgets: Sequence[Budget]) -> None:
    """Write what reproduces a broken promise; where that fails, the broken promise is still what is reported."""
    try:
        result.reproduce = write_reproducer(_stem(result.request.model), result.run, step, budgets)
    except (GraphtoolError, OSError) as error:
        result.hints.append(f"no reproducer was written: {error}")
