"""Golden records: a graph and its outputs as they were, against which a graph is checked later. Floor 5.

``golden/NAME/run.txt`` is the graph, a line a node; ``outputs.toml`` says on which feed it was run and what came out. A
record is judged with the ``close`` tolerance of the day it was made, even for an exact pipeline: CPUs and versions of
onnxruntime differ in the last bits. Only :func:`record` and :func:`update` write.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import graphtool
from graphtool.errors import FeedError, GoldenError, did_you_mean, quoted, show
from graphtool.golden.feed import drawn, feed_fault, feed_record
from graphtool.golden.graph import graph_fault, graph_lines
from graphtool.golden.outputs import OutputFigures, judge_output, measure
from graphtool.golden.read import from_toml
from graphtool.golden.records import Record, to_toml
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.graph.save import replacing, write_text
from graphtool.graph.weights import external_place, is_external
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import equal
from graphtool.parity.runerror import RunError
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.session import Session
from graphtool.parity.ties import loose_labels
from graphtool.parity.tolerance import close_tolerance
from graphtool.rewrite import Catalog

Array = NDArray[Any]

FOLDER = Path("golden")
_RUN, _OUTPUTS = "run.txt", "outputs.toml"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MOST_BYTES = 1 << 26  # of a file of a record


@dataclass(frozen=True, slots=True)
class Checked:
    """How a check went: it holds where there are no ``faults``.

    Each fault is one difference, that of the graph with a short diff below it. ``lines`` say of each part how it
    compares, ``figures`` are those of the outputs that were judged.
    """

    name: str
    faults: tuple[str, ...]
    lines: tuple[str, ...]
    figures: Mapping[str, OutputFigures] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the record holds."""
        return not self.faults


