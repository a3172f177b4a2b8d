"""A pipeline run for its graphs: each as text after each pass, so that a change of a pass shows as a diff. Floor 5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graphtool import pipeline
from graphtool.errors import quoted
from graphtool.golden.files import read_step, sha256
from graphtool.golden.graph import Line, first_difference, graph_fault, graph_lines, inherited
from graphtool.golden.records import Record, StepRecord
from graphtool.graph import Graph
from graphtool.parity.feed import Feed
from graphtool.rewrite import Catalog, Stage, parse_pipeline


@dataclass(frozen=True, slots=True)
class StepText:
    """The graph after a pass (of the model itself: ``text`` is empty), a line a node; no lines where nothing changed.

    A value keeps its number from step to step.
    """

    name: str
    text: str
    matches: int
    nodes: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """A pipeline, the graph it ends with, and what it was after each pass; ``fault`` where a pass broke its promise."""

    passes: str
    graph: Graph
    steps: tuple[StepText, ...]
    fault: str = ""

    def texts(self) -> dict[str, str]:
        """Return the files of the steps by name."""
        files = {}
        for number, step in enumerate(self.steps):
            if step.lines:
                name = f"steps/{number:02}_{re.sub(r'[^A-Za-z0-9_.-]', '_', step.name)}.txt"
                files[name] = "".join(f"{line.text}\n" for line in step.lines)
        return files

    def records(self) -> tuple[StepRecord, ...]:
        """Return what outputs.toml holds of the steps."""
        files = iter(self.texts().items())
        found = []
        for step in self.steps:
            file, text = next(files) if step.lines else ("", "")
            found.append(StepRecord(step.text, step.matches, step.nodes, file, sha256(text.encode()) if file else ""))
        return tuple(found)


def replay(graph: Graph, passes: str, catalog: Catalog, feed: Feed | None = None) -> Replay:
    """Apply a pipeline to ``graph``, which is edited; judged on ``feed``, or not at all.

    Raises PassError for a pass that there is no more, ModelError for an unsound graph, RunError.
    """
    return replay_stages(graph, parse_pipeline(passes, catalog), catalog, feed)


def replay_stages(graph: Graph, stages: Sequence[Stage], catalog: Catalog, feed: Feed | None = None) -> Replay:
    """Apply the stages of a pipeline, as :func:`replay` does."""
    passes = ",".join(stage.text() for stage in stages)
    state = pipeline.begin(graph, stages, catalog, feed)
    lines = graph_lines(graph)
    steps = [StepText("original", "", 0, graph.node_count, tuple(lines))]
    for step in pipeline.advance(state, catalog):
        if step.status == "broken":
            fault = f"{step.name} broke its promise '{step.stage.spec.parity}': {step.reason}"
            return Replay(passes, graph, tuple(steps), fault)
        after = lines if step.status == "unmatched" else inherited([line.text for line in lines], graph_lines(graph))
        changed = [line.text for line in after] != [line.text for line in lines]
        own = tuple(after) if changed else ()
        steps.append(StepText(step.name, step.stage.text(), len(step.matches), graph.node_count, own))
        lines = after
    return Replay(passes, graph, tuple(steps))


@dataclass(slots=True)
class StepsFound:
    """How a replay differs from the recorded steps: ``place`` is file and line (from 1) of the first difference."""

    faults: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    place: tuple[str, int] | None = None


def judge_steps(kept: Record, target: Path, now: Replay) -> StepsFound:
    """Return how a replay differs from the record in ``target``; of the graphs the first that differs is shown."""
    found = StepsFound()
    if now.fault:
        found.faults.append(now.fault)
    pairs = list(zip(kept.steps, now.steps, strict=False))
    for number, (was, step) in enumerate(pairs):
        if was.matches != step.matches:
            found.lines.append(f"{step.name} matched {step.matches}, recorded {was.matches}")
        if found.place is not None:
            continue
        what = f"step {number} ({step.name})" if number else "the model"
        recorded = read_step(target, number, was) if was.file else []
        if not recorded and step.lines:
            found.faults.append(f"{what}: it changes the graph, which it did not when it was recorded")
            found.place = "outputs.toml", 1
        elif recorded and not step.lines:
            found.faults.append(f"{what}: it changes nothing; recorded {was.matches} matches")
            found.place = was.file, 1
        elif fault := graph_fault(recorded, step.lines, what):
            found.faults.append(fault)
            found.place = was.file, 1 + first_difference(recorded, [line.text for line in step.lines])
    if len(kept.steps) != len(now.steps) and not now.fault:
        found.faults.append(f"the pipeline has {len(now.steps) - 1} passes, recorded {len(kept.steps) - 1}")
    if not found.faults:
        found.lines.insert(0, f"pipeline {quoted(kept.passes)}: each of {len(pairs) - 1} passes makes the same graph")
    return found
