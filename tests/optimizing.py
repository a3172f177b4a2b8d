"""What the trap tests of ``optimize`` share: a model out of a few lines, optimized, saved, and judged from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from conftest import graph_of
from onnx import ModelProto, helper

from graphtool import api
from graphtool.cases import model_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from corpus_count import op_counts
from corpus_judge import Baseline, baseline, judge, session

__all__ = ["Trap", "baseline", "held", "judge", "optimized", "text", "weight"]

Array = np.ndarray[Any, Any]
_SPECIAL = [np.nan, 1.5, np.inf, -0.0, -np.inf, 0.0, -2.5, 3e38, 1e-40]


@dataclass(frozen=True)
class Trap:
    """A model, feeds beside the drawn ones, and operators that must be left.

    ``feeds`` are laid over the drawn feed, so that one input can be set alone. ``special`` adds one with NaN,
    infinities, zeros of both signs, huge and subnormal numbers in every float input. ``keeps`` is for what numbers do
    not show.
    """

    make: Callable[[], ModelProto]
    feeds: tuple[Mapping[str, Array], ...] = ()
    special: bool = False
    keeps: tuple[str, ...] = ()
    edits: tuple[Callable[[ModelProto], object], ...] = field(default=())

    def model(self) -> ModelProto:
        proto = self.make()
        for edit in self.edits:
            edit(proto)
        return proto


def text(source: str, *feeds: Mapping[str, Array], opset: int = 17, special: bool = False, keeps: str = "",
         edit: Callable[[ModelProto], object] | None = None) -> Trap:  # fmt: skip
    """A trap as a whole model (from ``<``) or in the text of a case, where values that nothing makes are weights."""

    def make() -> ModelProto:
        whole = source.lstrip().startswith("<")
        return (graph_of(source) if whole else model_of(source, opset)).full_proto()

    return Trap(make, feeds, special, tuple(keeps.split()), () if edit is None else (edit,))


def weight(name: str, dtype: int, dims: list[int], values: list[Any]) -> Callable[[ModelProto], object]:
    """An edit that adds a weight of a type that text cannot say."""
    return lambda proto: proto.graph.initializer.append(helper.make_tensor(name, dtype, dims, values))


def optimized(before: Path, after: Path) -> None:
    """Write to ``after`` what ``optimize`` makes of a file, graphtool's own judge off."""
    api.run(api.load(before), "optimize", checked=False).graph.save(after)


def held(trap: Trap, folder: Path) -> ModelProto:
    """Optimize a trap and hold the result against the original on every feed; return it."""
    before, after = folder / "before.onnx", folder / "after.onnx"
    onnx.save(trap.model(), before)
    base = baseline(before)
    assert not base.unusable, base.unusable
    _add_feeds(base, trap)
    optimized(before, after)
    faults = judge(base, after)
    assert not faults, "; ".join(faults)
    found = onnx.load(after)
    lost = set(trap.keeps) - set(op_counts(found))
    assert not lost, f"lost {sorted(lost)}: {onnx.printer.to_text(found.graph)}"
    return found


def _add_feeds(base: Baseline, trap: Trap) -> None:
    run, drawn = session(base.path), base.runs[0][1]
    feeds = [("given", {**drawn, **feed}) for feed in trap.feeds]
    if trap.special:
        feeds.append(("special", {name: _specials(array) for name, array in drawn.items()}))
    base.runs += [(label, feed, run(feed)) for label, feed in feeds]


def _specials(array: Array) -> Array:
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        return np.resize(np.array(_SPECIAL), array.shape).astype(array.dtype)
