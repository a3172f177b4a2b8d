"""What a file is when it is no ONNX model: by its first bytes, and by how deep its messages are nested."""

from __future__ import annotations

from graphtool.graph.wire import Buffer, fields_of

_ARCHIVE = "archive; unpack it first"
_PICKLE = "a Python pickle (a PyTorch checkpoint?), not an ONNX model; export it to ONNX first"
# offset, bytes there, what that is; sources: the formats' own documents, and file(1)'s magic
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model itself; run 'git lfs pull'"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint, .npz or a zipped model?), not an ONNX model"),
    (0, b"PK\x05\x06", "an empty zip archive, not an ONNX model"),
    (0, b"\x1f\x8b", f"a gzip {_ARCHIVE}"),
    (0, b"BZh", f"a bzip2 {_ARCHIVE}"),
    (0, b"\xfd7zXZ\x00", f"an xz {_ARCHIVE}"),
    (0, b"\x28\xb5\x2f\xfd", f"a zstd {_ARCHIVE}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7z {_ARCHIVE}"),
    (257, b"ustar", f"a tar {_ARCHIVE}"),
    (0, b"\x89HDF", "an HDF5 (Keras) file, not an ONNX model"),
    *((0, bytes([0x80, version]), _PICKLE) for version in range(2, 6)),
    (0, b"\x93NUMPY", "a .npy array, not an ONNX model"),
    (4, b"TFL3", "a TFLite model, not ONNX; export or convert the model to ONNX"),
    (4, b"ORTM", "a model in onnxruntime's .ort format; take the .onnx that it was made from"),
    (0, b"IMOD", "an Ascend .om model, compiled by ATC; take the .onnx that it was made from"),
    (0, b"ftrt", "a TensorRT engine; take the .onnx that it was made from"),
    (0, b"GGUF", "a GGUF (llama.cpp) file, not an ONNX model"),
    (8, b'{"', "a safetensors file (weights without a graph), not an ONNX model"),
    (0, b"\x89PNG", "a PNG picture, not an ONNX model"),
    (0, b"\xff\xd8\xff", "a JPEG picture, not an ONNX model"),
    (0, b"\x7fELF", "a program or library (ELF), not an ONNX model"),
    (0, b"%PDF-", "a PDF document, not an ONNX model"),
)  # fmt: skip
# fields that hold messages: graphs as in graphtool.graph.wire, types too
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "", 11: "value", 12: "value", 13: "value"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "", 6: "graph", 11: "graph", 14: "type", 15: "type"},
    "value": {2: "type"},
    "type": {4: "elements", 5: "map", 9: "elements"},
    "elements": {1: "type"},
    "map": {2: "type"},
}
DEEPEST = 100  # messages in each other; protobuf reads no more


def meaning_of(head: bytes) -> str | None:
    """Return what a file that begins with ``head`` is, such as "a gzip archive; unpack it first"; None if unknown."""
    return next((what for at, sign, what in _SIGNATURES if head.startswith(sign, at)), None)


def is_too_deep(buffer: Buffer) -> bool:
    """Whether the messages of a serialised ModelProto are nested deeper than protobuf reads."""
    todo = [(0, len(buffer), "model", 1)]
    while todo:
        start, end, kind, depth = todo.pop()
        if depth > DEEPEST:
            return True
        for number, at, stop in fields_of(buffer, start, end):
            inner = _INSIDE[kind].get(number)
            if inner:
                todo.append((at, stop, inner, depth + 1))
    return False
