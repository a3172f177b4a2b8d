"""Weights left behind in the file they came from: shapes and types stay, the numbers are found there again.

A stripped weight is external data (ONNX IR, "External Tensor Data") that lies in the original model file, or in its
data file, with the SHA1 of that file as ``checksum``. So the model stays plain ONNX: beside the original it loads and
runs everywhere, without it every tool still sees types and shapes. A line of documentation marks such a tensor: the
file is referred to by name wherever the model is saved, and its bytes are never copied.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from onnx import TensorProto

from graphtool.graph.weights import Mapped, Weights, external_place, is_external, payload_bytes, source_of

_MARK = "weights stripped; graphtool's restore_weights puts them back"
_INLINE = f"{_MARK} from the model"
_OUTSIDE = f"{_MARK} from its data file"


def is_stripped(tensor: TensorProto) -> bool:
    """Whether the tensor's numbers were left in the file they came from."""
    return is_external(tensor) and tensor.doc_string.startswith(_MARK)


def file_of(tensor: TensorProto) -> str:
    """Return the name of the file that an external tensor's bytes are in."""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def checksum_of(tensor: TensorProto) -> str:
    """Return the SHA1 that a stripped tensor's file must have."""
    return next((entry.value for entry in tensor.external_data if entry.key == "checksum"), "")


@lru_cache(maxsize=16)
def _sha1(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def sha1(path: Path) -> str:
    """Return the SHA1 of a file, in hex; raises OSError."""
    info = path.stat()
    return _sha1(path.resolve(), info.st_size, info.st_mtime_ns)


def strip(tensor: TensorProto, weights: Weights) -> bool:
    """Leave a tensor's bytes in the file that they lie in; returns False where they lie in none."""
    if is_stripped(tensor):
        return False
    if is_external(tensor):
        if weights.folder is None:
            return False
        place = external_place(tensor, weights.folder)
        tensor.external_data.add(key="checksum", value=sha1(place.path))
        _mark(tensor, _OUTSIDE)
        return True
    found = source_of(tensor)
    if found is None:
        return False
    source, start, length = found
    if not isinstance(source, Mapped) or source.path.parent != weights.folder:
        return False
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": source.path.name, "offset": start, "length": length, "checksum": sha1(source.path)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    _mark(tensor, _INLINE)
    return True


def restore(tensor: TensorProto, weights: Weights, source: Mapped) -> None:
    """Undo :func:`strip` on a tensor whose bytes are in ``source``; the caller has compared the checksum.

    What was in a data file goes back to it where that lies in the model's folder, else into the model.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    outside = tensor.doc_string.startswith(_OUTSIDE)
    _unmark(tensor)
    if outside and weights.folder is not None and source.path == (weights.folder / entries["location"]).resolve():
        kept = [(entry.key, entry.value) for entry in tensor.external_data if entry.key != "checksum"]
        del tensor.external_data[:]
        for key, value in kept:
            tensor.external_data.add(key=key, value=value)
        return
    start = int(entries.get("offset", 0))
    length = int(entries.get("length", -1))
    if length < 0:
        length = payload_bytes(tensor) or 0
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = source.marker(start, start + length)
    if source not in weights.sources:
        weights.sources.append(source)


def _mark(tensor: TensorProto, mark: str) -> None:
    tensor.doc_string = f"{mark}\n{tensor.doc_string}" if tensor.HasField("doc_string") else mark


def _unmark(tensor: TensorProto) -> None:
    _, more, own = tensor.doc_string.partition("\n")
    if more:
        tensor.doc_string = own
    else:
        tensor.ClearField("doc_string")
