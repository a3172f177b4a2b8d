"""What an expression of a pass file computes with, how large it may get, and how one kind becomes another. Floor 2.

A value is a number, a string, None, a flat list of those, a numpy array, or a :class:`TensorRef`, a tensor of the graph
that has not been read yet. Everything here raises ValueError with a reason; the evaluator adds where.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

from graphtool.errors import did_you_mean, quoted
from graphtool.graph.values import dtype_code, dtype_name
from graphtool.rewrite.refs import Array, TensorRef, Tensors

MAX_ELEMENTS = 2**26  # of an array: a float32 matrix of 8192 x 8192
MAX_ITEMS = 4096  # of a list, and characters of a string

_FLOATS = ("float16", "float32", "float64", "bfloat16")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_MADE = frozenset((*_FLOATS, *_INTEGERS, "bool"))  # types of which a constant can be made


_NUMERIC = frozenset(map(np.dtype, ("float32", "float64", "float16", "int64", "int32", "bool")))  # the usual ones


_LEAST, _MOST = -(2**63), 2**63 - 1
_SIMPLE = frozenset((TensorRef, bool, float, type(None)))


def checked(value: object) -> object:
    """Return ``value`` in the one form expressions use (tuples as lists, numpy scalars as arrays), or refuse it."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if kind is np.ndarray:
        within(value.size)  # type: ignore[attr-defined]  # an array, by its type
        return value
    if kind is int and _LEAST <= value <= _MOST:  # type: ignore[operator]  # an int, by its type
        return value
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        within(value.size)
    elif isinstance(value, str):
        if len(value) > MAX_ITEMS:
            raise ValueError(f"a string of {len(value)} characters; at most {MAX_ITEMS} are allowed")
    elif isinstance(value, list | tuple):
        if len(value) > MAX_ITEMS:
            raise ValueError(f"a list of {len(value)} elements; at most {MAX_ITEMS} are allowed")
        return [v if type(v) is int and _LEAST <= v <= _MOST else _scalar(v) for v in value]
    elif not isinstance(value, TensorRef | Tensors):
        return _scalar(value)
    return value


def _scalar(value: object) -> object:
    # lists are flat: nested ones, shared between expressions, would grow exponentially under ==
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        raise ValueError("the number does not fit in 64 bits")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{describe(value)} where only numbers and strings can be")


def within(elements: int) -> None:
    """Refuse an array of more than ``MAX_ELEMENTS`` elements."""
    if elements > MAX_ELEMENTS:
        raise ValueError(f"an array of {elements} elements; at most {MAX_ELEMENTS} are allowed")


def describe(value: object) -> str:
    """Return what kind of thing ``value`` is, for a message."""
    if isinstance(value, TensorRef):
        return f"tensor {quoted(value.name)}"
    if isinstance(value, Tensors):
        return f"{len(value.refs)} tensors"
    if isinstance(value, np.ndarray):
        return f"an array of shape {list(value.shape)}"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return quoted(value)
    return (
        "an absent value" if value is None else f"{value}" if isinstance(value, int | float) else type(value).__name__
    )


def number(value: object) -> int | float:
    """Return ``value`` if it is a Python number (True and False count as 1 and 0)."""
    if isinstance(value, int | float):
        return value
    hint = "; scalar(...) makes one" if isinstance(value, TensorRef | np.ndarray) else ""
    raise ValueError(f"{describe(value)} is not a number{hint}")


def integer(value: object) -> int:
    """Return ``value`` if it is a Python integer."""
    if isinstance(value, int):
        return value
    raise ValueError(f"{describe(value)} is not an integer")


def items(value: object) -> list[Any]:
    """Return the elements of a list, or of a constant of rank 0 or 1, as a list."""
    if isinstance(value, list):
        return value
    if isinstance(value, TensorRef | np.ndarray):
        found = array(value)
        if found.ndim > 1:
            raise ValueError(f"{describe(value)} has rank {found.ndim}; a list or a constant of rank 1 is needed")
        if found.size > MAX_ITEMS:
            raise ValueError(f"{describe(value)} has {found.size} elements; at most {MAX_ITEMS} make a list")
        return list(np.atleast_1d(plain(found)).tolist())
    raise ValueError(f"{describe(value)} is not a list")


def integers(value: object) -> list[int]:
    """Return :func:`items` if all are integers."""
    return [integer(v) for v in items(value)]


def tensor_like(value: object) -> bool:
    """Return whether ``value`` takes part in arithmetic element by element."""
    return isinstance(value, TensorRef | np.ndarray)


