"""The inputs of a run. A drawn feed is valid by type and by use, and the same on every machine.

Sizes of dimensions that the model leaves open: see :func:`sizes_for`. Values: floats near a standard normal,
booleans and masks 0 or 1, indices inside their table, other small integers from 0 to 7, bytes over their whole range;
what the operators that read an input demand of it is in ``feed_rules``.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool import seeded
from graphtool.errors import FeedError, quoted, show, which_it_has
from graphtool.graph import Graph, Value, dtype_name
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.containers import ABSENT, Held, boxed, inputs_of, is_absent
from graphtool.parity.feed_reads import Known
from graphtool.parity.feed_rules import Bounds, demanded_dims, use_of

Array = NDArray[Any]
Shapes = Mapping[str, Sequence[int]]

_MOST_BYTES = 1 << 33
_BATCH_NAMES = frozenset({"n", "b", "bs", "batch", "batchsize", "-1"})
# by variant, of which all but the first two are for models that want more of something than those have, or a power of
# two of it (samples of a sound, say)
VARIANTS = 6
_BATCH = (2, 1, 1, 1, 1, 1)  # two items show up what mixes them, one what only works for several
_LENGTH = (3, 1, 3, 1, 3, 1)  # of a sequence
_LEAST = (3, 5, 131, 1031)  # of the row of primes
_WINDOW = {4: 512, 5: 256}  # in place of that row: one size, and 1 for all others
_IMAGE = (64, 96, 224, 512, 224, 256)
_ANY_RANK = (2, 3)  # of the tensors of a sequence that may hold tensors of any rank
_WORDS = ("ascend", "bell", "cone", "delta", "edge", "feed", "graph", "node")


@dataclass(frozen=True, slots=True)
class Feed:
    """Arrays by input name, and where they come from; sequences and optionals are held as ``containers`` says.

    ``recipe`` holds ``source`` (``drawn``, or the name of a file), and for a drawn feed ``seed``, ``dims`` (size by
    symbol; an unnamed dimension is called ``INPUT:AXIS``) and ``shapes`` (those that were asked for). ``items``, where
    there are any, are the lengths of sequences by input; None stands for an optional that is absent.
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
        return ", ".join([seed, *dims, *items])


def draw(
    graph: Graph,
    seed: int = 0,
    shapes: Shapes | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    variant: int = 0,
) -> Feed:
    """Return a valid feed for ``graph``.

    ``shapes`` gives inputs a shape (a sequence: that of each of its tensors), ``ranges`` a lowest and a highest value
    (both included). ``variant`` 1 gives every dimension that is left open another size, sequences another length, and
    leaves out every optional; those from 2 on take larger sizes. Raises FeedError for an input that cannot be drawn (a
    map, an unknown type or rank) or a shape that the model does not allow.
    """
    shapes, ranges = shapes or {}, ranges or {}
    holds = inputs_of(graph)
    for name, held in holds.items():
        if held.item.kind != "tensor" or held.item.dtype == 0:
            what = "of unknown type" if held.item.kind in ("tensor", "unknown") else f"of type {held.text()}"
            can = "tensors, and sequences and optionals of them, can be drawn or read from a file"
            raise FeedError(f"input {quoted(name)} is {what}; only {can}")
    items = _items(holds, shapes)
    dims = sizes_for(graph, shapes, variant)
    sizes = {name: _shape(value, shapes, dims) for name, value in items.items()}
    known = Known(graph, dims, sizes)
    arrays = {}
    for name, value in items.items():
        shape, held = sizes[name], holds[name]
        length = _LENGTH[variant] if held.sequence else 1
        size = length * math.prod(shape) * numpy_dtype(value.dtype).itemsize
        if size > _MOST_BYTES:
            raise FeedError(f"input {quoted(name)} would take {size >> 30} GiB; give it a smaller --shape")
        if held.optional and variant % 2:
            arrays[name] = ABSENT
            continue
        labels = [f"{name}[{number}]" for number in range(length)] if held.sequence else [name]
        use = None if name in ranges else use_of(known, value, shape)
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
    return Feed(arrays, recipe | counts_of(holds, arrays))


