"""Functions of expressions about axes, shapes and the elements of shapes. Floor 2.

The first line of a docstring is the function's line in the documentation of the pass language.
"""

from __future__ import annotations

import builtins

import numpy as np

from graphtool.errors import quoted
from graphtool.rewrite import functions_values as values
from graphtool.rewrite.functions_tensors import shape
from graphtool.rewrite.functions_values import array, integer, integers, items
from graphtool.rewrite.refs import Array, TensorRef, Tensors


def elements(x: object) -> list[int | str]:
    """The elements of an integer tensor of rank 0 or 1: numbers, and a string for each that is not a known number.

    Two strings are equal only where the elements are known to be: elements(s) == shape(x) holds for s = Shape(x).
    """
    if not isinstance(x, TensorRef) or not x.present:
        return list(items(x))
    if x.known is not None:
        return list(integers(x))
    known = x.elements
    if known is None or len(known.shape) > 1:
        raise ValueError(f"nothing is known of the elements of {quoted(x.name)}")
    return [f"?{x.name}[{place}]" if item is None else item for place, item in enumerate(known.items)]


def extents(xs: object, axis: object) -> list[int | str]:
    """The dimension along an axis of each tensor that *xs stands for."""
    if not isinstance(xs, Tensors):
        raise ValueError(f"{values.describe(xs)} is not an input such as *xs")
    return [shape(ref)[integer(axis)] for ref in xs.refs]


def join(xs: object, axis: object) -> Array:
    """The constants that *xs stands for, of one element type, as one along an axis."""
    if not isinstance(xs, Tensors) or not xs.refs:
        raise ValueError(f"{values.describe(xs)} cannot be joined; *xs of the match can")
    arrays = [array(ref) for ref in xs.refs]
    if len({part.dtype for part in arrays}) > 1:
        raise ValueError("the constants have several element types")
    values.within(sum(part.size for part in arrays))
    return np.concatenate(arrays, axis=integer(axis))


def unchanged(x: object, s: object) -> bool:
    """Whether Reshape(x, s) is x: each element of s is the dimension of x, or 0, but for at most one that has to be."""
    dims, wanted = shape(x), elements(s)
    if len(dims) != len(wanted):
        return False
    others = [place for place, (dim, word) in enumerate(zip(dims, wanted, strict=True)) if word not in (dim, 0)]
    if not others:
        return True
    place = others[0]
    if len(others) > 1 or wanted[place] == -1:
        return len(others) == 1
    # the number of elements gives the one that is not known, unless the tensor may be empty
    rest = dims[:place] + dims[place + 1 :]
    return isinstance(wanted[place], str) and all(isinstance(dim, int) and dim for dim in rest)


def can_reshape(y: object) -> bool:
    """Whether a Reshape can make the shape of y: at most one dimension is not known, and none is 0."""
    dims = shape(y)
    return sum(not isinstance(dim, int) for dim in dims) <= 1 and 0 not in dims


def reshape_dims(y: object) -> list[int]:
    """The shape of y for a Reshape, with -1 for the dimension that is not known."""
    if not can_reshape(y):
        raise ValueError(f"no Reshape makes {shape(y)}")
    return [dim if isinstance(dim, int) else -1 for dim in shape(y)]


def reshape_as(x: object, wanted: object, made: object) -> list[int]:
    """The constant shape by which Reshape(x, ...) gives the sizes wanted: 0 where one is copied, -1 where one is left.

    ``made`` is the shape of the result as far as it is known. A size is left beside copied ones only where -1 is wanted
    itself: where the copied one is 0, as in an empty batch, onnxruntime finds no size for a -1.
    """
    dims, sizes, known = shape(x), items(wanted), items(made)
    result = []
    left = False
    for place, size in enumerate(sizes):
        at = known[place] if isinstance(known[place], int) and len(known) == len(sizes) else size
        copied = place < len(dims) and dims[place] == size
        result.append(at if isinstance(at, int) else 0 if copied else -1)
        left = left or result[-1] == -1 != size
    if left and 0 in result:
        raise ValueError("a copied size may be 0, which leaves no size for -1")
    if builtins.any(size == 0 for size in sizes) or result.count(-1) > 1:
        raise ValueError("more than one size is not known")
    return result


def tile_counts(a: object, b: object) -> list[int]:
    """The repeats by which a Tile makes dimensions b of dimensions a, as an Expand does: 1, or that of b where a has 1.

    The lists have one length. A dimension of b that is not known has to be that of a, and 0 is refused.
    """
    x, y = items(a), items(b)
    if len(x) != len(y):
        raise ValueError(f"lists of {len(x)} and {len(y)} elements")
    result = [1 if p == q else q if p == 1 else None for p, q in zip(x, y, strict=True)]
    counts = [count for count in result if isinstance(count, int) and count > 0]
    if len(counts) != len(result):
        raise ValueError(f"no known number of {x} makes {y}")
    return counts


def keeps_order(perm: object, x: object) -> bool:
    """Whether a Transpose of x by perm leaves the axes in order whose length is not 1."""
    dims = shape(x)
    longer = [axis for axis in integers(perm) if dims[axis] != 1]
    return longer == builtins.sorted(longer)


