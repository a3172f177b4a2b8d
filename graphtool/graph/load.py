"""From a path to a parsed model: what a file is when it is not an ONNX model, said in one line."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from graphtool import guard
from graphtool.errors import ModelError, quoted
from graphtool.graph.filetype import DEEPEST, is_too_deep, meaning_of
from graphtool.graph.values import dtype_name
from graphtool.graph.weights import Mapped, skeleton_of
from graphtool.graph.wire import WireError

# what a large model may take longer in each phase; on ICNet no phase takes a tenth of it
_SECONDS_A_BYTE = 1e-6
_SECONDS_A_NODE = 0.01
_FAULT = "cannot be used as a model"
_LONGEST_FEED = 2**28  # bytes; do not read gigabytes to say what a broken file may be
_BROKEN = "it is not ONNX, or it is truncated; copy or download it again"


def load_model(path: Path) -> tuple[onnx.ModelProto, Mapped]:
    """Return the skeleton of the model at ``path`` and the mapped file with its weights; raises ModelError."""
    guard.about(path)
    with guard.phase("loading"):
        model, source = _load(path)
    guard.allow(_SECONDS_A_BYTE * len(source.view) + _SECONDS_A_NODE * len(model.graph.node))
    return model, source


def _load(path: Path) -> tuple[onnx.ModelProto, Mapped]:
    where = quoted(path)
    try:
        if path.is_dir():
            raise ModelError(f"{where} is a folder; name the .onnx file in it")
        if not path.exists():
            if path.is_symlink():
                raise ModelError(f"{where} is a link to {quoted(os.readlink(path))}, which is not there")  # noqa: PTH115
            near = _neighbour(path)
            raise ModelError(f"no file {where}" + (f"; did you mean {quoted(near)}?" if near else ""))
        if not path.is_file():
            raise ModelError(f"{where} is not a regular file; a model is mapped, so copy it to one")
        source = Mapped(path.resolve())
    except OSError as error:
        raise ModelError(f"{where} cannot be read: {error.strerror}") from None
    head = bytes(source.view[:512])
    if not head:
        raise ModelError(f"{where} is empty")
    meaning = meaning_of(head)
    if meaning is not None:
        raise ModelError(f"{where} is {meaning}")
    try:
        model = skeleton_of(source)
    except (WireError, DecodeError):
        raise ModelError(f"{where} {_FAULT}: {_what_instead(source, head)}") from None
    if not model.HasField("graph"):
        raise ModelError(f"{where} {_FAULT}: {_what_instead(source, head, 'it has no graph')}")
    if not model.opset_import and not model.functions:
        raise ModelError(f"{where} {_FAULT}: it names no opset (opset_import is empty); export the model again")
    return model, source


def _what_instead(source: Mapped, head: bytes, else_say: str = _BROKEN) -> str:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is an HTML or XML page; the download failed?"
    if _is_text(head):
        return "it is JSON text, not ONNX" if text.startswith((b"{", b"[")) else "it is text, not ONNX"
    with suppress(WireError):
        if is_too_deep(source.view):
            return f"its graphs, or types, are nested more than {DEEPEST} messages deep, and protobuf reads no more"
    tensor = TensorProto()
    try:
        tensor.MergeFromString(source.view[:_LONGEST_FEED])
    except DecodeError:
        return else_say
    if tensor.data_type and (tensor.raw_data or tensor.dims or tensor.float_data or tensor.int64_data):
        shape = ",".join(map(str, tensor.dims))
        return f"it is a single tensor {dtype_name(tensor.data_type)}[{shape}] (a feed?), not a model"
    return else_say


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else the head ends inside a character
            return False
        text = head[: error.start].decode()
    return all(c.isprintable() or c in "\r\n\t" for c in text)


def _neighbour(path: Path) -> str | None:
    from graphtool.errors import nearest

    try:
        names = [other.name for other in path.parent.iterdir() if other.suffix == ".onnx"]
    except OSError:
        return None
    return nearest(path.name, names)
