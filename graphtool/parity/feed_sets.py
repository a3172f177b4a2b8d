"""Several feeds from files: ``--feed`` given more than once, and folders that hold many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from graphtool.errors import FeedError, quoted
from graphtool.graph import Graph
from graphtool.parity.feed import Feed
from graphtool.parity.feed_files import read_item, whole
from graphtool.parity.feed_images import SUFFIXES, Preprocess, image_feeds

Array = NDArray[Any]

MOST = 64  # feeds of one folder: each is a run of every graph


def feeds_from(given: Sequence[str | Path], graph: Graph, how: Preprocess | None = None) -> list[Feed]:
    """Return the feeds in files, in the order given.

    An item is what :func:`feed_files.feed_from` takes, or a folder that holds feeds: ``test_data_set_0``,
    ``test_data_set_1`` ..., ``.npz`` files, or images, which are prepared as ``how`` says. Items fill one feed until
    one brings an input that it already has: that begins the next. Images are feeds of their own, after the others.
    Raises FeedError, also for a folder of more than 64 feeds.
    """
    found: list[Feed] = []
    arrays: dict[str, Array] = {}
    where: list[str] = []
    items = list(_expanded(given))
    images = [Path(item) for item in items if Path(item).suffix.lower() in SUFFIXES]
    for item in items:
        if Path(item).suffix.lower() in SUFFIXES:
            continue
        path, read = read_item(item, graph)
        if any(name in arrays for name in read):
            found.append(whole(arrays, graph, ", ".join(where)))
            arrays, where = {}, []
        arrays |= read
        where.append(_called(path))
    if arrays or not images:
        found.append(whole(arrays, graph, ", ".join(where)))
    return found + (image_feeds(images, graph, how or Preprocess()) if images else [])


def _expanded(given: Sequence[str | Path]) -> Iterator[str | Path]:
    for item in given:
        inside = _feeds_in(Path(item))
        if len(inside) > MOST:
            raise FeedError(f"feed {quoted(item)}: {len(inside)} feeds; at most {MOST} are judged in one run")
        if inside:
            yield from inside
        else:
            yield item


def _feeds_in(folder: Path) -> list[Path]:
    """Return the feeds that lie in a folder, by number where they have one; none where the folder is a feed itself."""
    if not folder.is_dir():
        return []
    children = sorted(folder.iterdir(), key=_by_number)
    if any(re.fullmatch(r"input_\d+\.\w+", child.name) for child in children):
        return []
    sets = [child for child in children if child.is_dir() and child.name.startswith("test_data_set_")]
    files = [child for child in children if child.is_file()]
    archives = [file for file in files if file.suffix == ".npz"]
    return sets or archives or [file for file in files if file.suffix.lower() in SUFFIXES]


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Order ``set_2`` before ``set_10``."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _called(path: Path) -> str:
    """Return a short name of a feed: a set is known by its folder too."""
    return (
        f"{path.parent.name}/{path.name}" if path.name.startswith("test_data_set_") and path.parent.name else path.name
    )
