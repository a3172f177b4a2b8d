"""Large tensors cut out of, and put back into, serialised ONNX messages.

An ONNX file is nested protobuf messages: ``ModelProto.graph.initializer[i].raw_data`` holds nearly all bytes. Reading
the wire format up to there costs milliseconds, so a model is parsed without its weights and a weight is a place in the
mapped file. Wire format: https://protobuf.dev/programming-guides/encoding/; field numbers: onnx.proto.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

Buffer = memoryview
Chunk = bytes | memoryview
# what becomes of one raw_data payload at [start, end): its replacement, or None to leave it
Replace = Callable[[int, int], Chunk | None]
# what becomes of a field of numbers at [start, end), as raw_data, given what else the tensor's message has
Typed = Callable[[int, int, int, Sequence[Buffer]], Chunk | None]

_RAW_DATA = 9
FLOATS, INT32S, INT64S, DOUBLES, UINT64S = _NUMBERS = 4, 5, 7, 10, 11  # float_data and so on
# which fields of which message can hold, at any depth, a TensorProto's raw_data
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
_DEEPEST = 64  # nested bodies below this stay inline; protobuf itself stops at 100


class WireError(ValueError):
    """The bytes are not a protobuf message."""


def splice(
    buffer: Buffer,
    replace: Replace,
    smallest: int,
    places: Sequence[int] | None = None,
    typed: Typed | None = None,
) -> tuple[list[Chunk], int]:
    """Return the serialised ModelProto in ``buffer`` with raw_data payloads replaced, as chunks and their total size.

    ``typed`` may make raw_data of a tensor's packed ``float_data`` and such. Messages shorter than ``smallest`` bytes
    are not looked into, and where ``places`` (sorted offsets) is given, only those that hold one of them. Chunks of
    unchanged bytes are views of ``buffer``: nothing is copied.
    """
    changed = _message(buffer, 0, len(buffer), "model", replace, smallest, places, 0, typed)
    return changed or ([buffer], len(buffer))


def _message(
    buffer: Buffer,
    pos: int,
    end: int,
    kind: str,
    replace: Replace,
    smallest: int,
    places: Sequence[int] | None,
    depth: int,
    typed: Typed | None,
) -> tuple[list[Chunk], int] | None:
    """Rewrite the message at [pos, end); None where nothing in it changes."""
    inside = _INSIDE.get(kind, {})
    chunks: list[Chunk] = []
    size = 0
    begin = kept = pos  # bytes before `kept` are in `chunks`
    try:
        while pos < end:
            field_start = pos
            tag = buffer[pos]
            pos += 1
            if tag > 127:
                tag, pos = _varint(buffer, field_start)
            wire = tag & 7 if tag > 7 else 7  # field number 0 does not exist: a file of zeros ends here
            if wire == 2:
                length = buffer[pos]
                pos += 1
                if length > 127:
                    length, pos = _varint(buffer, pos - 1)
                stop = pos + length
                if stop > end:
                    raise WireError("a field is longer than its message")
                if length >= smallest and (places is None or _any_in(places, pos, stop)):
                    field = tag >> 3
                    new: tuple[list[Chunk], int] | None = None
                    if kind == "tensor":
                        new = _raw(buffer, field, (begin, field_start, pos, stop, end), replace, typed)
                        tag = _RAW_DATA << 3 | 2
                    elif field in inside and depth < _DEEPEST:
                        new = _message(buffer, pos, stop, inside[field], replace, smallest, places, depth + 1, typed)
                    if new is not None:
                        head = _encode(tag) + _encode(new[1])
                        chunks += [buffer[kept:field_start], head, *new[0]]
                        size += field_start - kept + len(head) + new[1]
                        kept = stop
                pos = stop
            elif wire == 0:
                while buffer[pos] > 127:
                    pos += 1
                pos += 1
            elif wire in (1, 5):
                pos += 8 if wire == 1 else 4
            else:  # groups are not used by ONNX; 6 and 7 do not exist
                raise WireError(f"no field can begin with {tag}")
    except IndexError:
        raise WireError("the file ends inside a field") from None
    if pos != end:
        raise WireError("a field is longer than its message")
    if not chunks:
        return None
    chunks.append(buffer[kept:end])
    return chunks, size + end - kept


def _raw(
    buffer: Buffer, field: int, around: tuple[int, int, int, int, int], replace: Replace, typed: Typed | None
) -> tuple[list[Chunk], int] | None:
    """Return what a field of a tensor becomes as raw_data; None where it stays as it is.

    ``around`` is where the message, the field, the payload begin, and where the payload and the message end.
    """
    begin, field_start, start, stop, end = around
    payload = None
    if field == _RAW_DATA:
        payload = replace(start, stop)
    elif field in _NUMBERS and typed is not None:
        payload = typed(field, start, stop, (buffer[begin:field_start], buffer[stop:end]))
    return ([payload], len(payload)) if payload is not None else None


def fields_of(buffer: Buffer, pos: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field of a message at [pos, end) that has a length; raises WireError."""
    try:
        while pos < end:
            tag, pos = _varint(buffer, pos)
            match tag & 7 if tag > 7 else 7:  # field number 0 does not exist
                case 2:
                    length, pos = _varint(buffer, pos)
                    if pos + length > end:
                        raise WireError("a field is longer than its message")
                    yield tag >> 3, pos, pos + length
                    pos += length
                case 0:
                    _, pos = _varint(buffer, pos)
                case 1 | 5 as wire:
                    pos += 8 if wire == 1 else 4
                case _:
                    raise WireError(f"no field can begin with {tag}")
    except IndexError:
        raise WireError("the file ends inside a field") from None


def _any_in(places: Sequence[int], start: int, stop: int) -> bool:
    at = bisect_left(places, start)
    return at < len(places) and places[at] < stop


def _varint(buffer: Buffer, pos: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
        if shift > 63:
            raise WireError("a number of more than ten bytes")


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
