"""Seeded weights with which a deep network's activations neither explode nor vanish. Floor 6.

Every number is a hash scaled by a power of two (:func:`graphtool.seeded.bell`) and has at most 22 significant bits, so
each product and sum below is exact and the bytes are the same on every machine.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphtool.seeded import bell

Kind = Literal["random", "smooth", "contrast"]

_BINOMIAL: NDArray[np.float32] = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / np.float32(16)


def he_exponent(fan_in: int) -> int:
    """Return the exponent of the power of two near sqrt(2 / fan_in), the deviation that keeps ReLU layers in range.

    He et al., "Delving deep into rectifiers" (ICCV 2015), equation 10. Within a factor sqrt(2); in integers,
    since a tie decided by a rounded logarithm could fall differently on another machine.
    """
    return -(((fan_in // 4).bit_length() + 1) // 2)


def filters(seed: int, outputs: int, inputs: int, side: int, kind: Kind, gain: float) -> NDArray[np.float32]:
    """Return a convolution weight of shape (outputs, inputs, side, side), He-scaled, times ``gain`` (a power of two).

    ``random``: every tap drawn on its own. ``smooth`` (side 3): one number drawn for each pair of channels, times a
    binomial window, so that neighbouring positions get similar values, as in a network that looks at pictures, and
    resampling changes them little. ``contrast``: differences of numbers drawn for neighbouring inputs, so that each
    filter sums to zero and what all channels have in common (after ReLU: a positive mean) does not pick the class.
    """
    if kind == "smooth":
        drawn = bell(seed, (outputs, inputs, 1, 1)) * _BINOMIAL
        fan_in = inputs  # the taps see much the same value, and the window sums to one
    else:
        drawn = bell(seed, (outputs, inputs, side, side))
        fan_in = inputs * side * side
    if kind == "contrast":
        drawn = drawn - np.roll(drawn, 1, axis=1)
    return drawn * np.float32(gain * 2.0 ** he_exponent(fan_in))


def levels(seed: int, channels: int) -> NDArray[np.float64]:
    """Return what each of ``channels`` is to be on a blank image: multiples of 1/16 with standard deviation 1/2."""
    return np.rint(bell(seed, (channels,)).astype(np.float64) * 8) / 16


def centred_bias(
    weight: NDArray[np.float32], blank: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the bias with which a convolution maps the constant input ``blank`` (inputs,) to ``wanted`` (outputs,).

    This is what fusing a batch normalization leaves: minus the mean that training saw, plus a learned shift. Without
    it the mean grows from layer to layer until one class wins everywhere. The sum is exact in float64 in any order:
    22 bits of weights, 10 bits of ``blank`` (multiples of 1/16 below 64), fewer than 2^15 terms.
    """
    return np.asarray(wanted - np.einsum("oihw,i->o", weight, blank), np.float32)
