"""``graphtool reduce``: from the words of a command line to a folder that can be attached to a bug report. Floor 7."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from graphtool import kernels
from graphtool.culprit.failure import Job, Looker
from graphtool.culprit.reduce import Reduced, reduce
from graphtool.errors import ModelError, UsageError, quoted, show
from graphtool.finding import bound_text
from graphtool.graph import Graph
from graphtool.graph.save import write_text
from graphtool.guard import temporary
from graphtool.parity.budget import Budget
from graphtool.parity.containers import is_absent, is_sequence
from graphtool.parity.feed_files import write_npz
from graphtool.parity.trials import Trial
from graphtool.request import Request, budgets_of, feed_for, prepare, sound, trials_for
from graphtool.rewrite import Catalog, Pass, Stage, parse_pipeline

if TYPE_CHECKING:
    from graphtool.atc.profile import Profile

Array = NDArray[Any]
Watch = Callable[[str], None]
_FILES = ("model.onnx", "other.onnx")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to fail: the request's passes, the difference to the model ``against``, ``command``, or onnxruntime."""

    request: Request
    against: Path | None = None
    command: str = ""
    regex: str = ""
    level: kernels.Level = "all"
    seconds: float = 60
    attempts: int = 1000


@dataclass(frozen=True, slots=True)
class Written:
    """A reduced case in its folder, and the command that shows the failure there."""

    wish: Wish
    reduced: Reduced
    folder: Path
    command: str
    notes: tuple[str, ...]


def run_reduce(wish: Wish, watch: Watch) -> Written:
    """Reduce what fails and write the folder; nothing is overwritten, and nothing is written where nothing fails.

    Raises GraphtoolError for whatever does not fit; PromiseError where nothing fails.
    """
    request = wish.request
    folder = request.out or Path(re.sub(r"[^\w.+-]|^-", "_", request.model.name.removesuffix(".onnx")) + ".reduced")
    if folder.exists() or folder.is_symlink():
        raise ModelError(f"{quoted(folder)} exists; name another folder with -o")
    if not folder.parent.is_dir():
        raise ModelError(f"cannot write {quoted(folder)}: there is no folder {quoted(folder.parent)}")
    job, stages, catalog, profile = _job(wish)
    watch("loading")
    graphs = [Graph.load(path) for path in (request.model, *([wish.against] if wish.against is not None else []))]
    for graph in graphs:
        sound(graph)

    def drawn(variant: int) -> list[Trial]:
        if job.passes or job.against:
            return trials_for(graphs[0], request, profile, variant if job.passes else 0)
        return [Trial(feed_for(graphs[0], request.feed, request.seed, request.shapes), must=True)]

    with Looker(job, wish.seconds) as looker:
        reduced = reduce(tuple(graphs), drawn, looker, wish.attempts, watch)
    watch(f"writing {folder}")
    return _written(wish, job, stages, catalog, reduced, folder)


def _job(wish: Wish) -> tuple[Job, list[Stage], Catalog, Profile | None]:
    request = wish.request
    wanted = bool(request.passes or request.profile), wish.against is not None, bool(wish.command)
    if sum(wanted) > 1:
        raise UsageError("one failure at a time: --passes, --against or --check")
    if (request.minima or request.maxima) and (wanted[2] or not any(wanted)):
        raise UsageError("a budget is for --passes or --against")
    if wish.regex:
        try:
            re.compile(wish.regex)
        except re.error as error:
            raise UsageError(f"--fail-regex {show(wish.regex)}: {error}") from None
        if not wish.command:
            raise UsageError("--fail-regex is about what the command of --check prints")
    if wish.command and "{}" not in wish.command:
        raise UsageError("--check: the command must have {} where the model's file goes")
    catalog = Catalog()
    stages: list[Stage] = []
    budgets: list[Budget] = []
    profile: Profile | None = None
    if wanted[0]:
        _, stages, catalog, profile = prepare(request)
        budgets = list(profile.budgets if profile else ())
    budgets = budgets_of(request.minima, request.maxima, stages) or budgets
    text = ",".join(stage.text() for stage in stages)
    job = Job(text, tuple(budgets), request.truth, wish.level, wanted[1], wish.command, wish.regex)
    return job, stages, catalog, profile