def counts_of(holds: Mapping[str, Held], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return what a recipe says of sequences and absent optionals, nothing where there are none."""
    given = {name: array for name, array in arrays.items() if name in holds}
    counts = {
        name: None if is_absent(array) else len(array)
        for name, array in given.items()
        if holds[name].sequence or is_absent(array)
    }
    return {"items": counts} if counts else {}


def _items(holds: Mapping[str, Held], shapes: Shapes) -> dict[str, Value]:
    """Return what the inputs are made of: themselves, or the tensors of a sequence."""
    found = {}
    for name, held in holds.items():
        loose = held.sequence and held.item.shape is None and name not in shapes
        found[name] = held.item._replace(shape=_ANY_RANK) if loose else held.item
    return found


# -- shapes


def sizes_for(graph: Graph, shapes: Shapes, variant: int = 0) -> dict[str, int]:
    """Return the size of every open dimension, by its symbol or as ``INPUT:AXIS``.

    In this order: what ``shapes`` says; a first dimension that is unnamed or named like a batch: 2; an unnamed one
    that a Conv, MatMul or Gemm demands: that; height and width of float images (rank 4 and 5): 64, 96, 128 ... (nets
    that halve and double need multiples of 32); any other: the next of 3, 5, 7, 11 ... A symbol has one size
    everywhere; ``a + b`` and ``2*a`` are computed from theirs. Distinct sizes show up axes that are confused. For a
    sequence it is about its tensors, which have one shape; 2x3 where they may have any rank.
    ``variant`` 1 takes a batch of 1, and begins with 96 and with 5 in those rows, 2 with 224 and 131, 3 with 512 and
    1031; 4 takes 512 and 5 takes 256 once, and then 1. Raises FeedError.
    """
    inputs = _items(inputs_of(graph), shapes)
    for name in shapes:
        if name not in inputs:
            raise FeedError(f"--shape: the model has no input {quoted(name)}{which_it_has(name, inputs)}")
    dims: dict[str, int] = {}
    for name, shape in shapes.items():
        _bind(inputs[name], shape, dims)
    if variant in _WINDOW:
        row: Iterator[int] = itertools.chain([_WINDOW[variant]], itertools.repeat(1))
    else:
        row = itertools.dropwhile(lambda prime: prime < _LEAST[variant], _primes())
    images = iter(range(_IMAGE[variant], 1 << 20, 32))
    unnamed: dict[tuple[int, bool], int] = {}
    later = []
    for value in inputs.values():
        demanded = demanded_dims(graph, value.name)
        if value.shape is None and value.name not in shapes:
            raise FeedError(f"input {quoted(value.name)} has no known rank; give its shape: {_flag(value.name)}")
        for axis, dim in enumerate(value.shape or ()):
            symbol = _symbol(value, axis)
            if isinstance(dim, int) or symbol in dims or value.name in shapes:
                continue
            if axis == 0 and (dim is None or _plain(dim) in _BATCH_NAMES):
                dims[symbol] = _BATCH[variant]
            elif axis in demanded:
                dims[symbol] = demanded[axis]
            elif isinstance(dim, str) and _terms(dim):
                later.append(symbol)
            else:
                image = axis >= 2 and value.rank in (4, 5) and _is_float(value)
                size = (unnamed.get((axis, image)) if symbol != dim else None) or next(images if image else row)
                dims[symbol] = size
                if symbol != dim and variant not in _WINDOW:
                    unnamed[axis, image] = size
    for symbol in later:
        dims[symbol] = _evaluated(symbol, dims, row)
    return dims


def _flag(name: str) -> str:
    return f"--shape {quoted(name)[1:-1]}:1,3,224,224"


def _symbol(value: Value, axis: int) -> str:
    """Return under which name the size of an open dimension is kept: one for a symbol, one for each unnamed."""
    dim = value.shape[axis] if value.shape else None
    return dim if isinstance(dim, str) and dim not in ("-1", "?") else f"{value.name}:{axis}"


def _plain(symbol: str) -> str:
    return re.sub(r"[^a-z0-9-]", "", symbol.lower())


def _is_float(value: Value) -> bool:
    return numpy_dtype(value.dtype).kind in "fV"


def _bind(value: Value, shape: Sequence[int], dims: dict[str, int]) -> None:
    """Take over a shape that was asked for; its symbols have these sizes for the other inputs too."""
    asked = f"--shape {quoted(value.name)[1:-1]}:{','.join(map(str, shape))}"
    if any(size < 1 for size in shape):
        raise FeedError(f"{asked}: sizes must be positive")
    if value.shape is None:
        return
    if len(shape) != len(value.shape):
        raise FeedError(f"{asked}: the model's input has {len(value.shape)} dimensions, {value.type_text()}")
    for axis, (size, dim) in enumerate(zip(shape, value.shape, strict=True)):
        symbol = _symbol(value, axis)
        if isinstance(dim, int) and dim != size:
            raise FeedError(f"{asked}: dimension {axis} is fixed to {dim} in the model, {value.type_text()}")
        if not isinstance(dim, int):
            # exporters write one symbol for two dimensions: what is asked for holds, for others the first size
            dims.setdefault(symbol, size)


def _shape(value: Value, shapes: Shapes, dims: Mapping[str, int]) -> tuple[int, ...]:
    if value.name in shapes:
        return tuple(shapes[value.name])
    return tuple(
        dim if isinstance(dim, int) else dims[_symbol(value, axis)] for axis, dim in enumerate(value.shape or ())
    )


def _terms(symbol: str) -> list[list[str]]:
    """Return a symbol like ``past + 2*seq`` as a sum of products; an empty list where it is a plain name."""
    terms = [[factor.strip() for factor in term.split("*")] for term in symbol.split("+")]
    parts = [factor for term in terms for factor in term]
    return terms if len(parts) > 1 and all(re.fullmatch(r"\w+", part) for part in parts) else []


def _evaluated(symbol: str, dims: dict[str, int], row: Iterator[int]) -> int:
    total = 0
    for term in _terms(symbol):
        product = 1
        for factor in term:
            if not factor.isdigit() and factor not in dims:
                dims[factor] = next(row)
            product *= int(factor) if factor.isdigit() else dims[factor]
        total += product
    return total


def _primes() -> Iterator[int]:
    found: list[int] = []
    number = 3
    while True:
        if all(number % prime for prime in found):
            found.append(number)
            yield number
        number += 2


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
