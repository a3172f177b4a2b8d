"""Functions of expressions about tensors: what is known of one, and new constants out of old ones. Floor 2.

The first line of a docstring is the function's line in the documentation of the pass language. Unless a function says
otherwise, ``v`` is a number, a list or a constant. Each raises ValueError with the reason when it does not apply.
"""

from __future__ import annotations

import numpy as np

from graphtool.errors import quoted
from graphtool.rewrite import functions_values as values
from graphtool.rewrite.functions_values import array, integer, integers, items
from graphtool.rewrite.refs import Array, TensorRef, Tensors


def shape(x: object) -> list[int | str]:
    """The dimensions: numbers, and a string for each one that is not fixed; an error when the rank is unknown."""
    if not isinstance(x, TensorRef):
        return list(array(x).shape)
    if x.shape is None:
        raise ValueError(f"the rank of {quoted(x.name)} is unknown")
    # an unknown dimension equals itself and nothing else, so that two of them are never taken for the same
    return [f"?{x.name}.{axis}" if dim is None else dim for axis, dim in enumerate(x.shape)]


def rank(x: object, other: object = None) -> int:
    """The number of dimensions, of other where that of x is unknown; an error when both are."""
    if other is not None and isinstance(x, TensorRef) and x.shape is None:
        return len(shape(other))
    return len(shape(x))


def dtype(x: object) -> str:
    """The element type, such as "float32"; an error when it is unknown."""
    return values.type_name(x)


def static(x: object) -> bool:
    """Whether every dimension is a known number; of *xs, of each of them."""
    if isinstance(x, Tensors):
        return all(static(ref) for ref in x.refs)
    if isinstance(x, TensorRef) and x.shape is None:
        return False
    return all(isinstance(dim, int) for dim in shape(x))


def const(x: object) -> bool:
    """Whether the value is known: an initializer, the output of a Constant, or something computed; of *xs, each."""
    if isinstance(x, Tensors):
        return all(const(ref) for ref in x.refs)
    if isinstance(x, TensorRef):
        return x.present and x.known is not None
    return x is not None


def present(x: object) -> bool:
    """Whether an optional input is there, whatever a default says of it."""
    return x.present if isinstance(x, TensorRef) else x is not None


def has(a: object) -> bool:
    """Whether an attribute is set, as in has(@axis)."""
    return a is not None


def uses(x: object) -> int:
    """The number of readers of a tensor, graph outputs included."""
    if not isinstance(x, TensorRef):
        raise ValueError(f"{values.describe(x)} is not a tensor of the graph")
    return x.uses


def quantized(x: object) -> bool:
    """Whether values are quantized in the graph of a tensor: there the last bit of a number may become a whole step."""
    if not isinstance(x, TensorRef):
        raise ValueError(f"{values.describe(x)} is not a tensor of the graph")
    return x.quantized


def never_negative(x: object) -> bool:
    """Whether no element can be less than 0, as far as the 64 values above a tensor say: NaN is not."""
    if not isinstance(x, TensorRef):
        raise ValueError(f"{values.describe(x)} is not a tensor of the graph")
    return x.never_negative


def scalar(x: object) -> object:
    """The one element of a constant, as a number."""
    found = array(x)
    if found.size != 1:
        raise ValueError(f"{values.describe(x)} has {found.size} elements, not one")
    return values.plain(found).item()


def ints(x: object) -> list[int]:
    """The elements of a list or of a constant of rank 0 or 1, all integers, as a list."""
    return integers(x)


def floats(x: object) -> list[float]:
    """The elements of a list or of a constant of rank 0 or 1 as a list of floating-point numbers."""
    return [float(values.number(v)) for v in items(x)]


def near(x: object, v: object, tol: object = None) -> bool:
    """Whether all elements of x lie within tol * abs(v) of the number v; tol is 1e-6, or the spacing of a coarser type.

    The spacing (eps) is 2^-10 for float16 and 2^-7 for bfloat16, so a constant that was rounded to its type is still
    recognised: near(x, 1.41421356) holds for the float32 1.4142135 and the float16 1.4140625, and not for 1.42.
    near(x, 0) asks for zeros. An empty constant is near nothing.
    """
    found = array(x)
    wanted = float(values.number(v))
    if tol is None:
        narrow = found.dtype.itemsize == 2
        spacing = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(found.dtype.name, 0.0) if narrow else 0.0
        tol = max(1e-6, spacing)
    limit = abs(float(values.number(tol)) * wanted)
    # one element decides of most: all that a scalar has, and the first of a weight
    if not found.size or not abs(float(found.flat[0]) - wanted) <= limit:
        return False
    return found.size == 1 or bool(np.all(np.abs(found.astype(np.float64) - wanted) <= limit))


def finite(v: object) -> bool:
    """Whether no element is infinite or NaN."""
    return bool(np.all(np.isfinite(array(v))))


def like(v: object, x: object) -> Array:
    """The array v in the element type of x; an error when an integer type would lose a fraction or overflow."""
    return values.cast(v, values.type_name(x))


def cast(v: object, dtype: object) -> Array:
    """The array v in the named element type, such as "int32", by the rules of like."""
    if not isinstance(dtype, str):
        raise ValueError(f"{values.describe(dtype)} is not the name of an element type")
    return values.cast(v, dtype)


def int64(v: object) -> Array:
    """The array v as int64, by the rules of like."""
    return values.cast(v, "int64")


def int32(v: object) -> Array:
    """The array v as int32, by the rules of like."""
    return values.cast(v, "int32")


def float64(v: object) -> Array:
    """The array v as float64, by the rules of like."""
    return values.cast(v, "float64")


def float32(v: object) -> Array:
    """The array v as float32, by the rules of like."""
    return values.cast(v, "float32")


def float16(v: object) -> Array:
    """The array v as float16, by the rules of like."""
    return values.cast(v, "float16")


def wide(v: object) -> Array:
    """The array v as float32 where it is float16 or bfloat16, else as it is: to round once, by like, at the end."""
    array = values.array(v)
    return array if array.dtype.itemsize > 2 or not values.is_float(array.dtype) else values.cast(array, "float32")


def lead(k: object, rank: object) -> Array:
    """The vector k as a tensor of that rank with k along the first axis: shape (len(k), 1, 1, ...)."""
    vector = array(k)
    if vector.ndim != 1 or integer(rank) < 1:
        raise ValueError(f"lead needs a vector and a rank of at least 1, not {values.describe(k)} and {rank}")
    return vector.reshape([vector.size] + [1] * (min(integer(rank), 65) - 1))  # numpy refuses 65 dimensions by itself


def reshape(v: object, dims: object) -> Array:
    """The array v in the shape dims; one of dims may be -1."""
    return array(v).reshape(integers(dims))


def transpose(v: object, perm: object) -> Array:
    """The array v with its axes in the order perm."""
    return array(v).transpose(integers(perm))


def flatten(v: object) -> Array:
    """The array v as a vector."""
    return array(v).reshape(-1)


def concat(a: object, b: object) -> object:
    """Two lists, or two constants of one element type along their first axis, as one."""
    if isinstance(a, list) and isinstance(b, list):
        return a + b
    x, y = array(a), array(b)
    if x.dtype != y.dtype:
        raise ValueError(f"{x.dtype.name} and {y.dtype.name} are two element types; cast one of them")
    values.within(x.size + y.size)
    return np.concatenate([x, y])


def full(dims: object, v: object) -> Array:
    """An array of shape dims filled with the number v: int64, float64 or bool, after the number."""
    wanted = integers(dims)
    values.elements(wanted)
    return np.full(wanted, array(values.number(v)))
