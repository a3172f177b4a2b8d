"""The size of every dimension that a model leaves open, for a feed that is drawn; the variants in which it is drawn."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from graphtool.errors import FeedError, quoted, which_it_has
from graphtool.graph import Graph, Value
from graphtool.graph.facts_call import INVENTED
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.containers import Held, inputs_of
from graphtool.parity.feed_rules import demanded_dims

Shapes = Mapping[str, Sequence[int]]

_BATCH_NAMES = frozenset({"n", "b", "bs", "batch", "batchsize", "-1"})
_ANY_RANK = (2, 3)  # of the tensors of a sequence that may hold tensors of any rank


class Variant(NamedTuple):
    """What a feed is drawn with.

    ``batch``; ``length`` of a sequence; ``image``: the first height of images, 0 where they are nothing special;
    ``row``: the first prime of those that other open dimensions take; ``window``: one size in place of that row, and 1
    for all others; ``equal``: those at one ``axis`` have one size, or ``all`` have; ``fixed``: at an axis it is that of
    an input which fixes it; ``bits``: integers that may be any are 0 or 1.
    """

    batch: int
    length: int
    image: int
    row: int
    window: int = 0
    equal: Literal["", "axis", "all"] = ""
    fixed: bool = False
    bits: bool = False


# in pairs, of which the second is for every second feed. All but the first are for models that do not run on it: they
# want more of something, inputs that fit each other, a power of two of something (samples of a sound, say), or indices
# inside of what is small
VARIANTS = (
    Variant(2, 3, 64, 3),  # two items show up what mixes them
    Variant(1, 1, 96, 5),  # one item what only works for several
    Variant(1, 3, 224, 131),
    Variant(1, 1, 512, 1031),
    Variant(2, 3, 64, 3, equal="axis"),
    Variant(1, 1, 96, 5, equal="axis", fixed=True),
    Variant(3, 3, 64, 3, equal="all"),
    Variant(2, 1, 0, 2, equal="all"),
    Variant(1, 3, 224, 3, window=512),
    Variant(1, 1, 256, 3, window=256),
    Variant(2, 3, 64, 3, bits=True),
    Variant(1, 1, 96, 5, bits=True),
)


def sizes_for(graph: Graph, shapes: Shapes, variant: int = 0) -> dict[str, int]:
    """Return the size of every open dimension, by its symbol or as ``INPUT:AXIS``.

    In this order: what ``shapes`` says; a first dimension that is unnamed or named like a batch: 2; an unnamed one
    that a Conv, MatMul or Gemm demands: that; height and width of float images (rank 4 and 5): 64, 96, 128 ... (nets
    that halve and double need multiples of 32); any other: the next of 3, 5, 7, 11 ... A symbol has one size
    everywhere; ``a + b`` and ``2*a`` are computed from theirs. Unnamed ones at one axis have one size, those too whose
    symbol a tool made up: exporters give each its own, and inputs must fit each other. Distinct sizes show up axes that
    are confused. For a sequence it is about its tensors, which have one shape; 2x3 where they may have any rank.
    ``variant`` is a place in VARIANTS, with other sizes. Raises FeedError.
    """
    inputs = items_of(inputs_of(graph), shapes)
    for name in shapes:
        if name not in inputs:
            raise FeedError(f"--shape: the model has no input {quoted(name)}{which_it_has(name, inputs)}")
    dims: dict[str, int] = {}
    for name, shape in shapes.items():
        _bind(inputs[name], shape, dims)
    how = VARIANTS[variant]
    demands = {name: demanded_dims(graph, name) for name in inputs}
    row: Iterator[int] = itertools.dropwhile(lambda prime: prime < how.row, _primes())
    if how.window:
        row = itertools.chain([how.window], itertools.repeat(1))
    elif how.equal == "all":
        row = itertools.repeat(how.row)
    images = iter(range(how.image, 1 << 20, 32))
    at_axis = _common(inputs.values(), demands, shapes, how) if how.equal == "axis" else {}
    unnamed: dict[tuple[int, bool], int] = {}
    later = []
    for value in inputs.values():
        if value.shape is None and value.name not in shapes:
            raise FeedError(f"input {quoted(value.name)} has no known rank; give its shape: {_flag(value.name)}")
        for axis, dim in enumerate(value.shape or ()):
            symbol = _symbol(value, axis)
            if isinstance(dim, int) or symbol in dims or value.name in shapes:
                continue
            nameless = symbol != dim or INVENTED.fullmatch(symbol) is not None
            if axis in at_axis and not (isinstance(dim, str) and _terms(dim)):
                dims[symbol] = at_axis[axis]
            elif axis == 0 and (dim is None or _plain(dim) in _BATCH_NAMES or INVENTED.fullmatch(dim)):
                dims[symbol] = how.batch
            elif axis in demands[value.name]:
                dims[symbol] = demands[value.name][axis]
            elif isinstance(dim, str) and _terms(dim):
                later.append(symbol)
            else:
                image = how.image > 0 and axis >= 2 and value.rank in (4, 5) and _is_float(value)
                size = (unnamed.get((axis, image)) if nameless else None) or next(images if image else row)
                dims[symbol] = size
                if how.equal == "axis":
                    at_axis[axis] = size
                if nameless and not how.window:
                    unnamed[axis, image] = size
    for symbol in later:
        dims[symbol] = _evaluated(symbol, dims, row)
    return dims


def _common(
    inputs: Iterable[Value], demands: Mapping[str, Mapping[int, int]], shapes: Shapes, how: Variant
) -> dict[int, int]:
    """Return by axis the sizes that are not free to choose: what an input demands, or one that is fixed."""
    found: dict[int, int] = {}
    for value in inputs:
        for axis, size in demands[value.name].items():
            found.setdefault(axis, size)
    found.setdefault(0, how.batch)
    if how.fixed:
        fixed: dict[int, int] = {}
        for value in inputs:
            for axis, dim in enumerate(shapes.get(value.name, value.shape or ())):
                if isinstance(dim, int) and dim > 1:
                    fixed.setdefault(axis, dim)
        found |= fixed
    return found


def items_of(holds: Mapping[str, Held], shapes: Shapes) -> dict[str, Value]:
    """Return what the inputs are made of: themselves, or the tensors of a sequence."""
    found = {}
    for name, held in holds.items():
        loose = held.sequence and held.item.shape is None and name not in shapes
        found[name] = held.item._replace(shape=_ANY_RANK) if loose else held.item
    return found


def shape_of(value: Value, shapes: Shapes, dims: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of an input: the one that was asked for, or its own with the sizes of open dimensions."""
    if value.name in shapes:
        return tuple(shapes[value.name])
    return tuple(
        dim if isinstance(dim, int) else dims[_symbol(value, axis)] for axis, dim in enumerate(value.shape or ())
    )


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
