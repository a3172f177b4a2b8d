"""Lazy tensors: where the bytes of a weight are, and how they become an array.

A tensor's bytes are inline in the proto (small ones), a *marker* for a place in a mapped model file or a buffer
(raw_data above ``LAZY_BYTES``), or in an external data file (ONNX IR, "External Tensor Data"). A marker lies in
``raw_data`` itself, so a tensor can be copied, renamed or kept in a snapshot without a side table. It starts with
bytes drawn at random for this process: no model file can contain one.
"""

from __future__ import annotations

import math
import mmap
import os
import stat
import struct
import weakref
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from graphtool.errors import ModelError, quoted, show
from graphtool.graph.typed import raw_of
from graphtool.graph.wire import Buffer, Chunk, splice

LAZY_BYTES = 1024
_MAGIC = b"\0graphtool" + os.urandom(16)
_PLACE = struct.Struct("<QQQ")
MARKER_BYTES = len(_MAGIC) + _PLACE.size


class Source:
    """Bytes that weights lie in, numbered so that a marker can name them."""

    _known: ClassVar[weakref.WeakValueDictionary[int, Source]] = weakref.WeakValueDictionary()
    _count: ClassVar[int] = 0

    def __init__(self, view: Buffer) -> None:
        self.view = view
        self.decoded: list[Source] = []  # what was decoded of it lives as long
        Source._count += 1
        self.number = Source._count
        Source._known[self.number] = self

    def marker(self, start: int, end: int) -> bytes:
        """Return the marker for the bytes [start, end)."""
        return _MAGIC + _PLACE.pack(self.number, start, end - start)


class Mapped(Source):
    """A file mapped read-only into memory. It stays readable when the path is later replaced by another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            empty = os.fstat(file.fileno()).st_size == 0
            super().__init__(memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def skeleton_of(source: Source) -> onnx.ModelProto:
    """Parse the model in ``source``, large raw_data left there; raises WireError or DecodeError.

    Large ``float_data`` and such become raw_data.
    """

    def lazy(start: int, end: int) -> Chunk | None:
        return source.marker(start, end) if end - start > LAZY_BYTES else None

    def typed(field: int, start: int, end: int, others: Sequence[Buffer]) -> Chunk | None:
        payload = source.view[start:end]
        raw = raw_of(field, payload, others) if end - start > LAZY_BYTES else None
        if raw is payload:
            return source.marker(start, end)
        if raw is None or len(raw) <= LAZY_BYTES:
            return raw
        source.decoded.append(Source(raw))
        return source.decoded[-1].marker(0, len(raw))

    chunks, _ = splice(source.view, lazy, LAZY_BYTES, typed=typed)
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    model = onnx.ModelProto()
    model.MergeFromString(data)  # takes any buffer: no copy of an unchanged file
    return model


def filled(serialised: bytes) -> tuple[list[Chunk], int]:
    """Return a serialised skeleton with each marker replaced by the bytes it stands for, as chunks and total size."""
    places = []
    at = serialised.find(_MAGIC)
    while at >= 0:
        places.append(at)
        at = serialised.find(_MAGIC, at + MARKER_BYTES)
    if not places:
        return [serialised], len(serialised)
    buffer = memoryview(serialised)
    filled_in = 0

    def fill(start: int, end: int) -> Buffer | None:
        nonlocal filled_in
        payload = _payload(buffer[start:end])
        filled_in += payload is not None
        return payload

    result = splice(buffer, fill, MARKER_BYTES, places)
    if filled_in < len(places):  # the marker itself would be written as the weight
        raise ModelError("a large weight was put where it cannot stay in its file (a sparse tensor or training graph)")
    return result


def fill_tensor(tensor: TensorProto, name: str, array: NDArray[np.generic]) -> None:
    """Make an empty ``tensor`` the array, under that name."""
    code = _CODES.get(array.dtype.newbyteorder("<"))
    if code is None:
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return
    tensor.name, tensor.data_type = name, code
    tensor.dims.extend(array.shape)
    tensor.raw_data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def is_lazy(tensor: TensorProto) -> bool:
    """Whether the tensor's bytes lie in a mapped model file or a buffer."""
    return len(tensor.raw_data) == MARKER_BYTES and tensor.raw_data.startswith(_MAGIC)


