"""Functions of expressions about element types. Floor 2.

The first line of a docstring is the function's line in the documentation of the pass language.
"""

from __future__ import annotations

from typing import Any

from graphtool.errors import quoted
from graphtool.graph.values import dtype_code, dtype_name
from graphtool.rewrite import functions_values as values
from graphtool.rewrite.functions_values import describe

# whether a type has a sign, how many binary digits it holds exactly, and the exponent of its largest value
_DIGITS = {
    "bool": (False, 1, 1),
    "uint8": (False, 8, 8), "uint16": (False, 16, 16), "uint32": (False, 32, 32), "uint64": (False, 64, 64),
    "int8": (True, 7, 7), "int16": (True, 15, 15), "int32": (True, 31, 31), "int64": (True, 63, 63),
    "float16": (True, 11, 16), "bfloat16": (True, 8, 128), "float32": (True, 24, 128), "float64": (True, 53, 1024),
}  # fmt: skip


def type_code(name: object) -> int:
    """The number that Cast takes for the named element type: 1 for "float32"."""
    if not isinstance(name, str):
        raise ValueError(f"{values.describe(name)} is not the name of an element type")
    try:
        return dtype_code(name)
    except KeyError:
        raise ValueError(f"no element type {quoted(name)}") from None


def lowest(dtype: object) -> Any:
    """The least number of the named element type: "int8" gives -128, floating-point types minus infinity."""
    return _bound(dtype, 0)


def highest(dtype: object) -> Any:
    """The greatest number of the named element type: "int8" gives 127, floating-point types infinity."""
    return _bound(dtype, 1)


def _bound(name: object, which: int) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"{values.describe(name)} is not the name of an element type")
    return values.bounds(name)[which]


def widens(a: object, b: object) -> bool:
    """Whether every value of element type a is one of type b, given by name or by number: "int8" and "float16"."""
    source, target = _type(a), _type(b)
    if source == target:
        return True
    if source == "bool":
        return target in _DIGITS
    if source not in _DIGITS or target not in _DIGITS or "bool" in (source, target):
        return False
    if _DIGITS[source][0] and not _DIGITS[target][0]:  # a sign, or a fraction and an exponent
        return False
    (_, digits, range_), (_, wide, wide_range) = _DIGITS[source], _DIGITS[target]
    return digits <= wide and range_ <= wide_range and (source[0] not in "fb" or target[0] in "fb")


def _type(v: object) -> str:
    if isinstance(v, int):
        return dtype_name(v)
    if isinstance(v, str):
        return v
    raise ValueError(f"{describe(v)} is not an element type")
