"""Seeded weights that keep a deep network's activations in range. Floor 6.

Every number is a hash times a power of two (:func:`graphtool.seeded.bell`), and sums of two such numbers are exact in
float32, so the bytes are the same on every machine.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphtool.seeded import bell

Kernel = Literal["random", "smooth", "contrast"]

_BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16


def he_exponent(fan_in: int) -> int:
    """Return the exponent of the power of two nearest sqrt(2 / fan_in) on a log scale, the smaller of two equally near.

    He et al., "Delving deep into rectifiers" (ICCV 2015), equation 10. In integers, since a tie decided by a rounded
    logarithm could fall differently elsewhere.
    """
    return -(((fan_in // 4).bit_length() + 1) // 2)


def kernel(seed: int, outputs: int, inputs: int, side: int, kind: Kernel, gain: float) -> NDArray[np.float32]:
    """Return a convolution weight of shape (outputs, inputs, side, side); ``gain`` is a power of two.

    ``random``: every tap on its own. ``smooth``: one number a channel pair, times a binomial 3x3 window, so that
    neighbouring outputs are alike and resampling before or after changes little. ``contrast``: differences of
    neighbouring numbers, so that each filter sums to zero over its inputs and the positive mean that ReLU leaves
    does not drown the rest.
    """
    if kind == "smooth":
        values = np.asarray(bell(seed, (outputs, inputs, 1, 1)) * _BINOMIAL, np.float32)
        fan_in = inputs  # the taps see nearly the same number
    else:
        values = bell(seed, (outputs, inputs, side, side))
        fan_in = inputs * side * side
        if kind == "contrast":
            values = np.asarray((values - np.roll(values, 1, axis=1)) * np.float32(0.5), np.float32)
    return np.asarray(values * np.float32(gain * 2.0 ** he_exponent(fan_in)), np.float32)


def bias(seed: int, outputs: int, scale: float) -> NDArray[np.float32]:
    """Return a bias of shape (outputs,) with standard deviation near ``scale``, a power of two."""
    return bell(seed, (outputs,)) * np.float32(scale)
