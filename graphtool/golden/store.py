"""Golden records: a graph and its outputs as they were, against which a graph is checked later. Floor 5.

``golden/NAME/run.txt`` is the graph, a line a node; ``outputs.toml`` says on which feed it was run and what came out. A
record is judged with the ``close`` tolerance of the day it was made, even for an exact pipeline: CPUs and versions of
onnxruntime differ in the last bits. Only :func:`record`, :func:`update` and :func:`write` write.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import FeedError, GoldenError, quoted
from graphtool.golden.feed import drawn, feed_fault
from graphtool.golden.files import FOLDER, OWN, RUN, existing, place_of, read_record
from graphtool.golden.graph import first_difference, graph_fault, graph_lines
from graphtool.golden.make import Origin, changed_versions, known, make
from graphtool.golden.outputs import OutputFigures, judge_output
from graphtool.graph import Graph
from graphtool.graph.save import write_text
from graphtool.parity.feed import Feed
from graphtool.parity.runerror import RunError
from graphtool.parity.runnable import Meanings, runnable
from graphtool.parity.session import Session

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """How a check went: it holds where there are no ``faults``, or was skipped for a ``reason``.

    Each fault is one difference, that of the graph with a short diff below it. ``lines`` say of each part how it
    compares, ``figures`` are those of the outputs that were judged. ``place`` is the file of the record, and the line
    in it from 1, where the graph first differs.
    """

    name: str
    faults: tuple[str, ...]
    lines: tuple[str, ...]
    figures: Mapping[str, OutputFigures] = field(default_factory=dict)
    place: tuple[str, int] | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: the record holds, or was skipped."""
        return not self.faults

    @property
    def status(self) -> str:
        """Return ``holds``, ``fails`` or ``skipped``."""
        return "fails" if self.faults else "skipped" if self.reason else "holds"


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
    target = new_place(name, folder)
    return write(target, make(graph, Origin(model), feed, outputs, meanings).texts)


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
    target = existing(name, folder)
    return write(target, make(graph, Origin(model), feed, outputs, meanings).texts)


def new_place(name: str, folder: Path) -> Path:
    """Return where a new record goes; raises GoldenError where there is one."""
    target = place_of(name, folder)
    if target.exists() or target.is_symlink():
        raise GoldenError(f"golden {quoted(name)} exists in {quoted(folder)}; `golden update {name}` replaces it")
    return target


def write(target: Path, texts: Mapping[str, str], also: Callable[[Path], object] = lambda _: None) -> Path:
    """Write the files of a record, all or none; ``also`` writes more into the folder that it is given.

    A record in that place is replaced; what somebody else put beside it stays.
    """
    part, old = (target.with_name(f".graphtool-{os.urandom(8).hex()}.part") for _ in range(2))
    try:
        part.mkdir(parents=True)
        for file, text in texts.items():
            (part / file).parent.mkdir(exist_ok=True)
            write_text(part / file, text)
        also(part)
        if target.is_dir():
            target.rename(old)
            for path in old.iterdir():
                if path.name not in OWN:
                    path.rename(part / path.name)
        try:
            part.rename(target)
        except OSError:
            if old.is_dir():
                old.rename(target)
            raise
    except OSError as error:
        raise GoldenError(f"cannot write {quoted(target)}: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return target


def check(
    name: str, graph: Graph, folder: Path = FOLDER, feed: Feed | None = None, meanings: Meanings | None = None
) -> Checked:
    """Compare ``graph`` with the record ``name``: its nodes, and what it computes on the recorded feed.

    ``feed`` is needed, and must hold the recorded numbers, where the record was made with a feed from a file. A graph
    that cannot run on the feed is a fault. Raises GoldenError for an unknown or broken record or the wrong feed.
    """
    kept, recorded = read_record(existing(name, folder))
    if feed is None and kept.feed.seed is None:
        raise GoldenError(
            f"golden {quoted(name)} was recorded on the feed {quoted(kept.feed.source)}; give it with --feed"
        )
    if feed is not None and (reason := feed_fault(kept.feed, feed)):
        raise GoldenError(f"golden {quoted(name)} was recorded on another feed: {reason}")
    lines = graph_lines(graph)
    fault = graph_fault(recorded, lines)
    own = runnable(graph, known(meanings))
    reports: list[str] = []
    faults: list[str] = []
    figures: dict[str, OutputFigures] = {}
    try:
        outputs = Session(own).run((feed or drawn(kept.feed, graph)).arrays)
    except (FeedError, RunError) as error:
        faults.append(f"the outputs cannot be judged: {error}")
    else:
        figures = {was.name: judge_output(was, outputs[was.name]) for was in kept.outputs if was.name in outputs}
        names = [was.name for was in kept.outputs]
        faults += [f"output {quoted(was)} is gone" for was in names if was not in figures]
        faults += [f"output {quoted(new)} is new" for new in outputs if new not in names]
        faults += [reason for found in figures.values() for reason in found.faults]
        reports = [found.text() for found in figures.values()]
    place = None
    if fault is None:
        reports.insert(0, f"run.txt: the same graph, {kept.nodes} nodes")
    else:
        faults.insert(0, fault)
        place = RUN, 1 + first_difference(recorded, [line.text for line in lines])
        if len(faults) == 1:
            reports.append("the numbers agree: if the graph was meant to change, update the record")
    if faults:
        reports += changed_versions(kept)
    return Checked(name, tuple(faults), tuple(reports), figures, place)
