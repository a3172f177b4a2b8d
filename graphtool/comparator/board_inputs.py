"""The inputs of a board's samples, read for onnxruntime: one file a sample and input."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.comparator.board_files import Sample
from graphtool.errors import FeedError, quoted
from graphtool.graph import Graph, Value
from graphtool.graph.opset import numpy_dtype

Array = NDArray[Any]
Shapes = Mapping[str, Sequence[int]]


class Inputs:
    """Reads samples for a model.

    ``batch`` is how many samples go into one run: 1, or the batch that the model fixes where each file holds one item.
    """

    def __init__(self, graph: Graph, shapes: Shapes, first: Sample) -> None:
        self.values = {value.name: value for value in graph.inputs}
        self.shapes = shapes
        self.batch = 1
        self._single: set[str] = set()  # inputs of which a file holds one item of the batch
        for name, path in first.inputs.items():
            fixed = next(iter(self._shape(name)), None)
            if fixed is not None and fixed > 1 and self._holds_one(name, path):
                self.batch = fixed
                self._single.add(name)
        self.notes: list[str] = []

    def _shape(self, name: str) -> list[int | None]:
        """Return the sizes of an input; open ones are None."""
        if name in self.shapes:
            return list(self.shapes[name])
        value = self.values[name]
        if value.shape is None:
            raise FeedError(f"input {quoted(name)} has no known rank; give --shape {quoted(name)[1:-1]}:1,3,224,224")
        return [dim if isinstance(dim, int) else None for dim in value.shape]

    def _holds_one(self, name: str, path: Path) -> bool:
        sizes = self._shape(name)[1:]
        if any(size is None for size in sizes):
            return False
        item = math.prod(size for size in sizes if size is not None)
        if item == 0:
            return False
        if path.suffix == ".npy":
            return bool(_load(path).size == item)
        width = numpy_dtype(self.values[name].dtype).itemsize
        return path.stat().st_size in (item * width, item * width // 2)

    def read(self, samples: Sequence[Sample]) -> dict[str, Array]:
        """Return the feed of one run for as many samples as ``batch``, or fewer: the last one is repeated."""
        feed = {}
        for name in self.values:
            of = samples if name in self._single else samples[:1]
            parts = [self._one(name, sample.inputs[name]) for sample in of]
            parts += parts[-1:] * (self.batch - len(parts) if name in self._single else 0)
            feed[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return feed

    def _one(self, name: str, path: Path) -> Array:
        value, sizes = self.values[name], self._shape(name)
        if name in self._single:
            sizes[0] = 1
        dtype = numpy_dtype(value.dtype)
        where = f"input file {quoted(path)}: {quoted(name)} is {value.type_text()}"
        if dtype.hasobject:
            raise FeedError(f"{where}: strings have no raw form, and boards take none")
        if path.suffix == ".npy":
            array = _load(path)
            if array.ndim != len(sizes) or any(
                size is not None and size != has for size, has in zip(sizes, array.shape, strict=True)
            ):
                known = [size for size in sizes if size is not None]
                if len(known) < len(sizes) or array.size != math.prod(known):
                    raise FeedError(f"{where}, found {array.dtype.name}{list(array.shape)}")
                array = array.reshape(known)
            if array.dtype != dtype and array.dtype.kind != dtype.kind:
                raise FeedError(f"{where}, found {array.dtype.name}; {self._hint(array.dtype)}")
            return array.astype(dtype)
        return self._raw(path.read_bytes(), value, sizes, dtype, where)

    def _raw(self, data: bytes, value: Value, sizes: list[int | None], dtype: np.dtype[Any], where: str) -> Array:
        item = math.prod(size for size in sizes if size is not None)
        if sizes and sizes[0] is None and (sizes.count(None) > 1 or not data or len(data) % (item * dtype.itemsize)):
            sizes[0] = 1  # the batch of a board's sample
        open_ = [axis for axis, size in enumerate(sizes) if size is None]
        if len(open_) > 1:
            raise FeedError(f"{where}: its size does not tell several open dimensions; give --shape or .npy files")
        if open_:
            if not data or len(data) % (item * dtype.itemsize):
                raise FeedError(f"{where}, a multiple of {item * dtype.itemsize} bytes, found {len(data)}")
            sizes[open_[0]] = len(data) // (item * dtype.itemsize)
            item = len(data) // dtype.itemsize
        shape = [size for size in sizes if size is not None]
        if len(data) == item * dtype.itemsize:
            return np.frombuffer(data, dtype).reshape(shape).copy()
        if dtype == np.float32 and len(data) == 2 * item:  # --input_fp16_nodes
            note = f"input {quoted(value.name)}: its files are float16 by their size; cast to float32"
            if note not in self.notes:
                self.notes.append(note)
            return np.frombuffer(data, np.float16).reshape(shape).astype(dtype)
        if dtype == np.int64 and len(data) == 4 * item:
            return np.frombuffer(data, np.int32).reshape(shape).astype(dtype)
        hint = f"; {self._hint(np.dtype(np.uint8))}" if dtype.kind == "f" and len(data) == item else ""
        raise FeedError(f"{where}, {item * dtype.itemsize} bytes, found {len(data)}{hint}")

    @staticmethod
    def _hint(dtype: np.dtype[Any]) -> str:
        if dtype == np.uint8:
            return "images for AIPP are no input of the ONNX model: give what comes out of the preprocessing"
        return "convert it to the model's type"


def _load(path: Path) -> Array:
    try:
        array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except Exception as error:  # numpy on a stranger's bytes
        raise FeedError(f"input file {quoted(path)}: not a sound .npy file: {' '.join(str(error).split())}") from None
    if not isinstance(array, np.ndarray):
        raise FeedError(f"input file {quoted(path)}: not a sound .npy file")
    return array
