"""The distance between neighbouring numbers of a type."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np


def eps_of(dtype: np.dtype[Any] | type) -> float:
    """Return the distance from 1 to the next number of a floating-point type, 0 for any other type."""
    kind = np.dtype(dtype)
    if kind.kind in "fc":
        return float(np.finfo(kind).eps)
    small: Any = ml_dtypes.finfo  # bfloat16, float8 and smaller
    return float(small(kind).eps) if "float" in kind.name else 0.0
