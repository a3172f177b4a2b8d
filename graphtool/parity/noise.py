"""One ulp of noise: how far an output moves when weights and inputs move by the smallest step there is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool import seeded
from graphtool.graph import Graph
from graphtool.parity.containers import each
from graphtool.parity.feed_reads import readers_of

Array = NDArray[Any]

_CHUNK = 1 << 18
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
# inputs that are not data: one ulp less of a Resize's scale is another output shape, one of an exponent is NaN
_EXACT: dict[str, frozenset[int]] = {
    "Resize": frozenset({1, 2}),
    "Upsample": frozenset({1}),
    "Pow": frozenset({1}),
    "Range": frozenset({0, 1, 2}),
    "Dropout": frozenset({1}),
    "NonMaxSuppression": frozenset({3, 4}),
}


def nudge(array: Array, seed: int, direction: int) -> Array:
    """Return ``array`` (float16, float32 or float64; any other is returned as it is) with every element one ulp off.

    Up or down is drawn for each element from ``seed``; ``direction`` (+1 or -1) turns all of them round, so the two
    runs lie on both sides. Zeros stay zero (they are padding, masks, the holes of a matrix, and the next number is
    denormal), infinities and NaN stay, and the largest finite numbers do not become infinite.
    """
    if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
        return array
    flat = np.ascontiguousarray(array).reshape(-1)
    nudged = np.empty_like(flat)
    up, down = array.dtype.type(np.inf * direction), array.dtype.type(-np.inf * direction)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        words = seeded.bits(seed, start // 64, -(-chunk.size // 64)).astype("<u8")
        signs = np.unpackbits(words.view(np.uint8), count=chunk.size).view(np.bool_)
        with np.errstate(over="ignore", under="ignore"):
            moved = np.nextafter(chunk, np.where(signs, up, down))
        keep = (chunk == 0) | ~np.isfinite(chunk) | ~np.isfinite(moved)
        nudged[start : start + chunk.size] = np.where(keep, chunk, moved)
    return nudged.reshape(array.shape)


def nudged_weights(graph: Graph, seed: int, direction: int) -> dict[str, Array]:
    """Return every float initializer of the graph nudged, for ``Session(weights=...)``.

    Left out are those that are no data to some operator (scales of Resize, exponents). Costs one copy of the weights.
    """
    arrays = {}
    for name, tensor in graph.initializers.items():
        if tensor.data_type in _FLOATS and not _is_exact(graph, name):
            arrays[name] = nudge(graph.array(tensor), seeded.key(seed, name), direction)
    return arrays


def nudged_feed(arrays: Mapping[str, Array], seed: int, direction: int, graph: Graph | None = None) -> dict[str, Array]:
    """Return the inputs of a run with every float nudged; those that are no data to ``graph`` stay as they are."""
    keys = {name: seeded.key(seed, name) for name in arrays if graph is None or not _is_exact(graph, name)}
    return {
        name: each(array, partial(nudge, seed=keys[name], direction=direction)) if name in keys else array
        for name, array in arrays.items()
    }


def _is_exact(graph: Graph, name: str) -> bool:
    return any(read.place in _EXACT.get(read.node.op_type, ()) for read in readers_of(graph, name))