def list_goldens(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the names of the records in ``folder``, in order; none where there is no such folder."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(p.name for p in folder.iterdir() if _NAME.fullmatch(p.name) and (p / _OUTPUTS).is_file()))


def record(
    name: str,
    graph: Graph,
    model: Path | None,
    feed: Feed,
    folder: Path = FOLDER,
    outputs: Mapping[str, Array] | None = None,
    meanings: Meanings | None = None,
) -> Path:
    """Write the record ``name`` of ``graph`` and return its folder.

    ``model`` is the file that the graph comes from, ``outputs`` what it computes on ``feed`` where that is known,
    ``meanings`` those of ops that onnxruntime lacks (default: of the passes that ship). Takes five runs and more.
    Raises GoldenError where the record exists or two runs do not agree, FeedError where a drawn feed cannot be drawn
    again, RunError.
    """
    target = _place(name, folder)
    if target.exists() or target.is_symlink():
        raise GoldenError(f"golden {quoted(name)} exists in {quoted(folder)}; `golden update {name}` replaces it")
    texts = _texts(graph, model, feed, outputs, meanings)
    part = folder / f".graphtool-{os.urandom(8).hex()}.part"
    try:
        part.mkdir(parents=True)
        for file, text in texts.items():
            write_text(part / file, text)
        part.rename(target)
    except OSError as error:
        raise GoldenError(f"cannot write {quoted(target)}: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def update(
    name: str,
    graph: Graph,
    model: Path | None,
    feed: Feed,
    folder: Path = FOLDER,
    outputs: Mapping[str, Array] | None = None,
    meanings: Meanings | None = None,
) -> Path:
    """Replace the record ``name``, as :func:`record` writes it; raises GoldenError where there is none."""
    target = _existing(name, folder)
    texts = _texts(graph, model, feed, outputs, meanings)
    with ExitStack() as files:  # both are complete before either takes its place
        for file, text in texts.items():
            files.enter_context(replacing(target / file)).write(text.encode())
    return target


def check(
    name: str, graph: Graph, folder: Path = FOLDER, feed: Feed | None = None, meanings: Meanings | None = None
) -> Checked:
    """Compare ``graph`` with the record ``name``: its nodes, and what it computes on the recorded feed.

    ``feed`` is needed, and must hold the recorded numbers, where the record was made with a feed from a file. A graph
    that cannot run on the feed is a fault. Raises GoldenError for an unknown or broken record or the wrong feed.
    """
    target = _existing(name, folder)
    kept, recorded = _read(target)
    if feed is None and kept.feed.seed is None:
        raise GoldenError(
            f"golden {quoted(name)} was recorded on the feed {quoted(kept.feed.source)}; give it with --feed"
        )
    if feed is not None and (reason := feed_fault(kept.feed, feed)):
        raise GoldenError(f"golden {quoted(name)} was recorded on another feed: {reason}")
    lines = graph_lines(graph)
    fault = graph_fault(recorded, lines)
    own = runnable(graph, _known(meanings))
    reports: list[str] = []
    faults: list[str] = []
    figures: dict[str, OutputFigures] = {}
    try:
        outputs = Session(own).run((feed or drawn(kept.feed, graph)).arrays)
    except (FeedError, RunError) as error:
        faults.append(f"the outputs cannot be judged: {error}")
    else:
        figures = {was.name: judge_output(was, outputs[was.name]) for was in kept.outputs if was.name in outputs}
        known = [was.name for was in kept.outputs]
        faults += [f"output {quoted(was)} is gone" for was in known if was not in figures]
        faults += [f"output {quoted(new)} is new" for new in outputs if new not in known]
        faults += [reason for found in figures.values() for reason in found.faults]
        reports = [found.text() for found in figures.values()]
    if fault is None:
        reports.insert(0, f"run.txt: the same graph, {kept.nodes} nodes")
    else:
        faults.insert(0, fault)
        if len(faults) == 1:
            reports.append("the numbers agree: if the graph was meant to change, update the record")
    if faults:
        reports += _changed_versions(kept)
    return Checked(name, tuple(faults), tuple(reports), figures)


# -- files


def _place(name: str, folder: Path) -> Path:
    if not _NAME.fullmatch(name):
        raise GoldenError(f"{quoted(name)} is no name for a golden: use letters, digits, - and _ (at most 100)")
    return folder / name


def _existing(name: str, folder: Path) -> Path:
    target = _place(name, folder)
    if not target.is_dir():
        known = list_goldens(folder)
        hint = did_you_mean(name, known) or (f"; there are {', '.join(known)}" if known else "; there is none")
        raise GoldenError(f"no golden {quoted(name)} in {quoted(folder)}{hint}")
    return target


def _read(target: Path) -> tuple[Record, list[str]]:
    """Return a record and the lines of its graph."""
    kept = from_toml(_text(target / _OUTPUTS), show(target / _OUTPUTS))
    text = _text(target / _RUN)
    if _sha256(text.encode()) != kept.run_sha256:
        raise GoldenError(
            f"{show(target / _RUN)}: it is not the text whose sha256 is in {_OUTPUTS} (graph.sha256); "
            "truncated or edited? restore both files, or update the record"
        )
    return kept, text.splitlines()


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise GoldenError(f"{show(path)}: larger than {_MOST_BYTES} bytes")
        # a checkout may have turned LF into CR LF
        return path.read_bytes().decode().replace("\r\n", "\n")
    except OSError as error:
        raise GoldenError(f"{show(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise GoldenError(f"{show(path)}: not UTF-8 text at byte {error.start}") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- recording


def _texts(
    graph: Graph, model: Path | None, feed: Feed, outputs: Mapping[str, Array] | None, meanings: Meanings | None
) -> dict[str, str]:
    """Return the files of a record by name."""
    kept = feed_record(feed)
    if kept.seed is not None:
        drawn(kept, graph)
    own = runnable(graph, _known(meanings))
    session = Session(own)
    ran = session.run(feed.arrays)
    again = outputs if outputs is not None else session.run(feed.arrays)
    for name, array in ran.items():
        if name not in again or not equal(array, again[name]):
            reason = "is not what was given" if outputs is not None else "differs between two runs on one feed"
            raise GoldenError(f"output {quoted(name)} {reason}; nothing is recorded")
    del session, again
    tolerance = close_tolerance(own, feed.arrays, ran)
    loose = loose_labels(own, feed.arrays, ran)
    run = "".join(f"{line.text}\n" for line in graph_lines(graph))
    done = Record(
        nodes=len(graph.nodes),
        run_sha256=_sha256(run.encode()),
        model=None if model is None else model.name,
        model_files={} if model is None else _model_files(model),
        versions=_versions(),
        feed=kept,
        outputs=tuple(measure(name, array, tolerance[name], loose.get(name)) for name, array in ran.items()),
    )
    return {_RUN: run, _OUTPUTS: to_toml(done)}


def _known(meanings: Meanings | None) -> Meanings:
    return Catalog().semantics() if meanings is None else meanings


def _versions() -> dict[str, str]:
    known = {"graphtool": graphtool, "onnx": onnx, "onnxruntime": onnxruntime, "numpy": np}
    return {name: str(module.__version__) for name, module in known.items()}


def _changed_versions(kept: Record) -> list[str]:
    pairs = [(name, kept.versions[name], now) for name, now in _versions().items() if name in kept.versions]
    return [f"recorded with {name} {show(was)}; this is {now}" for name, was, now in pairs if was != now]


def _model_files(model: Path) -> dict[str, str]:
    """Return the SHA-256 of the bytes of a model's file and of its external data, by file name."""
    graph = Graph.load(model)
    folder = model.parent.resolve()
    places = {external_place(tensor, folder).path for tensor in all_tensors(graph.proto) if is_external(tensor)}
    files = {model.name: model} | {path.relative_to(folder).as_posix(): path for path in sorted(places)}
    found = {}
    for name, path in files.items():
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
