"""Functions of expressions on lists, numbers, permutations, shapes and names. Floor 2.

The first line of a docstring is the function's line in the documentation of the pass language. Names that Python
takes for itself end in an underscore here and not in the language.
"""

from __future__ import annotations

import builtins
import fnmatch
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphtool.rewrite.functions_values import (
    MAX_ITEMS,
    array,
    describe,
    integer,
    integers,
    is_float,
    items,
    number,
    tensor_like,
    within,
)
from graphtool.rewrite.refs import TensorRef, Tensors


def len_(v: object) -> int:
    """The number of elements of a list or of *xs, of characters of a string, or the first dimension of a constant."""
    if isinstance(v, Tensors):
        return len(v.refs)
    return len(array(v) if tensor_like(v) else v if isinstance(v, list | str) else items(v))


def min_(v: object, *more: object) -> object:
    """The smallest element of a list or constant, or the smallest of several numbers."""
    return _extreme(builtins.min, np.min, v, more)


def max_(v: object, *more: object) -> object:
    """The largest element of a list or constant, or the largest of several numbers."""
    return _extreme(builtins.max, np.max, v, more)


def _extreme(of_list: Callable[..., Any], of_array: Callable[..., Any], v: object, more: tuple[object, ...]) -> object:
    if more:
        return of_list(map(number, (v, *more)))
    return of_array(array(v)).item() if tensor_like(v) else of_list(map(number, items(v)))


def sum_(v: object) -> object:
    """The sum of a list, or of a constant vector of at most 4096 elements."""
    return sum(map(number, items(v)))


def prod(v: object) -> object:
    """The product of a list, or of a constant vector of at most 4096 elements; 1 when empty."""
    return math.prod(map(number, items(v)))


def all_(v: object) -> bool:
    """Whether every element of a list or constant is true (not zero)."""
    return bool(np.all(array(v))) if tensor_like(v) else builtins.all(items(v))


def any_(v: object) -> bool:
    """Whether some element of a list or constant is true (not zero)."""
    return bool(np.any(array(v))) if tensor_like(v) else builtins.any(items(v))


def abs_(v: object) -> object:
    """The absolute value of a number, or of each element of a constant."""
    return np.abs(array(v)) if tensor_like(v) else builtins.abs(number(v))


def maximum(a: object, b: object) -> object:
    """The larger of two constants, element by element, broadcast against each other; NaN where one is NaN."""
    return _chosen(np.maximum, a, b)


def minimum(a: object, b: object) -> object:
    """The smaller of two constants, element by element, broadcast against each other; NaN where one is NaN."""
    return _chosen(np.minimum, a, b)


def _chosen(of_arrays: Callable[..., Any], a: object, b: object) -> object:
    x, y = array(a), array(b)
    if x.dtype != y.dtype:
        raise ValueError(f"{x.dtype.name} and {y.dtype.name} are two element types; cast one of them")
    within(math.prod(np.broadcast_shapes(x.shape, y.shape)))
    return np.asarray(of_arrays(x, y))


def sqrt(v: object) -> object:
    """The square root of a number, or of each element of a constant."""
    return np.sqrt(array(v)) if tensor_like(v) else math.sqrt(number(v))


def exp(v: object) -> object:
    """e to the power of a number, or of each element of a constant."""
    return np.exp(array(v)) if tensor_like(v) else math.exp(number(v))


def log(v: object) -> object:
    """The natural logarithm of a number, or of each element of a constant."""
    return np.log(array(v)) if tensor_like(v) else math.log(number(v))


def floor(v: object) -> object:
    """A number rounded down to an integer; a constant element by element, in its own type."""
    return _rounded(math.floor, np.floor, v)


def ceil(v: object) -> object:
    """A number rounded up to an integer; a constant element by element, in its own type."""
    return _rounded(math.ceil, np.ceil, v)


def round_(v: object) -> object:
    """A number rounded to the nearest integer, halves to even; a constant element by element, in its own type."""
    return _rounded(builtins.round, np.rint, v)


def _rounded(of_number: Callable[..., int], of_array: Callable[..., Any], v: object) -> object:
    if not tensor_like(v):
        return of_number(number(v))
    found = array(v)
    return of_array(found) if is_float(found.dtype) else found


def clamp(v: object, low: object, high: object) -> object:
    """A number, or each element of a constant, brought into the range from low to high; NaN stays."""
    least, most = number(low), number(high)
    if least > most:
        raise ValueError(f"no number lies between {least} and {most}")
    if not tensor_like(v):
        return builtins.min(builtins.max(number(v), least), most)
    found = array(v)
    return np.where(found < least, least, np.where(found > most, most, found)).astype(found.dtype)


def sorted_(v: object) -> list[Any]:
    """The numbers of a list or of a constant vector in ascending order."""
    return builtins.sorted(map(number, items(v)))


def repeat(v: object, n: object) -> list[Any]:
    """A list that holds v n times."""
    if not 0 <= integer(n) <= MAX_ITEMS:
        raise ValueError(f"a list of {n} elements; 0 to {MAX_ITEMS} are allowed")
    return [v] * integer(n)


def first(v: object) -> int:
    """The place of the first element of a list that is true (not zero); an error when there is none."""
    for place, item in enumerate(items(v)):
        if item:
            return place
    raise ValueError("no element is true")


