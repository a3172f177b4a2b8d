"""A difference in words: one line for a log, a few for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from graphtool.errors import show
from graphtool.graph.counts import counts_line

if TYPE_CHECKING:
    from graphtool.diff.result import Changed, Detail, Diff, Entry, Part

_NAMED = 10  # names on a line that stands for several things
_DIGEST = 12  # characters of a SHA-256 that a person needs to tell two apart


def summary(diff: Diff) -> str:
    """Return one line, such as ``10 nodes changed, 2 removed, 2 weights removed, 3 outputs removed``."""
    words: list[str] = []
    for noun, part in diff.parts():
        counts = {
            "changed": len(part.changed),
            "added": len(part.added),
            "removed": len(part.removed),
            "renamed": len(part.renamed),
            "moved": part.moved,
        }
        found = [(count, verb) for verb, count in counts.items() if count]
        words += [
            f"{_count(count, noun)} {verb}" if place == 0 else f"{count} {verb}"
            for place, (count, verb) in enumerate(found)
        ]
    if diff.model:
        words.append(f"{_count(len(diff.model), 'model property', 'model properties')} changed")
    return ", ".join(words) or "no difference"


def lines(diff: Diff, limit: int) -> list[str]:
    """Return the summary and what it counts; see :meth:`Diff.lines`."""
    found = [summary(diff)]
    for noun, part in diff.parts():
        found += _capped("~", _changed(noun, part.changed), limit)
        for mark, entries in (("+", part.added), ("-", part.removed)):
            found += _capped(mark, _entries(noun, entries), limit)
        found += _renamed_and_moved(noun, part)
    found += _capped("~", [_detail(detail) for detail in diff.model], limit)
    if diff.ops:
        found.append(counts_line(diff.ops))
    return found


def _capped(mark: str, items: Sequence[str], limit: int) -> Iterator[str]:
    for item in items[:limit]:
        yield f"{mark} {item}"
    if len(items) > limit:
        yield f"{mark} ... and {len(items) - limit} more such lines"


def _changed(noun: str, changed: Iterable[Changed]) -> list[str]:
    """Return a line for each sort of change: things of one kind with the same details share one."""
    groups: dict[tuple[str, tuple[Detail, ...]], list[str]] = {}
    for item in changed:
        now = f" (now {show(item.after)})" if item.after != item.name else ""
        kind = item.kind if noun == "node" else noun
        groups.setdefault((kind, _told(item.details)), []).append(f"{show(item.name)}{now}")
    found = []
    for (kind, details), names in groups.items():
        what = _details(details)
        one = len(names) == 1
        kinds = kind if noun == "node" else f"{kind}s"
        found.append(
            f"{show(kind)} {names[0]}: {what}" if one else f"{len(names)} {show(kinds)}: {what}: {_list(names)}"
        )
    return found


def _told(details: tuple[Detail, ...]) -> tuple[Detail, ...]:
    """Return what a line says: of a node with another op type not what the old one had, nor how both are wired."""
    if not _of_another_type(details):
        return details
    return (details[0], *(d for d in details[1:] if d.before is None and d.what.startswith(("attribute ", "body "))))


def _of_another_type(details: Sequence[Detail]) -> bool:
    return bool(details) and details[0].what == "op type"


def _details(details: Sequence[Detail]) -> str:
    if _of_another_type(details):
        its = ", ".join(f"{show(d.what.removeprefix('attribute '))} {show(d.after or '')}" for d in details[1:])
        return _detail(details[0]) + (f" ({its})" if its else "")
    return ", ".join(map(_detail, details))


def _entries(noun: str, entries: Iterable[Entry]) -> list[str]:
    """Return a line for each op type of nodes and each type of weights, and one for anything else."""
    if noun not in ("node", "weight"):
        return [f"{noun} {show(entry.name)} {show(entry.kind)}".rstrip() for entry in entries]
    groups: dict[str, list[str]] = {}
    for entry in entries:
        groups.setdefault(show(entry.kind), []).append(show(entry.name))
    found = []
    for kind, names in groups.items():
        one = f"{kind} {names[0]}" if noun == "node" else f"weight {names[0]} {kind}"
        kinds = kind if noun == "node" else f"weights {kind}"
        found.append(one if len(names) == 1 else f"{len(names)} {kinds}: {_list(names)}")
    return found


def _renamed_and_moved(noun: str, part: Part) -> Iterator[str]:
    if part.renamed:
        pairs = [f"{show(item.before)} -> {show(item.after)}" for item in part.renamed]
        yield f"> {_count(len(pairs), noun)} renamed: {_list(pairs)}"
    if part.moved:
        yield f"> {_count(part.moved, noun)} moved"


def _detail(detail: Detail) -> str:
    # a digest is as good as its beginning, and "attribute" before each attribute would be most of the line
    sides = [detail.before, detail.after]
    if detail.what == "values":
        sides = [None if side is None else f"sha256 {side[:_DIGEST]}" for side in sides]
    what = show(detail.what.removeprefix("attribute "))
    before, after = ("-" if side is None else show(side) for side in sides)
    # the difference may lie where the text does not reach
    return f"{what} {before} -> {after}" if before != after else f"{what} differs"


def _list(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _count(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
