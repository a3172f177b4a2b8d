"""What ``--save-outputs`` and ``--pictures`` leave: outputs to be judged again, and pictures of them. Floor 7."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.errors import UsageError, quoted
from graphtool.parity.metrics import compare
from graphtool.parity.saved import Array, check_folder, write_outputs
from graphtool.report import pictures

Pairs = Mapping[str, tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Keep:
    """The folders that were asked for."""

    outputs: Path | None = None
    pictures: Path | None = None

    def check(self) -> None:
        """Raise, before the work and not after it, where a folder cannot be used or matplotlib is missing."""
        for folder in (self.outputs / "before", self.outputs / "after") if self.outputs is not None else ():
            check_folder(folder)
        if self.pictures is not None:
            pictures.require()
            if self.pictures.exists() and not self.pictures.is_dir():
                raise UsageError(f"{quoted(self.pictures)} is not a folder")

    def write(self, runs: Sequence[tuple[str, Pairs]], tolerance: Mapping[str, float] | None = None) -> list[str]:
        """Write what was asked for of each feed's outputs (before, after); return a line for each folder."""
        lines = []
        if self.outputs is not None:
            for side, name in enumerate(("before", "after")):
                shown = [(feed, {output: pair[side] for output, pair in pairs.items()}) for feed, pairs in runs]
                write_outputs(self.outputs / name, shown)
            lines.append(f"graphtool judge {self.outputs / 'before'} {self.outputs / 'after'}")
        if self.pictures is not None:
            count = draw(self.pictures, runs, tolerance or {})
            lines.append(f"{count} picture{'s' if count != 1 else ''} in {self.pictures}")
        return lines


def draw(folder: Path, runs: Sequence[tuple[str, Pairs]], tolerance: Mapping[str, float]) -> int:
    """Draw a histogram of errors for each output of each feed, and a map for ``[N,C,H,W]``; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    taken: set[str] = set()
    for number, (feed, pairs) in enumerate(runs):
        for name, (before, after) in pairs.items():
            if before.dtype.hasobject or before.dtype.kind in "US" or before.size == 0:
                continue
            stem = _stem(name, number if len(runs) > 1 else None, taken)
            found = compare(before, after)
            title = f"{name}: max {found.max_abs:.3g}, mean {found.mean_abs:.2g}; {feed}"
            allowed = tolerance.get(name)
            pictures.histogram(folder / f"{stem}.errors.png", before, after, title=title, tolerance=allowed)
            count += 1
            if pictures.has_map(before):
                pictures.error_map(folder / f"{stem}.map.png", before, after, title=title)
                count += 1
    return count


def _stem(output: str, feed: int | None, taken: set[str]) -> str:
    """Return a file name for an output; names that differ only in what a file cannot be called get a number."""
    plain = re.sub(r"[^\w.-]", "_", output).lstrip(".") or "_"
    stem = plain if feed is None else f"feed_{feed}.{plain}"
    number = 1
    while stem in taken:
        number += 1
        stem = f"{plain}_{number}" if feed is None else f"feed_{feed}.{plain}_{number}"
    taken.add(stem)
    return stem
