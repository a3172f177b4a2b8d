"""The distance between neighbouring numbers of a type."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np


def is_extension(dtype: np.dtype[Any]) -> bool:
    """Whether numpy itself has no such type: bfloat16, float8, 4-bit integers and others of ml_dtypes.

    Their ``kind`` is no sign of it: that of float8e5m2 is ``f``, as of numpy's own.
    """
    return dtype.isbuiltin == 2


def eps_of(dtype: np.dtype[Any] | type) -> float:
    """Return the distance from 1 to the next number of a floating-point type, 0 for any other type."""
    kind = np.dtype(dtype)
    if kind.kind in "fc" and not is_extension(kind):
        return float(np.finfo(kind).eps)
    small: Any = ml_dtypes.finfo  # bfloat16, float8 and smaller
    return float(small(kind).eps) if "float" in kind.name else 0.0