def earlier_dims(perm: object, a: object, r: object) -> list[int]:
    """The shape by which a Reshape of dimensions a to r goes before the Transpose by perm that makes a; -1 is open."""
    sizes, order_ = items(r), earlier_axes(perm, a, r)
    dims = [sizes[axis] for axis in order_]
    if 0 in dims or sum(not isinstance(dim, int) for dim in dims) > 1:
        raise ValueError(f"no Reshape makes {dims}")
    return [dim if isinstance(dim, int) else -1 for dim in dims]


def earlier_axes(perm: object, a: object, r: object) -> list[int]:
    """The axes of dimensions r in the order that they have where their Reshape goes before a Transpose by perm to a."""
    axes, places = integers(perm), []
    for old, new in _parts(list(items(a)), list(items(r))):
        first = axes[old[0]]
        if [axes[at] for at in old] != list(range(first, first + len(old))):
            raise ValueError("a Reshape joins axes that do not lie side by side before the Transpose")
        places.append((first, new))
    return [axis for _, new in builtins.sorted(places) for axis in new]


def _parts(a: list[int | str], r: list[int | str]) -> list[tuple[list[int], list[int]]]:
    """Return the smallest groups of axes of dimensions a and of r that hold the same elements, one after the other."""
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(a) and j < len(r):
        old, new = [i], [j]
        size, other = a[i], r[j]
        i, j = i + 1, j + 1
        while size != other:
            if not isinstance(size, int) or not isinstance(other, int) or not size or not other:
                raise ValueError("a dimension that is not known is split or joined")
            shorter = size < other
            if (i if shorter else j) == len(a if shorter else r):
                raise ValueError("the dimensions have not the same elements")
            more = a[i] if shorter else r[j]
            if not isinstance(more, int):
                raise ValueError("a dimension that is not known is split or joined")
            if shorter:
                old, size, i = [*old, i], size * more, i + 1
            else:
                new, other, j = [*new, j], other * more, j + 1
        found.append((old, new))
    if not found or _any_but(a[i:], -1) or _any_but(r[j:], -1):
        raise ValueError("the dimensions have not the same elements")
    found[-1][0].extend(range(i, len(a)))
    found[-1][1].extend(range(j, len(r)))
    return found


def joined_axes(first: object, second: object, rank: object) -> list[int]:
    """The axes, counted in the largest of three shapes, that Unsqueeze by first and then by second inserts."""
    outer = builtins.sorted(wrapped(second, rank))
    inner = wrapped(first, integer(rank) - len(outer))
    left = [axis for axis in range(integer(rank)) if axis not in outer]
    return builtins.sorted(outer + [left[axis] for axis in inner])


def same_or(a: object, b: object, v: object) -> bool:
    """Whether two lists have one length, and each element of a is that of b or the number v."""
    x, y = items(a), items(b)
    return len(x) == len(y) and builtins.all(p in (q, v) for p, q in zip(x, y, strict=True))


def disjoint(a: object, b: object) -> bool:
    """Whether two lists have no element in common."""
    return not builtins.any(item in items(b) for item in items(a))


def wrapped(axes: object, rank: object) -> list[int]:
    """A list or constant of axes counted from the front, those below 0 from the rank."""
    limit = integer(rank)
    found = integers(axes)
    if builtins.any(not -limit <= axis < limit for axis in found):
        raise ValueError(f"{found} are not all axes of rank {limit}")
    return [axis % limit for axis in found]


def full_pads(pads: object, axes: object, rank: object) -> list[int]:
    """The widths of a Pad on some axes as widths on all axes: begins, then ends."""
    widths, at, limit = integers(pads), wrapped(axes, rank), integer(rank)
    if len(widths) != 2 * len(at):
        raise ValueError(f"{len(widths)} widths for {len(at)} axes")
    result = [0] * (2 * limit)
    for place, axis in enumerate(at):
        result[axis], result[limit + axis] = widths[place], widths[len(at) + place]
    return result


def per_channel(k: object, x: object) -> Array:
    """The constant k, which broadcasts against x along axis 1 alone, as a vector of that many elements."""
    dims, value = shape(x), array(k)
    own: list[int | str] = [1] * (len(dims) - value.ndim) + list(value.shape)
    if len(own) != len(dims) or len(dims) < 2 or _any_but(own, 1) or not isinstance(dims[1], int):
        raise ValueError(f"{values.describe(k)} is not one number for each channel")
    if own[1] not in (1, dims[1]):
        raise ValueError(f"{values.describe(k)} broadcasts the channels")
    return np.broadcast_to(value.reshape(-1), (dims[1],)).copy()


def _any_but(dims: list[int | str], axis: int) -> bool:
    return builtins.any(dim != 1 for place, dim in enumerate(dims) if place != axis)


def order(perm: object, x: object) -> list[int]:
    """The perm of a Transpose of x: what is given, or the axes turned round where it is not (None)."""
    if perm is None:
        return list(range(len(shape(x))))[::-1]
    return integers(perm)
