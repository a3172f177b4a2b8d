"""What the commands do with files: load, run a pipeline, write the result and the ATC lines. Floor 7.

What only a judged run, or one for a target, needs is imported there: a run without either is over sooner.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphtool import pipeline, written
from graphtool.errors import GraphtoolError, ModelError, UsageError, quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.graph.stripped import file_of, is_stripped
from graphtool.graph.weights import external_place, is_external
from graphtool.request import Request, budgets_of, on_feeds, prepare, sound
from graphtool.rewrite import Stage
from graphtool.step import Run, Step, broken_text, over_budget

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graphtool.atc.command import Command
    from graphtool.parity.batch import BatchResult
    from graphtool.parity.budget import Budget
    from graphtool.parity.trials import Trial

Watch = Callable[[str], None]  # told what is under way


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
        from graphtool.parity.metrics import compare

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


def run(request: Request, watch: Watch = lambda _: None, on_step: Callable[[Step], None] = lambda _: None) -> Result:
    """Carry out a run: nothing is written where a promise broke (but a reproducer is).

    Raises GraphtoolError for everything a user can get wrong, before anything is written.
    """
    out = request.out or Path(f"{_stem(request.model)}.graphtool.onnx")
    watch("loading")
    graph, stages, catalog, profile = prepare(request)
    moved = sound(graph)
    _check_target(request, graph, stages, out)
    if request.keep is not None:
        request.keep.check()
    budgets = budgets_of(request.minima, request.maxima, stages) or list(profile.budgets if profile else ())
    if budgets and not request.checked:
        raise UsageError("a budget cannot be held with --no-check")
    if request.keep is not None and not request.checked:
        raise UsageError("--save-outputs and --pictures are of outputs, and with --no-check there are none")
    judged = {
        "--feed": request.feed, "--feeds": request.feeds, "--extremes": request.extremes, "--truth": request.truth
    }  # fmt: skip
    asked = [word for word, given in judged.items() if given]
    if asked and not request.checked:
        raise UsageError(f"{asked[0]} is of the check that --no-check leaves out; give one of them")

    def begin(trials: list[Trial] | None) -> Run:
        watch("running the original, twice")
        return pipeline.begin(graph, stages, catalog, trials, budgets, request.truth, structure=True, moved=moved)

    state = on_feeds(graph, request, profile, begin) if request.checked else begin(None)
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
    if judge is None or keep is None:
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
    from graphtool.batches import gated, unchecked

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
    if request.atc and request.target is not None:
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
        "a model is a file; name one" if str(out) == "-"
        else "it is a folder" if out.is_dir()
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
    yield from (Path(word) for word in [request.profile] if word)
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
    from graphtool.reproducer import write_reproducer

    try:
        result.reproduce = write_reproducer(_stem(result.request.model), result.run, step, budgets)
    except (GraphtoolError, OSError) as error:
        result.hints.append(f"no reproducer was written: {error}")
