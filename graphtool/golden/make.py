"""The files of a new record: the graph as text, what it computes, where both come from. Floor 5."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import graphtool
from graphtool.errors import GoldenError, quoted, show
from graphtool.golden.feed import drawn, feed_record
from graphtool.golden.files import OUTPUTS, RUN, sha256
from graphtool.golden.graph import graph_lines
from graphtool.golden.outputs import measure, refuse_others
from graphtool.golden.records import Record, Source, to_toml
from graphtool.golden.steps import Replay
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.graph.weights import external_place, is_external
from graphtool.parity.feed import Feed
from graphtool.parity.metrics import equal
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.session import Session
from graphtool.parity.ties import loose_labels
from graphtool.parity.tolerance import close_tolerance
from graphtool.rewrite import Catalog

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a recorded graph comes from: a model's file, where to find that again, and the pipeline that was run."""

    model: Path | None = None
    source: Source | None = None
    run: Replay | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """The texts of a record by file name, and what the graph computed."""

    texts: Mapping[str, str]
    outputs: Mapping[str, Array]


def make(
    graph: Graph,
    origin: Origin,
    feed: Feed,
    outputs: Mapping[str, Array] | None = None,
    meanings: Meanings | None = None,
) -> Made:
    """Return the record of ``graph``; raises as :func:`graphtool.golden.record` does."""
    kept = feed_record(feed)
    if kept.seed is not None:
        drawn(kept, graph)
    own = runnable(graph, known(meanings))
    session = Session(own)
    ran = session.run(feed.arrays)
    for name, array in ran.items():
        refuse_others(name, array)
    again = outputs if outputs is not None else session.run(feed.arrays)
    for name, array in ran.items():
        if name not in again or not equal(array, again[name]):
            reason = "is not what was given" if outputs is not None else "differs between two runs on one feed"
            raise GoldenError(f"output {quoted(name)} {reason}; nothing is recorded")
    del session, again
    tolerance = close_tolerance(own, feed.arrays, ran)
    loose = loose_labels(own, feed.arrays, ran)
    text = "".join(f"{line.text}\n" for line in graph_lines(graph))
    done = Record(
        nodes=graph.node_count,
        run_sha256=sha256(text.encode()),
        model=None if origin.model is None else origin.model.name,
        model_files={} if origin.model is None else model_files(origin.model),
        versions=versions(),
        feed=kept,
        outputs=tuple(measure(name, array, tolerance[name], loose.get(name)) for name, array in ran.items()),
        source=origin.source,
        passes=None if origin.run is None else origin.run.passes,
        steps=() if origin.run is None else origin.run.records(),
    )
    steps = {} if origin.run is None else origin.run.texts()
    return Made({RUN: text, OUTPUTS: to_toml(done), **steps}, ran)


def known(meanings: Meanings | None) -> Meanings:
    """Return meanings of ops that onnxruntime lacks: those given, or those of the passes that ship."""
    return Catalog().semantics() if meanings is None else meanings


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a graph computes."""
    packages = {"graphtool": graphtool, "onnx": onnx, "onnxruntime": onnxruntime, "numpy": np}
    return {name: str(module.__version__) for name, module in packages.items()}


def changed_versions(kept: Record) -> list[str]:
    """Return a line for each package that is another one than when the record was made."""
    pairs = [(name, kept.versions[name], now) for name, now in versions().items() if name in kept.versions]
    return [f"recorded with {name} {show(was)}; this is {now}" for name, was, now in pairs if was != now]


def model_files(model: Path) -> dict[str, str]:
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
