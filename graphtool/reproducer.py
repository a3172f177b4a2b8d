"""What one command needs to break a promise again: the graph, the feed, the command itself. Floor 7."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from graphtool.errors import ModelError, quoted, show
from graphtool.graph import Snapshot
from graphtool.graph.save import write_text
from graphtool.parity.budget import Budget
from graphtool.parity.feed_files import write_npz
from graphtool.parity.judge import Array
from graphtool.step import Run, Step, broken_text


def write_reproducer(stem: str, state: Run, step: Step, budgets: Sequence[Budget]) -> str:
    """Write folder ``STEM.repro`` here, from which the promise of ``step`` is judged, and return the command for it.

    Raises ModelError where a folder of that name is not graphtool's, FeedError or OSError where it cannot be written.
    """
    # one word for any shell, and neither an option nor INPUT=FILE
    folder = Path(re.sub(r"[^\w.+-]|^-", "_", stem) + ".repro")
    marker = folder / "command.txt"
    if folder.exists() and not marker.exists():
        raise ModelError(f"{quoted(folder)} exists and graphtool did not write it; move it away")
    folder.mkdir(exist_ok=True)
    snapshot, first, feed = _start(state, step.stage.spec.parity)
    state.graph.at(snapshot).save(folder / "before.onnx")
    number = next(n for n, stage in enumerate(state.stages) if stage is step.stage)
    words = ["graphtool", "run", "--passes", ",".join(stage.text() for stage in state.stages[first : number + 1])]
    words += [f"{folder}/before.onnx"]
    if feed is not None:
        write_npz(folder / "feed.npz", feed)
        words += ["--feed", f"{folder}/feed.npz"]
        words += ["--truth"] if state.judge is not None and state.judge.truth else []
    else:
        words += ["--no-check"]
    for budget in budgets:
        words += [f"--{budget.kind}", f"{budget.where()}{budget.metric}={budget.bound!r}"]
    command = shlex.join(words)
    write_text(marker, f"{command}\n\n{show(broken_text(step), 1000)}\n")
    return command


def _start(state: Run, parity: str) -> tuple[Snapshot, int, Mapping[str, Array] | None]:
    """Return the graph that a step of this parity is judged against, the first stage after it, and its feed."""
    assert state.segment is not None and state.latest is not None
    judge = state.judge
    if parity == "lossy":
        (snapshot, first), reference = (state.original.snapshot(), 0), judge.original if judge is not None else None
    elif parity in ("exact", "float16"):
        (snapshot, first), reference = state.latest, judge.before if judge is not None else None
    else:
        (snapshot, first), reference = state.segment, judge.start if judge is not None else None
    if reference is not None:
        return snapshot, first, reference.feed
    return snapshot, first, state.feed.arrays if state.feed is not None else None
