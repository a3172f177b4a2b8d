"""Searches over subsets: the ones that fail, found with few tests. A test may be a run of a whole model.

Sources: A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28 (2002), for
:func:`ddmin`; U. Junker, "QuickXplain", AAAI 2004, for searching one member of a set after the other by halves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Probe(Generic[Item]):
    """A test of subsets, run once for each; ``count`` is how often that was.

    ``fails`` is given items in their order.
    """

    def __init__(self, items: Sequence[Item], fails: Callable[[tuple[Item, ...]], bool]) -> None:
        self.items = tuple(items)
        self.count = 0
        self._fails = fails
        self._known: dict[frozenset[Item], bool] = {}

    def __call__(self, chosen: Sequence[Item]) -> bool:
        """Return whether the subset fails."""
        key = frozenset(chosen)
        if key not in self._known:
            self.count += 1
            self._known[key] = self._fails(tuple(item for item in self.items if item in key))
        return self._known[key]

    def know(self, chosen: Sequence[Item], fails: bool) -> None:
        """Note what is known of a subset without a test."""
        self._known[frozenset(chosen)] = fails

    @property
    def is_monotone(self) -> bool:
        """Whether, as far as was tested, no subset that holds contains one that fails."""
        good = [chosen for chosen, fails in self._known.items() if not fails]
        bad = [chosen for chosen, fails in self._known.items() if fails]
        return not any(small < large for small in bad for large in good)


def smallest_failing(items: Sequence[Item], test: Probe[Item]) -> tuple[Item, ...]:
    """Return a subset of ``items``, which fail together, that fails and of which none can be left out.

    One item is found in about log2(n) + 1 tests, k that are needed together in k times that. No order of the items and
    no monotony is assumed: a search by halves keeps a start that holds and one that fails, whatever lies between.
    """
    fixed: list[Item] = []
    rest = list(items)
    while not fixed or not test(fixed):
        low, high = 0, len(rest)  # with the first ``low`` of the rest it holds, with the first ``high`` it fails
        while high - low > 1:
            middle = (low + high) // 2
            if test([*rest[:middle], *fixed]):
                high = middle
            else:
                low = middle
        fixed.append(rest[high - 1])
        rest = rest[: high - 1]
    found = [item for item in items if item in fixed]
    return tuple(found) if len(found) < 2 else ddmin(found, test)


def ddmin(items: Sequence[Item], test: Callable[[Sequence[Item]], bool]) -> tuple[Item, ...]:
    """Return a subset of ``items``, which fail, that fails and of which no single item can be left out."""
    kept = list(items)
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
        found = None
        if parts == 2:
            found = next((chunk for chunk in chunks if test(chunk)), None)
        if found is not None:
            kept, parts = list(found), 2
            continue
        for place in range(len(chunks)):
            rest = [item for number, chunk in enumerate(chunks) if number != place for item in chunk]
            if rest and test(rest):
                found = rest
                break
        if found is not None:
            kept, parts = found, max(2, min(parts - 1, len(found)))
        elif parts >= len(kept):
            break
        else:
            parts = min(len(kept), 2 * parts)
    return tuple(kept)


def failing_sets(items: Sequence[Item], test: Probe[Item], most: int) -> tuple[list[tuple[Item, ...]], bool]:
    """Return disjoint minimal failing subsets of ``items``, and whether what is left of the items holds.

    One subset is found after the other, each among the items that are left, ``most`` at most.
    """
    found: list[tuple[Item, ...]] = []
    rest = list(items)
    while rest and test(rest):
        if len(found) == most:
            return found, False
        found.append(smallest_failing(rest, test))
        rest = [item for item in rest if item not in found[-1]]
    return found, True