def _written(
    wish: Wish, job: Job, stages: Sequence[Stage], catalog: Catalog, reduced: Reduced, folder: Path
) -> Written:
    """Write the folder whole or not at all."""
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with temporary(made):
            for name, graph in zip(_FILES, reduced.case.graphs, strict=False):
                graph.save(made / name)
            write_npz(made / "feed.npz", reduced.case.feed)
            words, notes = _passes(stages, catalog, made)
            command = _command(wish, job, words)
            if not (job.passes or job.against or job.command):
                given = _given(reduced.case.feed)
                write_text(made / "reproduce.py", _SCRIPT.format(level=_LEVELS[job.level], given=given))
            write_text(made / "README.md", _readme(wish, reduced, command, notes))
            made.chmod(0o755)
            made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return Written(wish, reduced, folder, command, tuple(notes))


# -- the command


def _command(wish: Wish, job: Job, passes: Sequence[str]) -> str:
    budgets = [word for budget in job.budgets for word in (f"--{budget.kind}", bound_text(budget))]
    if job.command:
        return job.command.replace("{feed}", "feed.npz").replace("{}", "model.onnx")
    if job.against:
        return shlex.join(["graphtool", "compare", *_FILES, "--feed", "feed.npz", *budgets])
    if not job.passes:
        return "python reproduce.py"
    words = ["graphtool", "run", "--passes", ",".join(passes), "model.onnx", "--feed", "feed.npz"]
    return shlex.join([*words, *(["--truth"] if job.truth else []), *budgets])


def _passes(stages: Sequence[Stage], catalog: Catalog, folder: Path) -> tuple[list[str], list[str]]:
    """Copy the pass files that do not ship; return the stages as words in the folder, and what could not be copied.

    A pass by name goes to ``passes``, where it is found; one by a path to the same path.
    """
    words, notes = [], []
    for stage in stages:
        word = stage.word
        if not _ships(stage.spec) and word.endswith(".toml"):
            word = f"./passes/{stage.spec.path.name}"
        words.append(stage._replace(word=word).text())
        for name, spec in _files(stage.word, stage.spec, catalog):
            place = Path("passes") / spec.path.name
            if name.endswith(".toml") and name != stage.word:
                place = Path(name)
            if place.is_absolute() or ".." in place.parts:
                notes.append(f"the pass file {show(name)} is not in this folder")
                continue
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(spec.path, folder / place)
    return words, notes


def _ships(spec: Pass) -> bool:
    from graphtool.data import data_dir

    return spec.path.resolve().parent == data_dir("passes").resolve()


def _files(word: str, spec: Pass, catalog: Catalog) -> Iterator[tuple[str, Pass]]:
    """Yield a pass, and those of its sequence, that do not ship, with the word each is named by."""
    if _ships(spec):
        return
    yield word, spec
    for inner in spec.sequence:
        for stage in parse_pipeline(inner, catalog):
            yield from _files(stage.word, stage.spec, catalog)


_LEVELS = {"off": "ORT_DISABLE_ALL", "all": "ORT_ENABLE_ALL"}
_SCRIPT = """import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.{level}
session = ort.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
feed = np.load("feed.npz")
for value in session.run(None, {given}):
    print(value)
"""


def _given(feed: Mapping[str, Array]) -> str:
    """Return the expression that makes the inputs of a run out of ``feed``, the archive."""
    if not any(is_absent(array) or is_sequence(array) for array in feed.values()):
        return "{name: feed[name] for name in feed.files}"
    words = []
    for name, array in feed.items():
        items = ", ".join(f"feed[{f'{name}[{number}]'!r}]" for number in range(len(array))) if array.ndim else ""
        found = f"[{items}]" if is_sequence(array) else "None" if is_absent(array) else f"feed[{name!r}]"
        words.append(f"{name!r}: {found}")
    return f"{{{', '.join(words)}}}"


def _readme(wish: Wish, reduced: Reduced, command: str, notes: Sequence[str]) -> str:
    before, after = reduced.before, reduced.after
    packages = ", ".join(f"{name} {version(name)}" for name in ("graphtool", "onnx", "onnxruntime", "numpy"))
    lines = [
        f"# {show(reduced.failure.text, 1000)}",
        "",
        f"Reduced from `{show(wish.request.model.name)}`: {before.nodes} -> {after.nodes} nodes, {before.weights} -> "
        f"{after.weights} elements of weights, {before.inputs} -> {after.inputs} of inputs.",
        "In this folder:",
        "",
        f"    {command}",
        "",
        f"Seen with {packages}, Python {platform.python_version()}, {platform.system()} {platform.machine()}.",
        "Weights and inputs whose values do not matter are zeros or ones.",
        *(["", *(f"Note: {note}." for note in notes)] if notes else []),
    ]
    return "\n".join(lines) + "\n"


__all__ = ["Wish", "Written", "run_reduce"]