def divisor(n: object, limit: object) -> int:
    """The largest number up to limit by which n can be divided without rest."""
    whole, most = integer(n), integer(limit)
    if whole < 1 or most < 1:
        raise ValueError(f"no divisor of {whole} lies between 1 and {most}")
    if whole > MAX_ITEMS**2:
        raise ValueError(f"{whole} is too large to be factored here")
    small = [k for k in range(1, math.isqrt(whole) + 1) if whole % k == 0]
    return builtins.max(k for found in small for k in (found, whole // found) if k <= most)


def equation(text: object) -> str:
    """The equation of an Einsum with its letters named a, b, c ... in order: "bhid,bhjd->bhij" is "abcd,abed->abce"."""
    if not isinstance(text, str):
        raise ValueError(f"{describe(text)} is not the equation of an Einsum")
    plain = text.replace(" ", "")
    left, arrow, right = plain.partition("->")
    if not builtins.all(c.isalpha() or c == "," for c in left) or not (right.isalpha() or not right):
        raise ValueError(f"the equation {text!r} is not plain: letters on both sides of an arrow")
    letters = list(dict.fromkeys(c for c in left if c != ","))
    if not arrow:  # the letters that are there once, in alphabetical order
        if not (left.islower() or left.isupper()):
            raise ValueError(f"the equation {text!r} leaves its result to the order of large and small letters")
        right = "".join(sorted(letter for letter in letters if left.count(letter) == 1))
    if len(letters) > 26:
        raise ValueError(f"the equation {text!r} has more than 26 letters")
    names = {letter: chr(ord("a") + place) for place, letter in enumerate(letters)}
    if not set(right) <= set(letters):
        raise ValueError(f"the equation {text!r} makes what it does not read")
    return "".join(names.get(c, c) for c in left) + "->" + "".join(names[c] for c in right)


def iota(n: object) -> list[int]:
    """The list [0, 1, ..., n - 1]."""
    if not 0 <= integer(n) <= MAX_ITEMS:
        raise ValueError(f"a list of {n} elements; 0 to {MAX_ITEMS} are allowed")
    return list(range(integer(n)))


def zip_add(a: object, b: object) -> list[int | float]:
    """The sums of two lists of one length, element by element."""
    return [x + y for x, y in _pairs(a, b)]


def zip_sub(a: object, b: object) -> list[int | float]:
    """The differences of two lists of one length, element by element."""
    return [x - y for x, y in _pairs(a, b)]


def zip_mul(a: object, b: object) -> list[int | float]:
    """The products of two lists of one length, element by element."""
    return [x * y for x, y in _pairs(a, b)]


def zip_floordiv(a: object, b: object) -> list[int | float]:
    """The quotients of two lists of one length, element by element, rounded down."""
    return [x // y for x, y in _pairs(a, b)]


def _pairs(a: object, b: object) -> list[tuple[int | float, int | float]]:
    x, y = items(a), items(b)
    if len(x) != len(y):
        raise ValueError(f"lists of {len(x)} and {len(y)} elements")
    return [(number(p), number(q)) for p, q in zip(x, y, strict=True)]


def compose(p: object, q: object) -> list[int]:
    """The perm of Transpose(perm=q) after Transpose(perm=p): p[q[0]], p[q[1]], ..."""
    first, second = _permutation(p), _permutation(q)
    if len(first) != len(second):
        raise ValueError(f"permutations of {len(first)} and {len(second)} axes")
    return [first[axis] for axis in second]


def inverse(perm: object) -> list[int]:
    """The permutation that undoes perm."""
    result = _permutation(perm)
    return sorted(range(len(result)), key=result.__getitem__)


def picked(v: object, places: object) -> list[Any]:
    """The elements of a list or constant vector at some places of it: v[places[0]], v[places[1]], ..."""
    found = items(v)
    if not builtins.all(0 <= place < len(found) for place in integers(places)):
        raise ValueError(f"{places} are not all places of a list of {len(found)} elements")
    return [found[place] for place in integers(places)]


def without(perm: object, places: object) -> list[int]:
    """The permutation that is left of perm without the elements at some places of it, counted anew."""
    order, gone = _permutation(perm), integers(places)
    left = [axis for place, axis in enumerate(order) if place not in gone]
    ranks = {axis: rank for rank, axis in enumerate(sorted(left))}
    return [ranks[axis] for axis in left]


def _permutation(value: object) -> list[int]:
    perm = integers(value)
    if sorted(perm) != list(range(len(perm))):
        raise ValueError(f"{perm} is not a permutation")
    return perm


def broadcasts(shape_a: object, shape_b: object) -> bool:
    """Whether a tensor of shape_b broadcasts against one of shape_a without changing shape_a."""
    a, b = items(shape_a), items(shape_b)
    trailing = a[len(a) - len(b) :] if len(b) <= len(a) else None
    return trailing is not None and all(y == 1 or (y is not None and x == y) for x, y in zip(trailing, b, strict=True))


def glob(name: object, pattern: object) -> bool:
    """Whether a name, or a tensor's name, matches a pattern with * ? [abc] [!abc]; upper and lower case differ."""
    text = name.name if isinstance(name, TensorRef) else name
    if not isinstance(text, str) or not isinstance(pattern, str):
        raise ValueError(f"{describe(name)} and {describe(pattern)} are not a name and a pattern")
    if len(text) > MAX_ITEMS:
        raise ValueError(f"a name of {len(text)} characters; at most {MAX_ITEMS} are compared with a pattern")
    # fnmatch turns each "*chunk" into an atomic group: no backtracking, at most len(name) * len(pattern) steps
    return fnmatch.fnmatchcase(text, pattern)
