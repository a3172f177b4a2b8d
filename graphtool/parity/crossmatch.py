"""Which item of a batch equals which run of one item: tells permuted, repeated and mislaid items apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import quoted
from graphtool.graph import Graph
from graphtool.parity.containers import joined, keys_of
from graphtool.parity.eps import eps_of
from graphtool.parity.metrics import compare, equal
from graphtool.parity.ties import Loose, loose_labels
from graphtool.parity.tolerance import close_tolerance, least_tolerance

Array = NDArray[Any]
_MOST_COMPARED = 1 << 27  # elements: above that only the rows of items that are not where they belong are filled in


@dataclass(frozen=True, slots=True)
class CrossMatch:
    """One output: ``same[i][j]`` says that item ``i`` of the batch is what run ``j`` alone gave, within noise."""

    output: str
    same: tuple[tuple[bool, ...], ...]

    @property
    def ok(self) -> bool:
        """Whether each item equals its own run."""
        return all(row[item] for item, row in enumerate(self.same))

    @property
    def blind(self) -> bool:
        """Whether all items look alike in this output, so that a mix-up would not show."""
        return len(self.same) > 1 and all(all(row) for row in self.same)

    def fault(self) -> str:
        """Return what happened to the items; an empty string where each is in its place."""
        if self.ok:
            return ""
        found = [item if row[item] else row.index(True) if True in row else None for item, row in enumerate(self.same)]
        lost = [item for item, source in enumerate(found) if source is None]
        if lost:
            which = f"item {lost[0]} of the batch equals" if len(lost) == 1 else f"{len(lost)} items of the batch equal"
            return f"output {quoted(self.output)}: {which} no single run: the items are mixed or mislaid"
        listed = ", ".join(str(source) for source in found)
        if len(set(found)) == len(found):
            return f"output {quoted(self.output)}: the items are permuted, they come out as {listed}"
        return f"output {quoted(self.output)}: items are repeated, they come out as {listed}"

    def lines(self) -> list[str]:
        """Return the matrix: a line an item of the batch, a column a single run; ``=`` where they are the same."""
        return ["".join("=" if same else "." for same in row) for row in self.same]


class Unsplittable(Exception):  # noqa: N818
    """An output that has no items to compare; the message says why."""


def split(name: str, whole: Array, singles: Sequence[Array]) -> list[Array]:
    """Return the items of an output of a batch, each of the shape that one run alone has.

    They lie along the one axis that grows with the batch. Raises Unsplittable.
    """
    count, first = len(singles), singles[0]
    if any(single.shape != first.shape for single in singles):
        raise Unsplittable(f"output {quoted(name)} has a size that depends on the data, and was not compared")
    if whole.shape == first.shape and count > 1:
        if all(equal(single, whole) for single in singles):
            return [whole] * count
        raise Unsplittable(f"output {quoted(name)} has the shape {list(whole.shape)} for one item and for {count}")
    axes = [k for k in range(first.ndim) if whole.ndim == first.ndim and whole.shape[k] != first.shape[k]]
    if count == 1 and not axes and whole.ndim == first.ndim:
        return [whole]
    if len(axes) != 1 or whole.shape[axes[0]] != count * first.shape[axes[0]]:
        shapes = f"{list(first.shape)} for one item, {list(whole.shape)} for {count}"
        raise Unsplittable(f"output {quoted(name)} does not grow with the batch along one axis: {shapes}")
    return list(np.split(whole, count, axes[0]))


class Matcher:
    """Compares items with single runs of ``graph``; noise is measured on a single run, once, where it matters."""

    def __init__(self, graph: Graph, feeds: Sequence[Mapping[str, Array]], singles: Sequence[Mapping[str, Array]]):
        self.graph, self.feeds, self.singles = graph, feeds, singles
        self._noise: dict[str, float] | None = None
        self._loose: dict[tuple[str, int], Loose] = {}

    def match(self, name: str, items: Sequence[Array]) -> CrossMatch:
        """Return how the items of one output match the single runs."""
        singles = [run[name] for run in self.singles[: len(items)]]
        count = len(items)
        full = count * count * singles[0].size <= _MOST_COMPARED
        rows = []
        for i, item in enumerate(items):
            own = self._same(name, i, item, singles[i])
            row = [own if i == j else (full or not own) and self._same(name, j, item, singles[j]) for j in range(count)]
            rows.append(tuple(row))
        return CrossMatch(name, tuple(rows))

    def _same(self, name: str, run: int, item: Array, single: Array) -> bool:
        if item.dtype != single.dtype or item.shape != single.shape:
            return False
        if equal(item, single):
            return True
        if (keys := keys_of(item)) is not None and keys == keys_of(single) and eps_of(joined(single).dtype):
            item, single = joined(item), joined(single)
        if item.dtype.hasobject or item.dtype.kind in "US":
            return False
        if eps_of(single.dtype) == 0:
            return self._same_labels(name, run, item, single)
        moved = compare(single, item).max_abs
        if moved <= least_tolerance(self.graph, name, single):
            return True
        # another item is far away; noise takes runs, and is for what is near
        return moved <= 64 * least_tolerance(self.graph, name, single) and moved <= self._tolerance(name)

    def _tolerance(self, name: str) -> float:
        if self._noise is None:
            self._noise = close_tolerance(self.graph, self.feeds[0], self.singles[0])
        return self._noise[name]

    def _same_labels(self, name: str, run: int, item: Array, single: Array) -> bool:
        if np.mean(item != single) > 0.01:  # ties are rare, another item is not
            return False
        if (name, run) not in self._loose:
            self._loose[name, run] = loose_labels(self.graph, self.feeds[run], {name: single})[name]
        loose = self._loose[name, run]
        flipped = item != single
        return not np.any(flipped & ~loose.at) and int(flipped.sum()) <= loose.count
