"""Alignment by order: the last resort where neither names nor the structure of whole graphs hold."""

from __future__ import annotations

from graphtool.diff.matching import Matching
from graphtool.diff.view import View

_WINDOW = 32  # nodes that an edit may span: looked through anew at each edit, so squared in time


def match_sequence(m: Matching) -> None:
    """Pair unpaired nodes that look alike and follow each other alike, skipping short stretches on either side.

    Between two edits of a graph whose names all changed, nodes compute another function than before and are used
    otherwise, so that nothing but their order and their neighbours' op types is left to tell them by.
    """
    left_a, left_b = m.unpaired()
    looks_a, looks_b = [_look(m.a, i) for i in left_a], [_look(m.b, j) for j in left_b]
    i = j = 0
    while i < len(left_a) and j < len(left_b):
        if looks_a[i] != looks_b[j]:
            skip = _resume(looks_a[i : i + _WINDOW], looks_b[j : j + _WINDOW])
            i, j = i + skip[0], j + skip[1]
            continue
        m.pair(left_a[i], left_b[j])
        i, j = i + 1, j + 1


def _resume(a: list[int], b: list[int]) -> tuple[int, int]:
    """Return how many items to skip on each side, as few as possible, for two in a row to be equal again."""
    for total in range(1, len(a) + len(b) - 3):
        for skip in range(max(0, total - len(b) + 2), min(total, len(a) - 2) + 1):
            other = total - skip
            if a[skip] == b[other] and a[skip + 1] == b[other + 1]:
                return skip, other
    return max(len(a) - 1, 1), max(len(b) - 1, 1)


def _look(view: View, i: int) -> int:
    sources = []
    for name in view.reads[i]:
        if name in view.makers:
            sources.append(view.ops[view.makers[name][0]])
        else:
            sources.append(view.weights[name].value.type_text() if name in view.weights else "")
    return view.contents.number((view.ops[i], view.attributes(i), tuple(sources)))