def array(value: object) -> Array:
    """Return a number, a list of numbers or a constant as an array: int64, float64 and bool, or the constant's type."""
    if type(value) is np.ndarray:
        return value if value.dtype in _NUMERIC else _numeric(value)
    if isinstance(value, TensorRef):
        return _constant(value)
    if isinstance(value, np.ndarray):
        return _numeric(value)
    flat = [number(v) for v in value] if isinstance(value, list) else [number(value)]
    kind: type = np.float64 if any(isinstance(v, float) for v in flat) else np.int64
    if flat and all(isinstance(v, bool) for v in flat):
        kind = np.bool_
    made: Array = np.array(flat, dtype=kind)
    return made if isinstance(value, list) else made.reshape(())


class NotConstantError(ValueError):
    """A tensor has no known value. Raised for most matches of a pattern with constants, so the message waits."""

    def __str__(self) -> str:
        return f"{quoted(self.args[0])} is not a constant"


def _constant(ref: TensorRef) -> Array:
    if not ref.present:
        raise ValueError(f"input {quoted(ref.name)} is absent")
    value = ref.known
    if value is None:
        raise NotConstantError(ref.name)
    within(value.size)
    return value if type(value) is np.ndarray and value.dtype in _NUMERIC else _numeric(np.asarray(value))


def _numeric(value: Array) -> Array:
    # numpy would happily multiply an array of Python strings, and make each of them long
    if value.dtype.kind not in "biuf" and not is_float(value.dtype):
        raise ValueError(f"an array of {value.dtype} takes no part in arithmetic")
    return value


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether ``dtype`` is a floating-point type, bfloat16 (which numpy takes for an opaque type) included."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def plain(value: Array) -> Array:
    """Return ``value`` in a type that numpy itself knows: bfloat16 as float32, which is exact."""
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def type_name(value: object) -> str:
    """Return the element type of a tensor or of the array a value makes, such as ``float32``."""
    if isinstance(value, TensorRef):
        if not value.dtype:
            raise ValueError(f"the element type of {quoted(value.name)} is unknown")
        return dtype_name(value.dtype)
    return str(array(value).dtype.name)


def cast(value: object, name: str) -> Array:
    """Return ``value`` as an array of element type ``name``.

    Rounding between floating-point types is allowed. Nothing else may be lost: a fraction, NaN or an integer out of
    range on the way to an integer type, or a finite number that would become infinite, raises ValueError.
    """
    if name not in _MADE:
        raise ValueError(f"no constant can be made of type {quoted(name)}{did_you_mean(name, _FLOATS + _INTEGERS)}")
    source = array(value)
    target = _numpy_type(name)
    if source.dtype == target:
        return source
    if name in _FLOATS:
        result = source.astype(target)
        if np.any(np.isinf(result) & np.isfinite(source)):
            raise ValueError(f"a number is too large for {name}")
    else:
        low, high = (0, 1) if name == "bool" else (int(np.iinfo(target).min), int(np.iinfo(target).max))
        if not _fits(source, low, high):
            raise ValueError(f"the numbers do not all fit {name}")
        result = source.astype(target)
    return np.asarray(result)


@lru_cache(maxsize=32)
def _numpy_type(name: str) -> np.dtype[Any]:
    target = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype_code(name)))
    if target.name != name:
        raise ValueError(f"this version of onnx has no numpy type for {name}")
    return target


def _fits(source: Array, low: int, high: int) -> bool:
    if source.size == 0 or source.dtype == np.bool_:
        return True
    if not is_float(source.dtype):
        return low <= int(source.min()) and int(source.max()) <= high
    exact = source.astype(np.float64)
    # high + 1 is a power of two, so float64 holds it; high itself it may not. NaN fails every comparison.
    return bool(np.all((exact == np.floor(exact)) & (exact >= low) & (exact < high + 1)))


def bounds(name: str) -> tuple[Any, Any]:
    """Return the least and the greatest number of an element type, infinities included."""
    if name in _FLOATS:
        return -math.inf, math.inf
    if name in _INTEGERS:
        info = np.iinfo(name)
        return int(info.min), int(info.max)
    raise ValueError(f"{quoted(name)} has no least number{did_you_mean(name, _FLOATS + _INTEGERS)}")


def elements(dims: list[int]) -> int:
    """Return the number of elements of an array of shape ``dims``, refusing too many and negative extents."""
    if any(d < 0 for d in dims):
        raise ValueError(f"{dims} has a negative extent")
    total = math.prod(dims)
    within(total)
    return total
