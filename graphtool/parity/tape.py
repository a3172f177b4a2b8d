"""Recorded tensors, by the number of what they are: in memory up to a limit, beyond that in a file without a name.

The file is unlinked as it is made (``tempfile.TemporaryFile``), so the system frees it when the process ends, however
that ends. It lies in the folder for temporary files (``TMPDIR``) and takes at most a quarter of what is free there.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections.abc import Container
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MEMORY = 32 << 20  # bytes of tensors kept in memory
DISK = 4 << 30  # bytes of tensors kept in the file, at most
_PAGE = mmap.ALLOCATIONGRANULARITY  # where a mapping may begin
_FREE = 4  # of what is free where the file lies, one part in so many


@dataclass(frozen=True, slots=True)
class _Spilled:
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Tape:
    """Recorded tensors by number. What does not fit is not recorded, and has to be computed again."""

    def __init__(self, memory: int = MEMORY, disk: int = DISK) -> None:
        self.recorded: object = None  # the graph that was run last for tensors to record
        self._memory, self._disk = memory, disk
        self._held: dict[int, Array] = {}
        self._spilled: dict[int, _Spilled] = {}
        self._in_memory = self._in_file = 0
        self._file: IO[bytes] | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._held or number in self._spilled

    def __len__(self) -> int:
        return len(self._held) + len(self._spilled)

    def put(self, number: int, array: Array, spill: bool = True) -> bool:
        """Record a tensor; return whether it is recorded now. Only numbers and booleans of numpy's own types are.

        Without ``spill`` it is recorded only where it fits in memory.
        """
        if number in self:
            return True
        if array.dtype.kind not in "fiub":
            return False
        if self.fits(array):
            self._held[number] = array
            self._in_memory += array.nbytes
            return True
        return spill and self._spill(number, array)

    def get(self, number: int) -> Array | None:
        """Return a recorded tensor, not to be written to; None where it was not recorded."""
        held = self._held.get(number)
        place = self._spilled.get(number)
        if held is not None or place is None or self._file is None:
            return held
        if 0 in place.shape:
            return np.empty(place.shape, place.dtype)
        mapped = np.memmap(self._file, place.dtype, "r", place.start, place.shape)
        return mapped.view(np.ndarray)  # its pages are those that were written: nothing is copied

    def fits(self, array: Array) -> bool:
        """Whether a tensor would be held in memory."""
        return self._in_memory + array.nbytes <= self._memory

    def keep(self, numbers: Container[int]) -> None:
        """Let go of what is held in memory but for some."""
        self._held = {number: array for number, array in self._held.items() if number in numbers}
        self._in_memory = sum(array.nbytes for array in self._held.values())

    @property
    def held(self) -> int:
        """How many bytes are held in memory."""
        return self._in_memory

    @property
    def spilled(self) -> int:
        """How many bytes lie in the file."""
        return self._in_file

    def _spill(self, number: int, array: Array) -> bool:
        if self._file is None:
            self._disk = min(self._disk, shutil.disk_usage(tempfile.gettempdir()).free // _FREE)
        start = -(-self._in_file // _PAGE) * _PAGE
        if start + array.nbytes > self._disk:
            return False
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by clear, or with the process)
            self._file.seek(start)
            data = _bytes(np.ascontiguousarray(array))
            while data.size:
                data = data[self._file.write(data.data) :]
        except OSError:  # the disk is full, or there is none: no reason to end a run
            self._disk = self._in_file
            return False
        self._spilled[number] = _Spilled(start, array.dtype, array.shape)
        self._in_file = start + array.nbytes
        return True


def _bytes(array: Array) -> NDArray[np.uint8]:
    """Return the bytes of a contiguous array, in place."""
    return array.reshape(-1).view(np.uint8)
