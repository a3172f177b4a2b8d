"""A failure that can be looked for again: what is done with a model, in a guarded child, and what came of it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from graphtool import kernels, pipeline
from graphtool.errors import GraphtoolError, UsageError, show
from graphtool.graph import Graph, check
from graphtool.guard import Limits, Worker, phase
from graphtool.guard.worker import GuardError
from graphtool.parity.budget import Budget, broken
from graphtool.parity.containers import inputs_of, native
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import compare, equal
from graphtool.parity.runerror import RunError, run_error
from graphtool.parity.runnable import runnable
from graphtool.parity.session import Session
from graphtool.parity.trials import Trial
from graphtool.rewrite import Catalog, parse_pipeline

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with a model: one of four things.

    ``passes`` are applied and judged; ``against``: it is compared with another model; ``command`` is run on it (``{}``
    stands for its file, ``{feed}`` for its feed), and what that prints must have ``regex`` in it to count; else
    onnxruntime runs it, at ``level`` of its optimizations.
    """

    passes: str = ""
    budgets: tuple[Budget, ...] = ()
    truth: bool = False
    level: kernels.Level = "all"
    against: bool = False
    command: str = ""
    regex: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What came of it: ``text`` says it in a line, ``sign`` is what a smaller model must have in common.

    Both are empty where nothing failed. ``node`` is the node that onnxruntime named.
    """

    sign: str = ""
    text: str = ""
    node: str = ""


class Looker:
    """Does a job with one model after the other, in one child as long as that lives. A context manager.

    A job may take ``seconds``.
    """

    def __init__(self, job: Job, seconds: float) -> None:
        self.job = job
        self.seconds = seconds
        self._worker = Worker(Limits(seconds=seconds))

    def __enter__(self) -> Looker:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    def look(self, models: tuple[Path, ...], feed: Arrays) -> Failure:
        """Return what comes of the job with a model (of ``against``: two)."""
        with phase("reducing", 3 * self.seconds):
            if self.job.command:
                return _commanded(self.job, models[0], self.seconds)
            try:
                return self._worker.call(look, self.job, tuple(map(str, models)), dict(feed))
            except GuardError as error:
                return _died(str(error), self.seconds)

    def record(self, model: Path, feed: Arrays) -> dict[str, Array]:
        """Return what a model computes; empty where it does not run."""
        with phase("recording inner tensors", 3 * self.seconds), suppress(GraphtoolError):
            return self._worker.call(run_model, str(model), dict(feed))
        return {}


def run_model(model: str, feed: Arrays) -> dict[str, Array]:
    """Return the outputs of a model; runs in the child."""
    graph = runnable(Graph.load(model), Catalog().semantics())
    return Session(graph).run({value.name: feed[value.name] for value in graph.inputs if value.name in feed})


def look(job: Job, models: tuple[str, ...], feed: Arrays) -> Failure:
    """Do a job and return what came of it; runs in the child, where it may die."""
    try:
        if job.against:
            return _differ(job, models, feed)
        return _passed(job, models[0], feed) if job.passes else _run(job, models[0], feed)
    except RunError as error:
        text = str(error).replace(models[0], Path(models[0]).name)  # a temporary path
        return Failure(f"onnxruntime {error.reason} {error.op or ''} {_plain(text)}", text, error.node or "")
    except GraphtoolError as error:
        return Failure(f"{type(error).__name__} {_plain(str(error))}", str(error))
    except Exception as error:
        return Failure(f"{type(error).__name__}", f"internal error, {type(error).__name__}: {show(str(error), 300)}")


def _run(job: Job, model: str, feed: Arrays) -> Failure:
    import onnxruntime as ort

    step = "load"
    try:
        options = ort.SessionOptions()  # the usual ones: what is reported should be seen by others too
        options.log_severity_level = 4
        levels = ort.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_DISABLE_ALL if job.level == "off" else levels.ORT_ENABLE_ALL
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        step = "run"
        holds = inputs_of(Graph.load(model))
        session.run(None, {name: native(array, holds.get(name)) for name, array in feed.items()})
    except Exception as error:
        raise run_error(error, "load" if step == "load" else "run") from None
    return Failure()


def _passed(job: Job, model: str, feed: Arrays) -> Failure:
    graph = Graph.load(model)
    check(graph)
    catalog = Catalog()
    stages = parse_pipeline(job.passes, catalog)
    trials = [Trial(Feed(dict(feed), {"source": "feed.npz"}), must=True)]
    state = pipeline.begin(graph, stages, catalog, trials, job.budgets, job.truth)
    for step in pipeline.advance(state, catalog):
        if step.status == "broken":
            verdict = step.verdict
            if verdict is not None and verdict.rule == "measured":
                return Failure(f"budget {_metric(step.reason)}", f"{step.name} is over its budget: {step.reason}")
            rule = verdict.rule if verdict is not None else _plain(step.reason)
            promise = f"{step.name} broke its promise '{step.stage.spec.parity}'"
            return Failure(f"promise {step.name} {rule}", f"{promise}: {step.reason}")
    judge = state.judge
    figures = {
        name: compare(before, after)
        for _, pairs in (judge.pairs() if judge is not None else ())
        for name, (before, after) in pairs.items()
    }
    given = [b for b in job.budgets if not b.scope and (b.output is None or b.output in figures)]
    reasons = broken(given, figures)
    return _over(reasons, "the pipeline is over its budget: ")


def _over(reasons: list[str], what: str = "") -> Failure:
    return Failure(f"budget {_metric(reasons[0])}", what + reasons[0]) if reasons else Failure()


def _differ(job: Job, models: tuple[str, ...], feed: Arrays) -> Failure:
    was, now = (run_model(model, feed) for model in models)
    for name in was:
        if name not in now or was[name].shape != now[name].shape or was[name].dtype != now[name].dtype:
            return Failure("another type or shape", f"output {show(name)} has another type or shape")
    figures = {name: compare(was[name], now[name]) for name in was}
    if job.budgets:
        given = [b for b in job.budgets if b.output is None or b.output in figures]
        return _over(broken(given, figures))
    for name, found in figures.items():
        if not equal(was[name], now[name]):
            return Failure("differ", f"output {show(name)}: {found.changed} of {found.count} values differ, by up to "
                           f"{found.max_abs:.3g}")  # fmt: skip
    return Failure()


def _commanded(job: Job, model: Path, seconds: float) -> Failure:
    """Run the user's own command on a model; a failure is any exit code but 0."""
    feed = model.with_name("feed.npz")
    words = [word.replace("{feed}", str(feed)).replace("{}", str(model)) for word in shlex.split(job.command)]
    try:
        ended = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
            check=False, cwd=model.parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Failure("timeout", f"the command was stopped after {seconds:g} seconds")
    except OSError as error:
        raise UsageError(f"--check: {show(words[0])}: {error.strerror or error}") from None
    said = ended.stdout.decode("utf-8", "replace")
    if ended.returncode == 0 or (job.regex and not re.search(job.regex, said)):
        return Failure()
    lines = [line for line in said.strip().splitlines() if not job.regex or re.search(job.regex, line)]
    last = f": {show(lines[-1].strip(), 300)}" if lines else ""
    return Failure("check", f"the command ends with exit code {ended.returncode}{last}")


def _metric(reason: str) -> str:
    """Return the metric in a reason of a budget: ``output 'y': cosine 0.5 is below the budget 0.9``."""
    found = re.search(r": (\w+) \S+ is (?:above|below) ", reason)
    return found[1] if found else ""


def _plain(text: str) -> str:
    """Return a message without the names and numbers that differ from model to model."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[-+]?\d[\w.+-]*|\{[^}]*\}|\[[^\]]*\]|\s+", " ", text)


def _died(message: str, seconds: float) -> Failure:
    """Return how a child died: by which signal, or at which limit."""
    if "stopped after" in message:
        return Failure("hang", f"it did not end within {seconds:g} seconds")
    found = re.search(r"(?:crashed|took more than|was killed|ended with exit code).*", message)
    text = found[0] if found else message
    signal = re.search(r"\(SIG\w+\)", text)
    return Failure(f"death {signal[0] if signal else text[:12]}", f"the process that ran it {text}")
