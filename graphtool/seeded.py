"""Numbers that are the same bytes on every machine. Floor 0.

A library's ``normal()`` may change between versions and uses ``log`` and ``cos``, whose last bits differ between
machines. Here each number is a hash of (seed, position), computed in 64-bit integers and scaled by a power of two,
so every step is exact. The hash is the output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GAMMA = 0x9E3779B97F4A7C15
_CHUNK = 1 << 20  # numbers a step; bounds the memory of the 64-bit intermediates to a few times 8 MiB


def key(*words: object) -> int:
    """Return a seed made of words, the same in every process (``hash()`` is not)."""
    return zlib.crc32("\x1f".join(map(str, words)).encode())


def bits(seed: int, start: int, count: int) -> NDArray[np.uint64]:
    """Return ``count`` hashed 64-bit integers for the positions from ``start`` on."""
    with np.errstate(over="ignore"):
        base = np.uint64((seed * 0xD1342543DE82EF95 + 1) % 2**64)
        z = (np.arange(start, start + count, dtype=np.uint64) + np.uint64(1)) * np.uint64(_GAMMA) + base
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def bell(seed: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Return float32 numbers of ``shape`` near a standard normal: mean 0, standard deviation 1, within 3.5.

    Each is the sum of four 16-bit uniforms (Irwin-Hall), an integer in (-2^17, 2^17), times 2^-15: the deviation is
    2^16 / sqrt(3) * 2^-15 = 1.155; it is scaled by the exact binary fraction 7/8 to 1.01.
    """
    total = math.prod(shape)
    out = np.empty(total, np.float32)
    for start in range(0, total, _CHUNK):
        z = bits(seed, start, min(_CHUNK, total - start))
        mask = np.uint64(0xFFFF)
        s = (z & mask) + ((z >> np.uint64(16)) & mask) + ((z >> np.uint64(32)) & mask) + (z >> np.uint64(48))
        # at most 18 significant bits, so float32 holds the integer and its product with 7 * 2^-18 exactly
        out[start : start + len(z)] = (s.astype(np.int64) - (2 * 0xFFFF)).astype(np.float32) * np.float32(7 * 2.0**-18)
    return out.reshape(shape)


def integers(seed: int, shape: Sequence[int], low: int, high: int) -> NDArray[np.int64]:
    """Return int64 numbers of ``shape`` in ``low <= n < high`` (a span of at most 2^32)."""
    total = math.prod(shape)
    span = np.uint64(max(high - low, 1))
    z = bits(seed, 0, total) >> np.uint64(32)
    return ((z * span) >> np.uint64(32)).astype(np.int64).reshape(shape) + low