def source_of(tensor: TensorProto) -> tuple[Source, int, int] | None:
    """Return where a lazy tensor's bytes lie: the source, the first byte and their number; None for any other."""
    raw = tensor.raw_data
    if len(raw) != MARKER_BYTES or raw[: len(_MAGIC)] != _MAGIC:
        return None
    number, start, length = _PLACE.unpack_from(raw, len(_MAGIC))
    source = Source._known.get(number)
    return None if source is None else (source, start, length)


def is_external(tensor: TensorProto) -> bool:
    """Whether the tensor's bytes lie in an external data file."""
    return tensor.data_location == TensorProto.EXTERNAL


def make_inline(tensor: TensorProto) -> None:
    """Put a lazy tensor's bytes back into the tensor."""
    payload = _payload(tensor.raw_data)
    if payload is not None:
        tensor.raw_data = bytes(payload)


def _payload(raw: bytes | Buffer) -> Buffer | None:
    if len(raw) != MARKER_BYTES or raw[: len(_MAGIC)] != _MAGIC:
        return None
    number, start, length = _PLACE.unpack_from(raw, len(_MAGIC))
    source = Source._known.get(number)
    if source is None:
        raise ModelError("a weight was used after the graph it was loaded with was dropped; keep that graph")
    return source.view[start : start + length]


class External(NamedTuple):
    """A place in an external data file: its path, first byte and length in bytes."""

    path: Path
    offset: int
    length: int


