"""How far an output may move before it is another function: the first rule of ``close``.

8 times the larger of two figures: *noise*, by how much the output moves under onnxruntime's optimizations and under one
ulp on every weight and input, and a *floor*, 16 eps of the type times the largest value.

Both are taken where the numbers are computed. A float32 graph that ends in a Cast to float16 computes in float32: the
eps of float16 would allow an eighth of the largest value, more than shifting the whole image by a row makes. What the
cast itself costs, a value that rounds to the other neighbour, is one ulp of the largest value and is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from graphtool.graph import Graph
from graphtool.graph.opset import numpy_dtype
from graphtool.kernels import Level
from graphtool.parity.containers import joined
from graphtool.parity.eps import eps_of, is_extension
from graphtool.parity.metrics import compare
from graphtool.parity.noise import nudged_feed, nudged_weights
from graphtool.parity.session import Session
from graphtool.parity.truth import FLOOR

Array = NDArray[Any]
DType = np.dtype[Any]

TIMES_NOISE = 8.0
# the numbers of one input, moved or converted
_MOVES = frozenset("Cast Flatten Identity Reshape Squeeze Transpose Unsqueeze ZipMap".split())


@dataclass(frozen=True, slots=True)
class Origin:
    """The tensor in which an output is computed, its type, and the coarsest type its numbers are cast to after that."""

    name: str
    dtype: DType
    cast: DType | None = None


def origin(graph: Graph, name: str, dtype: DType) -> Origin:
    """Return where the float tensor ``name``, of type ``dtype``, is computed: itself, or what is cast to make it."""
    found = Origin(name, dtype)
    coarsest = dtype
    while (node := graph.index.producer(name)) is not None and node.op_type in _MOVES:
        name = node.input[0]
        value = graph.value(name)
        if graph.index.producer(name) is None or value is None or value.dtype == 0:
            break
        before = numpy_dtype(value.dtype)
        if eps_of(before) == 0:
            break
        if before != found.dtype:
            found = Origin(name, before, coarsest if eps_of(coarsest) > eps_of(before) else None)
            coarsest = max(coarsest, before, key=eps_of)
    return found


def least_tolerance(graph: Graph, name: str, array: Array) -> float:
    """Return what rounding alone allows the tensor ``name`` with the value ``array``; needs no run. 0 for no float.

    A sequence is allowed what its numbers end to end are.
    """
    array = joined(array)
    return _allowed(origin(graph, name, array.dtype), array, 0.0) if eps_of(array.dtype) else 0.0


def close_tolerance(graph: Graph, feed: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, float]:
    """Return the largest change of each tensor, in its units, that the noise rule of ``close`` accepts.

    ``outputs`` are tensors of ``graph``, which onnxruntime can run, as computed from ``feed`` with optimizations off.
    Takes two more runs, a third where an output is cast, and a copy of the weights. 0 for what is no float.
    """
    floats = {name: flat for name, array in outputs.items() if eps_of((flat := joined(array)).dtype)}
    origins = {name: origin(graph, name, array.dtype) for name, array in floats.items()}
    computed = dict(floats)
    inner = sorted({found.name for found in origins.values()} - floats.keys())
    if inner:
        computed.update(Session(graph, outputs=inner).run(feed))
    noise = _noise(graph, feed, {found.name: computed[found.name] for found in origins.values()})
    allowed = {name: _allowed(found, floats[name], noise[found.name]) for name, found in origins.items()}
    return dict.fromkeys(outputs, 0.0) | allowed


def disturbed(graph: Graph, feed: Mapping[str, Array], names: Sequence[str]) -> Iterator[dict[str, Array]]:
    """Yield tensors of two runs, with every float weight and input one ulp off in either direction.

    The second run is optimized, too: both disturbances at once take one run less than each alone.
    """
    levels: tuple[tuple[int, Level], ...] = ((+1, "off"), (-1, "all"))
    for direction, level in levels:
        session = Session(graph, outputs=names, level=level, weights=nudged_weights(graph, 0, direction))
        found = session.run(nudged_feed(dict(feed), 0, direction, graph))
        del session  # it holds a copy of the weights, and the next one makes another
        yield found


def _noise(graph: Graph, feed: Mapping[str, Array], tensors: Mapping[str, Array]) -> dict[str, float]:
    noise = dict.fromkeys(tensors, 0.0)
    for found in disturbed(graph, feed, list(tensors)) if tensors else ():
        for name, array in ((name, joined(array)) for name, array in found.items()):
            if array.shape == tensors[name].shape:  # a size may depend on the data
                moved = compare(tensors[name], array).max_abs
                noise[name] = max(noise[name], moved if np.isfinite(moved) else 0.0)
    return noise


def _allowed(found: Origin, array: Array, noise: float) -> float:
    top = _largest(array)
    return float(TIMES_NOISE * max(noise, FLOOR * eps_of(found.dtype) * top) + _ulp(found.cast, top))


def _ulp(dtype: DType | None, at: float) -> float:
    if dtype is None:
        return 0.0
    finfo: Any = ml_dtypes.finfo  # knows numpy's own types too
    return float(eps_of(dtype) * 2.0 ** np.floor(np.log2(max(at, float(finfo(dtype).smallest_normal)))))


def _largest(array: Array) -> float:
    """Return the largest finite magnitude, 0 where there is none."""
    if is_extension(array.dtype):
        array = array.astype(np.float32)
    if array.size == 0:
        return 0.0
    parts = (array.real, array.imag) if array.dtype.kind == "c" else (array,)
    top = max(float(abs(extreme)) for part in parts for extreme in (part.min(), part.max()))
    if np.isfinite(top):
        return top
    return max(float(np.abs(part).max(where=np.isfinite(part), initial=0.0)) for part in parts)
