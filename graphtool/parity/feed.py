"""The inputs of a run. A drawn feed is valid by type and by use, and the same on every machine.

Sizes of dimensions that the model leaves open: see ``feed_sizes``. Values: floats near a standard normal,
booleans and masks 0 or 1, indices inside their table, other small integers from 0 to 7, bytes over their whole range;
what the operators that read an input demand of it is in ``feed_rules``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool import seeded
from graphtool.errors import FeedError, quoted, show
from graphtool.graph import Graph, Value, dtype_name
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.containers import ABSENT, Held, boxed, inputs_of, is_absent
from graphtool.parity.feed_reads import Known
from graphtool.parity.feed_rules import Bounds, use_of
from graphtool.parity.feed_sizes import VARIANTS, Shapes, items_of, shape_of, sizes_for

__all__ = ["Feed", "Shapes", "counts_of", "draw"]

Array = NDArray[Any]

_MOST_BYTES = 1 << 33
_WORDS = ("ascend", "bell", "cone", "delta", "edge", "feed", "graph", "node")


@dataclass(frozen=True, slots=True)
class Feed:
    """Arrays by input name, and where they come from; sequences and optionals are held as ``containers`` says.

    ``recipe`` holds ``source`` (``drawn``, or the name of a file), and for a drawn feed ``seed``, ``dims`` (size by
    symbol; an unnamed dimension is called ``INPUT:AXIS``) and ``shapes`` (those that were asked for). ``items``, where
    there are any, are the lengths of sequences by input; None stands for an optional that is absent. ``integers``, if
    it is there, says that those which may be any are ``0 or 1``.
    """

    arrays: dict[str, Array]
    recipe: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return the recipe in a few words, fit for a terminal: ``drawn with seed 0, N=2``."""
        source = show(self.recipe.get("source", "given"))
        seed = f"{source} with seed {self.recipe['seed']}" if source == "drawn" and "seed" in self.recipe else source
        dims = (f"{show(name)}={size}" for name, size in self.recipe.get("dims", {}).items())
        items = (
            f"{show(name)} {'absent' if count is None else f'of {count}'}"
            for name, count in self.recipe.get("items", {}).items()
        )
        bits = [f"integers {show(self.recipe['integers'])}"] if "integers" in self.recipe else []
        return ", ".join([seed, *dims, *items, *bits])


def draw(
    graph: Graph,
    seed: int = 0,
    shapes: Shapes | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    variant: int = 0,
) -> Feed:
    """Return a valid feed for ``graph``.

    ``shapes`` gives inputs a shape (a sequence: that of each of its tensors), ``ranges`` a lowest and a highest value
    (both included). ``variant``, a place in ``feed_sizes.VARIANTS``: 1 gives every dimension that is left open another
    size, sequences another length, and leaves out every optional; those from 2 on are for models that do not run on
    these. Raises FeedError for an input that cannot be drawn (a map, an unknown type or rank) or a shape that the model
    does not allow.
    """
    shapes, ranges = shapes or {}, ranges or {}
    holds = inputs_of(graph)
    for name, held in holds.items():
        if held.item.kind != "tensor" or held.item.dtype == 0:
            what = "of unknown type" if held.item.kind in ("tensor", "unknown") else f"of type {held.text()}"
            can = "tensors, and sequences and optionals of them, can be drawn or read from a file"
            raise FeedError(f"input {quoted(name)} is {what}; only {can}")
    items = items_of(holds, shapes)
    how = VARIANTS[variant]
    dims = sizes_for(graph, shapes, variant)
    sizes = {name: shape_of(value, shapes, dims) for name, value in items.items()}
    known = Known(graph, dims, sizes)
    arrays = {}
    narrowed = False
    for name, value in items.items():
        shape, held = sizes[name], holds[name]
        length = how.length if held.sequence else 1
        size = length * math.prod(shape) * numpy_dtype(value.dtype).itemsize
        if size > _MOST_BYTES:
            raise FeedError(f"input {quoted(name)} would take {size >> 30} GiB; give it a smaller --shape")
        if held.optional and variant % 2:
            arrays[name] = ABSENT
            continue
        labels = [f"{name}[{number}]" for number in range(length)] if held.sequence else [name]
        use = None if name in ranges else use_of(known, value, shape)
        if how.bits and name not in ranges and (bits := _bits(use, value)) is not None:
            use, narrowed = bits, True
        drawn = [
            _in_range(key, value, shape, *ranges[name]) if name in ranges else _by_use(use, key, value, shape)
            for key in (seeded.key(seed, label) for label in labels)
        ]
        arrays[name] = boxed(drawn) if held.sequence else drawn[0]
    recipe: dict[str, Any] = {
        "source": "drawn",
        "seed": seed,
        "dims": dims,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
    }
    return Feed(arrays, recipe | counts_of(holds, arrays) | ({"integers": "0 or 1"} if narrowed else {}))


