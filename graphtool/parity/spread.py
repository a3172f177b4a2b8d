"""How errors are spread: mean, median and upper quantiles, in one walk and without keeping the errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT = 1 << 16  # elements up to which quantiles are exact; above they are rounded up, by at most 1/128
_DROPPED = 16  # low bits of a float32: exponent and 7 bits of the fraction make the bin
_BINS = 1 << (31 - _DROPPED)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and quantiles of errors: quantile q is the least error that a share q of all elements does not exceed."""

    mean: float = 0.0
    median: float = 0.0
    q90: float = 0.0
    q99: float = 0.0
    q999: float = 0.0


NONE = Spread()  # nothing differs


class Errors:
    """Errors of ``count`` elements as they are walked over; those that are no finite number count as infinite.

    Errors below the smallest float32 count as zero and above the largest as infinite in quantiles.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.total = 0.0
        self.infinite = 0
        self._kept: list[Floats] | None = [] if count <= EXACT else None
        self._bins = np.zeros(0, np.int64)

    def add(self, errors: Floats) -> None:
        """Take the errors of some elements, finite ones; elements that are not told of have none."""
        with np.errstate(over="ignore"):
            self.total += float(errors.sum())
        if self._kept is not None:
            self._kept.append(errors.astype(np.float64))  # a copy: the caller goes on with its buffer
            return
        with np.errstate(over="ignore", under="ignore"):
            places = errors.astype(np.float32).view(np.uint32) >> np.uint32(_DROPPED)
        found = np.bincount(places.astype(np.intp), minlength=_BINS)  # of another type it takes four times as long
        self._bins = found if self._bins.size == 0 else self._bins + found

    def spread(self) -> Spread:
        """Return mean and quantiles of all elements."""
        if self.infinite == 0 and self.total == 0.0:
            return Spread()
        quantiles = [self._quantile(share) for share in (0.5, 0.9, 0.99, 0.999)]
        return Spread(math.inf if self.infinite else self.total / self.count, *quantiles)

    def _quantile(self, share: float) -> float:
        rank = math.ceil(share * self.count)
        if rank > self.count - self.infinite:
            return math.inf
        if self._kept is not None:
            told = np.sort(np.concatenate(self._kept)) if self._kept else np.zeros(0)
            # elements that were not told of come first: their error is 0; infinite ones were told of as 0
            place = rank - 1 - (self.count - told.size) + min(self.infinite, told.size)
            return float(told[place]) if place >= 0 else 0.0
        above = self.count - self.infinite - rank  # finite errors that may be larger
        sums = np.cumsum(self._bins[::-1])
        place = int(np.searchsorted(sums, above, side="right"))
        if place >= sums.size:
            return 0.0
        number = np.uint32(((_BINS - 1 - place) << _DROPPED) | ((1 << _DROPPED) - 1))
        return float(number.view(np.float32)) if _BINS - 1 - place else 0.0