def external_place(tensor: TensorProto, folder: Path) -> External:
    """Return where an external tensor's bytes are, or raise ModelError where the rules forbid it.

    The file must lie in the model's folder (no absolute path, no ``..``, no link: a model from a stranger must not be
    able to read other files) and hold as many bytes as the tensor's type and shape need.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = os.fsdecode(entries.get("location", ""))
    name = quoted(tensor.name)
    if not location:
        raise ModelError(f"external data of {name} names no file")
    parts = Path(location).parts
    if location[0] in "/\\" or PureWindowsPath(location).drive or ".." in parts or "\0" in location:
        raise ModelError(f"external data of {name}: {quoted(location)} is outside the model's folder")
    path = folder
    try:
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise ModelError(
                    f"external data of {name}: {quoted(location)} goes through a symbolic link; copy the file"
                )
        info = path.stat()
    except OSError:
        raise ModelError(f"external data of {name}: file {quoted(path)} is missing") from None
    if not stat.S_ISREG(info.st_mode):
        raise ModelError(f"external data of {name}: {quoted(path)} is not a regular file")
    if info.st_nlink > 1:  # an archive can hold a link to any file of the one who unpacks it
        raise ModelError(f"external data of {name}: {quoted(path)} is a hard link to another file; copy the file")
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", -1))
    except ValueError:
        raise ModelError(f"external data of {name}: offset or length is not a number") from None
    wanted = payload_bytes(tensor)
    if wanted is not None and wanted < 0:
        raise ModelError(f"external data of {name}: its shape has a negative dimension")
    if length < 0:
        length = wanted if wanted is not None else info.st_size - offset
    if offset < 0 or (wanted is not None and length != wanted) or offset + length > info.st_size:
        raise ModelError(
            f"external data of {name}: needs {wanted if wanted is not None else length} bytes at offset {offset}, "
            f"but the entry has {length} and {quoted(path)} holds {info.st_size}"
        )
    return External(path, offset, length)


_BITS_BY_NAME = {
    "FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8, "FLOAT16": 16,
    "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16, "FLOAT8E4M3FN": 8,
    "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8, "UINT4": 4, "INT4": 4,
    "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2,
}  # fmt: skip
# an older onnx does not know the newest types
_BITS = {code: _BITS_BY_NAME[name] for name, code in TensorProto.DataType.items() if name in _BITS_BY_NAME}


def payload_bytes(tensor: TensorProto) -> int | None:
    """Return how many bytes raw_data of this type and shape has; None for a type without, -1 for a bad shape."""
    bits: int | None = _BITS.get(tensor.data_type)
    if bits is None:
        return None
    dims: tuple[int, ...] = tuple(tensor.dims[:])
    if dims and min(dims) < 0:
        return -1
    return (math.prod(dims) * bits + 7) // 8


class Weights:
    """Reads tensors of one model: keeps its mapped files alive and maps external ones on demand."""

    def __init__(self, source: Source | None, folder: Path | None) -> None:
        self.sources = [source] if source is not None else []
        self.folder = folder
        self._mapped: dict[Path, Mapped] = {}

    def adopt(self, other: Weights) -> None:
        """Keep alive what ``other`` keeps alive, for tensors taken over from its model."""
        self.sources += [source for source in other.sources if source not in self.sources]

    def hold(self, data: bytes) -> bytes:
        """Keep ``data`` outside the skeleton and return its marker."""
        source = Source(memoryview(data))
        self.sources.append(source)
        return source.marker(0, len(data))

    def payload(self, tensor: TensorProto) -> Buffer:
        """Return the raw bytes of a lazy or external tensor, without a copy."""
        if not is_external(tensor):
            found = _payload(tensor.raw_data)
            return found if found is not None else memoryview(tensor.raw_data)
        source, start, length = self.place(tensor)
        return source.view[start : start + length]

    def bring_in(self, tensor: TensorProto) -> None:
        """Put the bytes of a lazy or external tensor into it; raises ModelError where they cannot be read."""
        if is_external(tensor):
            payload = bytes(self.payload(tensor))
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = payload
        else:
            make_inline(tensor)

    def place(self, tensor: TensorProto) -> tuple[Mapped, int, int]:
        """Return the mapped data file, first byte and length of an external tensor; raises ModelError."""
        if self.folder is None:
            raise ModelError(f"external data of {quoted(tensor.name)}: the model has no folder; load it from a file")
        place = external_place(tensor, self.folder)
        if place.path not in self._mapped:
            try:
                self._mapped[place.path] = Mapped(place.path)
            except OSError as error:
                raise ModelError(
                    f"external data of {quoted(tensor.name)}: {quoted(place.path)} cannot be read: {error.strerror}"
                ) from None
        return self._mapped[place.path], place.offset, place.length

    def array(self, tensor: TensorProto) -> NDArray[np.generic]:
        """Return the tensor's value; a read-only view of the file for lazy and external ones of a numpy type."""
        if not (is_lazy(tensor) or is_external(tensor)):
            return _to_array(tensor)
        payload = self.payload(tensor)
        wanted = payload_bytes(tensor)
        if wanted != len(payload):
            needs = "its type has none" if wanted is None else f"its shape needs {wanted}"
            raise ModelError(f"weight {quoted(tensor.name)} has {len(payload)} bytes where {needs}")
        if _BITS[tensor.data_type] >= 8:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            return np.frombuffer(payload, dtype).reshape(tuple(tensor.dims[:]))
        # packed types (two 4-bit numbers a byte) are unpacked by onnx
        return _to_array(
            TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=bytes(payload))
        )

    def constant(self, node: NodeProto) -> NDArray[np.generic] | None:
        """Return the value that a Constant node makes, in whichever attribute it lies; None for a sparse one."""
        for attribute in node.attribute:
            match attribute.name:
                case "value":
                    return self.array(attribute.t)
                case "value_float":
                    return np.array(attribute.f, np.float32)
                case "value_floats":
                    return np.fromiter(attribute.floats, np.float32, len(attribute.floats))
                case "value_int":
                    return np.array(attribute.i, np.int64)
                case "value_ints":
                    return np.fromiter(attribute.ints, np.int64, len(attribute.ints))
                case "value_string":
                    return np.array(attribute.s, object)
                case "value_strings":
                    return np.array(list(attribute.strings), object)
        return None


# types whose bytes numpy reads as they lie; onnx's own way costs ten times as much for a small tensor
_PLAIN: dict[int, np.dtype[Any]] = {
    int(getattr(TensorProto, name.upper())): np.dtype(kind)
    for name, kind in {"float": "<f4", "double": "<f8", "float16": "<f2", "bool": "?"}.items()
    | {f"{sign}int{bits}": f"<{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)}.items()
}


_CODES = {kind: code for code, kind in _PLAIN.items()}


def _to_array(tensor: TensorProto) -> NDArray[np.generic]:
    plain = _PLAIN.get(tensor.data_type)
    if plain is not None and tensor.HasField("raw_data"):
        raw, dims = tensor.raw_data, tuple(tensor.dims[:])
        if len(raw) == math.prod(dims) * plain.itemsize and min(dims, default=0) >= 0:
            return np.frombuffer(raw, plain).reshape(dims)
    try:
        return numpy_helper.to_array(tensor)
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(f"weight {quoted(tensor.name)} cannot be read: {show(error)}") from None
