"""The feed of a golden record: what is kept of it, and whether another is the same numbers. Floor 5."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import FeedError, quoted
from graphtool.golden.outputs import type_name
from graphtool.golden.records import ABSENT_TYPE, FeedRecord, InputRecord
from graphtool.graph import Graph
from graphtool.parity.containers import first, is_absent, is_sequence
from graphtool.parity.feed import Feed, draw

Array = NDArray[Any]


def feed_record(feed: Feed) -> FeedRecord:
    """Return what a golden record keeps of a feed: how to draw it again, and the hash of each input."""
    recipe = feed.recipe
    arrays = feed.arrays.items()
    inputs = tuple(InputRecord(name, _type(a), first(a).shape, _sha256(a)) for name, a in arrays)
    seed = recipe.get("seed")
    dims = {str(name): int(size) for name, size in recipe.get("dims", {}).items()}
    return FeedRecord(str(recipe.get("source", "given")), None if seed is None else int(seed), dims, inputs)


def drawn(kept: FeedRecord, graph: Graph) -> Feed:
    """Return the recorded feed, drawn again; raises FeedError where it does not come out the same."""
    feed = redrawn(kept, graph)
    if reason := feed_fault(kept, feed):
        raise FeedError(f"drawn with seed {kept.seed}, the feed is not the recorded one: {reason}")
    return feed


def redrawn(kept: FeedRecord, graph: Graph) -> Feed:
    """Return a feed drawn with the recorded seed and, for what the graph leaves open, the recorded sizes."""
    assert kept.seed is not None
    loose = {value.name for value in graph.inputs if not value.static}
    shapes = {given.name: given.shape for given in kept.inputs if given.name in loose and given.type != ABSENT_TYPE}
    return draw(graph, kept.seed, shapes)


def feed_fault(kept: FeedRecord, feed: Feed) -> str | None:
    """Return how a feed differs from the recorded one; None where it is the same."""
    known = {given.name: given for given in kept.inputs}
    for name in sorted(known.keys() ^ feed.arrays.keys()):
        return f"input {quoted(name)} is {'missing' if name in known else 'new'}"
    for name, array in feed.arrays.items():
        was = known[name]
        kind, shape = _type(array), first(array).shape
        if (kind, shape) != (was.type, was.shape):
            shapes = f"{kind}{list(shape)}, recorded {was.type}{list(was.shape)}"
            return f"input {quoted(name)} is {shapes}"
        if _sha256(array) != was.sha256:
            return f"input {quoted(name)} holds other numbers"
    return None


def _type(array: Array) -> str:
    """Return the element type, of a sequence that of its first tensor."""
    return ABSENT_TYPE if is_absent(array) else type_name(first(array))


def _sha256(array: Array) -> str:
    """Return the hash of a tensor's numbers, or of the hashes and shapes of a sequence's."""
    if is_absent(array):
        return hashlib.sha256(ABSENT_TYPE.encode()).hexdigest()
    if not is_sequence(array) or not array.size:
        return _numbers_sha256(array)
    lines = (f"{type_name(item)}{list(item.shape)} {_numbers_sha256(item)}\n" for item in array)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _numbers_sha256(array: Array) -> str:
    """Return the SHA-256 of an array's elements as little-endian bytes, of strings with their lengths."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind in "OUS":
        words = [word if isinstance(word, bytes) else str(word).encode() for word in flat.tolist()]
        return hashlib.sha256(b"".join(b"%d:%b" % (len(word), word) for word in words)).hexdigest()
    little = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.view(np.uint8).data).hexdigest()