def counts_of(holds: Mapping[str, Held], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return what a recipe says of sequences and absent optionals, nothing where there are none."""
    given = {name: array for name, array in arrays.items() if name in holds}
    counts = {
        name: None if is_absent(array) else len(array)
        for name, array in given.items()
        if holds[name].sequence or is_absent(array)
    }
    return {"items": counts} if counts else {}


# -- values


def _by_use(use: Array | Bounds | None, key: int, value: Value, shape: tuple[int, ...]) -> Array:
    dtype = numpy_dtype(value.dtype)
    if isinstance(use, np.ndarray):
        try:
            return np.array(np.broadcast_to(use, shape), dtype)
        except ValueError:
            raise FeedError(f"input {quoted(value.name)} has {list(shape)}, its use wants {list(use.shape)}") from None
    if value.dtype == TensorProto.STRING:
        picks = seeded.integers(key, shape, 0, len(_WORDS))
        return np.array([_WORDS[pick] for pick in np.ravel(picks)], object).reshape(shape)
    if dtype.kind in "fc" or "float" in dtype.name:
        return _float(key, shape, dtype, use)
    low, high = (0, 8) if use is None else (use.low, use.high)
    if value.dtype == TensorProto.BOOL:
        low, high = 0, 2
    elif use is None and dtype.itemsize == 1 and dtype.kind in "iu":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max) + 1  # pixels and quantised data
    found = np.asarray(seeded.integers(key, shape, low, max(high, low + 1)))
    if use is not None and use.kind == "mask" and shape and shape[-1]:
        found[..., 0] = 1  # a row that is masked out altogether is a softmax of nothing
    return np.asarray(found.astype(dtype))


def _bits(use: Array | Bounds | None, value: Value) -> Bounds | None:
    """Return the bounds of integers that could be larger than 1 and need not be; None for any other input."""
    dtype = numpy_dtype(value.dtype)
    if dtype.kind not in "iu" or dtype.itemsize < 2 or isinstance(use, np.ndarray):
        return None
    was = use or Bounds("other")
    return Bounds(was.kind, was.low, max(was.low + 1, 2)) if was.high > 2 else None


def _float(key: int, shape: tuple[int, ...], dtype: np.dtype[Any], use: Bounds | None) -> Array:
    found = seeded.bell(key, shape)
    if use is not None and use.kind == "positive":
        found = np.abs(found) + np.float32(0.5)
    elif use is not None and use.kind == "mask":
        found = (found > 0).astype(np.float32)
        if shape and shape[-1]:
            found[..., 0] = 1
    elif use is not None and use.kind == "table":
        found = seeded.integers(key, shape, use.low, use.high).astype(np.float32)
    if dtype.kind == "c":
        return np.asarray(found + 1j * seeded.bell(key + 1, shape)).astype(dtype)
    return np.asarray(found.astype(dtype))


def _in_range(key: int, value: Value, shape: tuple[int, ...], low: float, high: float) -> Array:
    dtype = numpy_dtype(value.dtype)
    if low > high or value.dtype == TensorProto.STRING:
        raise FeedError(f"input {quoted(value.name)}: no {dtype_name(value.dtype)} lies between {low} and {high}")
    if dtype.kind == "f" or "float" in dtype.name:
        share = (seeded.bits(key, 0, math.prod(shape)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * share.reshape(shape)).astype(dtype)
    return np.asarray(seeded.integers(key, shape, math.ceil(low), math.floor(high) + 1)).astype(dtype)
