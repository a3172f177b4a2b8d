"""Sizes as products, where the batch goes in a Reshape, and entries and scales that leave it open.

A size is a number, or a text that is a product such as ``4*H*W``; a symbol with another operator in it is one factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphtool.graph.values import Dim, Shape


class Product(NamedTuple):
    """A number times symbols; symbols are sorted, each as often as it occurs."""

    number: int
    symbols: tuple[str, ...] = ()

    def times(self, other: Product) -> Product:
        """Return the product of both."""
        return Product(self.number * other.number, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Product) -> Product | None:
        """Return the quotient; None where ``other`` is 0 or does not divide this."""
        if other.number == 0 or self.number % other.number:
            return None
        left = list(self.symbols)
        for symbol in other.symbols:
            if symbol not in left:
                return None
            left.remove(symbol)
        return Product(self.number // other.number, tuple(left))

    def dim(self) -> Dim:
        """Return it as a size."""
        if not self.symbols:
            return self.number
        return "*".join(([str(self.number)] if self.number != 1 else []) + list(self.symbols))


ONE = Product(1)


def product_of(dims: Sequence[Dim]) -> Product | None:
    """Return the product of sizes; None where one is unknown."""
    total = ONE
    for dim in dims:
        if dim is None:
            return None
        if isinstance(dim, int):
            total = total.times(Product(dim))
            continue
        parts = [part.strip() for part in dim.split("*")] if all(dim.split("*")) else [dim]
        numbers = [int(part) for part in parts if part.isdecimal()]
        total = total.times(Product(prod(numbers), tuple(sorted(part for part in parts if not part.isdecimal()))))
    return total


def reshaped(shape: Shape, entries: Sequence[object], allowzero: bool) -> Shape | None:
    """Return the shape that a Reshape to ``entries`` gives; None where the elements do not fit it.

    An entry is a number, a symbol or None; a size that cannot be computed is None.
    """
    dims: list[Dim] = []
    for place, entry in enumerate(entries):
        if entry == 0 and not allowzero:
            if place >= len(shape):
                return None
            dims.append(shape[place])
        else:
            dims.append(entry if isinstance(entry, (int, str)) else None)
    total, rest = product_of(shape), product_of([dim for dim in dims if dim != -1])
    if -1 not in dims:
        return None if total is not None and rest is not None and total != rest else tuple(dims)
    if dims.count(-1) > 1:
        return None
    if total is None or rest is None:
        return tuple(None if dim == -1 else dim for dim in dims)
    left = total.over(rest)
    return None if left is None else tuple(left.dim() if dim == -1 else dim for dim in dims)


def scaled(dim: Dim, now: int, then: int) -> Dim:
    """Return a size that holds the batch ``now`` with ``then`` in its place; None where it does not hold it."""
    whole = product_of([dim])
    part = None if whole is None else whole.over(Product(now))
    return None if part is None else part.times(Product(then)).dim()


def batch_axis_after(before: Shape, axis: int, after: Shape, now: int) -> int | None:
    """Return the axis that the batch is at in ``after``, the shape that a Reshape makes of ``before``; None if nowhere.

    Row-major order is kept, so as many elements lie outside the batch after as before. With batch 1 several axes of
    size 1 would do: the axis that it had, then the first.
    """
    outside = product_of(before[:axis])
    if outside is None:
        return None
    fitting, exact = [], []
    for place in range(len(after)):
        prefix, longer = product_of(after[:place]), product_of(after[: place + 1])
        if prefix is None or longer is None:
            break
        if outside.over(prefix) is not None and longer.over(outside.times(Product(now))) is not None:
            fitting.append(place)
            if prefix == outside:
                exact.append(place)
    if axis in exact and after[axis] == before[axis]:
        return axis
    return exact[0] if exact else fitting[0] if fitting else None


def stands(
    before: Shape, source: Shape, axis: int, result: Shape, got: Shape | None, batches: tuple[int, int], follows: bool
) -> bool:
    """Whether what a Reshape gives at the other batch, as it stands, has the items along one axis in their order.

    ``got`` is that; ``batches`` are those of now and then. Where its entries do not follow the batch themselves
    (``follows``), the items must have that axis for themselves: ``[1, -1]`` may have been written for one item. In an
    axis that the batch shares they may lie one behind the other, or (Concat makes that) all firsts before all seconds.
    """
    if got is None or len(got) != len(result) or None in got:
        return False
    changed = [place for place, (a, b) in enumerate(zip(result, got, strict=True)) if a != b]
    if len(changed) != 1 or scaled(result[changed[0]], *batches) != got[changed[0]]:
        return False
    place = changed[0]
    outside, prefix = product_of(before[:axis]), product_of(result[:place])
    share = product_of([before[axis]])
    share = None if share is None else share.over(Product(batches[0]))
    if outside is None or prefix is None or share is None or scaled(before[axis], *batches) != source[axis]:
        return False
    return (follows or result[place] == batches[0]) and prefix in (outside, outside.times(share))


def freed_entries(
    entries: Sequence[Dim], before: Shape, source: Shape, result: Shape, wanted: Shape, place: int, allowzero: bool
) -> list[Dim] | None:
    """Return entries of a Reshape that give ``result`` now and ``wanted`` at the other batch; None where none do."""
    own = list(entries)
    if not allowzero and place < len(source) and before[place] == result[place] and source[place] == wanted[place]:
        own[place] = 0
    else:
        rest = [other for other, entry in enumerate(own) if entry == -1 and other != place]
        for other in rest:  # only one entry can be what is left
            size = result[other]
            copied = other < len(before) and before[other] == size == source[other] and not allowzero
            if not copied and not isinstance(size, int):
                return None
            own[other] = 0 if copied and not isinstance(size, int) else size
        own[place] = -1
    fits = reshaped(before, own, allowzero) == result and reshaped(source, own, allowzero) == wanted
    return own if fits else None


def scales_of(before: Shape, sizes: Sequence[Dim]) -> NDArray[np.float32] | None:
    """Return the scales that stand for sizes exactly, as onnxruntime derives and applies them; None where none do.

    The size is ``floor(size of the input * scale)``, scales are float32 (ONNX, Resize).
    """
    scales = []
    for source, size in zip(before, sizes, strict=True):
        if not isinstance(source, int) or not isinstance(size, int) or source == 0:
            return None
        scale = np.float32(size) / np.float32(source)
        if int(np.floor(np.float32(source) * scale)) != size:
            return None
        scales.append(scale)
    return np.array(scales, np.float32)
