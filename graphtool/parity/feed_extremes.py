"""Extreme feeds, made from a feed that runs: zeros, large, negative, integers at their bounds, sequences of nothing,
and the constants of the graph, where a comparison or a Clip turns.

Only values that may be any are changed. What an operator demands (indices inside their table, masks, divisors, sizes)
stays inside its bounds or as it was, and so do integers that may be sizes (rank 0 and 1) and, where the graph divides
integers, all of them: a division by zero ends the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool import seeded
from graphtool.graph import Graph, Value
from graphtool.graph.bodies import walk
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.containers import Held, each, first, inputs_of, is_absent
from graphtool.parity.feed import Feed, counts_of
from graphtool.parity.feed_reads import Known
from graphtool.parity.feed_rules import Bounds, use_of
from graphtool.parity.metrics import equal

Array = NDArray[Any]
Change = Callable[[Value, Array, "Bounds | None", bool], Array]

_FEW, _MOST = 4, 64  # elements of a constant whose numbers are tried, and numbers in all
LARGE = 1000.0  # times a number near a standard normal; less where the type ends before


def extremes(graph: Graph, feed: Feed) -> list[Feed]:
    """Return the feeds ``zeros``, ``large``, ``negative``, ``bounds`` and ``constants`` of the shapes of ``feed``.

    Beside them ``empty``, which has every sequence without an item. One that would be the feed itself is left out.
    Whether the graph runs on them is for the caller to find out.
    """
    known = Known(graph, feed.recipe.get("dims", {}), {name: first(array).shape for name, array in feed.arrays.items()})
    divides = _divides_integers(graph)
    holds = {name: held for name, held in inputs_of(graph).items() if name in feed.arrays}
    uses = {name: use_of(known, held.item, known.sizes[name]) for name, held in holds.items()}
    changes: dict[str, Callable[[str, Array], Array]] = {
        kind: partial(_changed, change, holds, uses, divides) for kind, change in _KINDS.items()
    }
    changes["constants"] = partial(_changed, partial(_constants, _numbers(graph)), holds, uses, divides)
    changes["empty"] = lambda name, array: array[:0] if holds[name].sequence and not is_absent(array) else array
    found = []
    for kind, changed in changes.items():
        arrays = {n: changed(n, array) if n in holds else array for n, array in feed.arrays.items()}
        if any(not equal(array, feed.arrays[name]) for name, array in arrays.items()):
            found.append(Feed(arrays, {**feed.recipe, "source": kind, **counts_of(holds, arrays)}))
    return found


def _changed(
    change: Change, holds: Mapping[str, Held], uses: Mapping[str, Array | Bounds | None], divides: bool,
    name: str, array: Array,
) -> Array:  # fmt: skip
    use = uses[name]
    if isinstance(use, np.ndarray):
        return array
    # of a scalar numpy makes no array
    return each(array, lambda tensor: np.asarray(change(holds[name].item, tensor, use, divides)))


def _divides_integers(graph: Graph) -> bool:
    """Whether a node divides integers, or may: in a body types are not known."""
    return any(node.op_type in ("Div", "Mod") and not _is_float_tensor(graph, node.input[0]) for node in _nodes(graph))


def _nodes(graph: Graph) -> list[Any]:
    functions = [node for function in graph.proto.functions for node in walk(function)]
    return [*walk(graph.proto.graph), *functions]


def _is_float_tensor(graph: Graph, name: str) -> bool:
    value = graph.value(name)
    return value is not None and value.dtype != 0 and _is_float(numpy_dtype(value.dtype))


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "fc" or "float" in dtype.name


def _may_be_size(array: Array, use: Bounds | None) -> bool:
    return use is None and array.ndim < 2 and array.dtype.itemsize > 1 and array.dtype.kind in "iu"


def _kept(array: Array, use: Bounds | None, divides: bool) -> bool:
    """Whether an input stays as it is, whatever the extreme."""
    whole = not _is_float(array.dtype) and array.dtype.kind not in "bOUS"
    return whole and (divides or _may_be_size(array, use))


def _zeros(value: Value, array: Array, use: Bounds | None, divides: bool) -> Array:
    if _kept(array, use, divides) or (use is not None and use.kind in ("mask", "positive")):
        return array
    if value.dtype == TensorProto.STRING:
        return np.full(array.shape, "", object)
    return np.full(array.shape, use.low if use is not None else 0).astype(array.dtype)


def _large(value: Value, array: Array, use: Bounds | None, divides: bool) -> Array:
    if not _is_float(array.dtype) or (use is not None and use.kind != "positive"):
        return array
    if array.dtype.kind == "c":
        return np.asarray(array * array.dtype.type(LARGE))
    finfo: Any = ml_dtypes.finfo  # knows numpy's own types too
    size = np.abs(array.astype(np.float64)) * min(LARGE, float(finfo(array.dtype).max) / 8)
    signs = np.where(np.arange(array.size) % 2, -1.0, 1.0).reshape(array.shape)  # both, however few numbers there are
    return (size if use is not None else size * signs).astype(array.dtype)


def _negative(value: Value, array: Array, use: Bounds | None, divides: bool) -> Array:
    if use is not None or _kept(array, use, divides) or array.dtype.kind in "buOUSc" or "uint" in array.dtype.name:
        return array
    if _is_float(array.dtype):
        return (-np.abs(array.astype(np.float64))).astype(array.dtype)
    wide = array.astype(np.int64)
    return np.where(wide >= 0, -1 - wide, wide).astype(array.dtype)  # -1 - n never overflows


def _bounds(value: Value, array: Array, use: Bounds | None, divides: bool) -> Array:
    if _kept(array, use, divides) or _is_float(array.dtype) or array.dtype.kind in "OUS":
        return array
    if array.dtype.kind == "b":
        return np.ones(array.shape, np.bool_)
    if use is not None and use.kind == "mask":
        return array
    iinfo: Any = ml_dtypes.iinfo
    limits = (int(iinfo(array.dtype).min), int(iinfo(array.dtype).max)) if use is None else (use.low, use.high - 1)
    made = np.array(limits, np.uint64 if array.dtype == np.uint64 else np.int64).astype(array.dtype)
    return made[np.arange(array.size) % 2].reshape(array.shape)


def _constants(numbers: Array, value: Value, array: Array, use: Bounds | None, divides: bool) -> Array:
    if not numbers.size or not _is_float(array.dtype) or array.dtype.kind == "c" or use is not None:
        return array
    # half of the elements, in each input others: where all inputs are one number nothing shows
    picks = seeded.integers(seeded.key("constants", value.name), array.shape, -numbers.size, numbers.size)
    with np.errstate(over="ignore"):
        return np.where(picks < 0, array.astype(np.float64), numbers[np.maximum(picks, 0)]).astype(array.dtype)


def _numbers(graph: Graph) -> Array:
    """Return the finite numbers of the graph's small constants of a floating-point type, each once."""
    found: dict[float, None] = {}
    names = [*graph.initializers, *(node.output[0] for node in graph.index.by_type("Constant") if node.output)]
    for name in names:
        tensor = graph.initializers.get(name)
        if tensor is not None and math.prod(tensor.dims) > _FEW:
            continue
        array = graph.constant(name)
        if array is not None and array.size <= _FEW and _is_float(array.dtype) and array.dtype.kind != "c":
            found.update(dict.fromkeys(number for number in array.astype(np.float64).ravel() if np.isfinite(number)))
    return np.array([*found][:_MOST])


_KINDS: dict[str, Change] = {
    "zeros": _zeros,
    "large": _large,
    "negative": _negative,
    "bounds": _bounds,
}
