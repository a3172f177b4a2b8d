"""Feeds for two models whose inputs have other names, types or open sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.comparator.pairing import narrowed, pair_inputs, read_maps
from graphtool.comparator.result import Pair
from graphtool.errors import FeedError, quoted
from graphtool.graph import Graph
from graphtool.graph.declared import declare_dim
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.feed import Feed, Shapes, draw
from graphtool.parity.trials import Trial, plan

Array = NDArray[Any]


def draw_for(a: Graph, b: Graph, pairs: Sequence[Pair], seed: int, shapes: Shapes | None) -> Feed:
    """Draw a feed for ``a`` whose open dimensions are those that ``b`` has fixed, where it has."""
    return draw(_sized(a, b, pairs, shapes), seed, shapes)


def trials_for(
    a: Graph, b: Graph, maps: Iterable[str] = (), given: Sequence[Trial] = (), seed: int = 0,
    shapes: Shapes | None = None, count: int | None = None, with_extremes: bool = False, variant: int = 0,
) -> list[Trial]:  # fmt: skip
    """Return the feeds that two models are compared on, see :func:`graphtool.parity.trials.plan`; one by default."""
    pairs = pair_inputs(a, b, read_maps(maps, a, b)[0])
    wanted = count if count is not None or given else 1
    return plan(_sized(a, b, pairs, shapes), given, seed, shapes, wanted, with_extremes, variant)


def _sized(a: Graph, b: Graph, pairs: Sequence[Pair], shapes: Shapes | None) -> Graph:
    """Return a copy of ``a`` with the sizes of inputs that ``b`` has fixed, but for inputs that ``shapes`` is about."""
    xs, ys = {v.name: v for v in a.inputs}, {v.name: v for v in b.inputs}
    symbols: dict[str, int] = {}
    own = a.copy()
    infos = {info.name: info for info in own.header.input}
    for pair in pairs:
        x, y = xs[pair.before], ys[pair.after]
        if x.shape is None or y.shape is None or (shapes and x.name in shapes):
            continue
        for axis, (open_, size) in enumerate(zip(x.shape, y.shape, strict=True)):
            if isinstance(size, int) and not isinstance(open_, int):
                declare_dim(infos[x.name], axis, size)
                if isinstance(open_, str):
                    symbols.setdefault(open_, size)
    for value in own.inputs:
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(dim, str) and dim in symbols and not (shapes and value.name in shapes):
                declare_dim(infos[value.name], axis, symbols[dim])
    return own


def both_feeds(
    a: Graph, b: Graph, pairs: Sequence[Pair], arrays: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the feeds of both models out of one for the first: by name, and cast where an element type differs.

    Where the second model's type is the narrower one the first is given the rounded numbers too.
    """
    ours, theirs = dict(arrays), {}
    wanted = {v.name: v for v in b.inputs}
    for pair in pairs:
        value, array = wanted[pair.after], ours[pair.before]
        if value.shape is not None and array.ndim == len(value.shape):
            for axis, (size, dim) in enumerate(zip(array.shape, value.shape, strict=True)):
                if isinstance(dim, int) and size != dim:
                    raise FeedError(
                        f"input {quoted(pair.before)} is {array.dtype.name}{list(array.shape)}, and dimension {axis} "
                        f"of {quoted(pair.after)} is fixed to {dim} in the second model"
                    )
        dtype = numpy_dtype(value.dtype) if value.dtype else array.dtype
        if array.dtype != dtype and not array.dtype.hasobject:
            array, ours[pair.before] = narrowed(array, dtype)
        theirs[pair.after] = np.asarray(array)
    return ours, theirs
