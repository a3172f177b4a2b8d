"""Writing a model: atomic, deterministic, weights copied at most once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import onnx
from onnx import TensorProto

from graphtool.errors import ModelError, quoted
from graphtool.graph.bodies import all_tensors
from graphtool.graph.weights import filled, is_external, is_lazy

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

PROTOBUF_LIMIT = 2**31 - 1
_ALIGNMENT = 4096  # lets a reader map a tensor by page, as the ONNX IR advises for external data


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its place when the block ends well, and vanishes otherwise."""
    try:
        if path.is_dir():
            raise ModelError(f"cannot write {quoted(path)}: it is a folder")
        if path.exists() and not path.is_file():  # renaming over /dev/null would remove it
            raise ModelError(f"cannot write {quoted(path)}: it is not a regular file")
        part = path.with_name(f".graphtool-{os.urandom(8).hex()}.part")
        file = part.open("xb")
    except OSError as error:
        raise ModelError(f"cannot write {quoted(path)}: {error.strerror}") from None
    try:
        with file:
            yield file
        part.replace(path)
    except OSError as error:
        raise ModelError(f"cannot write {quoted(path)}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, with LF line ends."""
    with replacing(path) as file:
        file.write(text.encode())


def save_model(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``.

    External data in the same folder is referred to and not copied; from another folder it is copied once, into
    ``path`` + ``.data``. A model above protobuf's 2 GiB gets all its large weights moved there.
    """
    proto = graph.proto
    serialised = proto.SerializeToString(deterministic=True)
    chunks, size = filled(serialised)
    too_large = size > PROTOBUF_LIMIT
    folder = path.parent.resolve()
    # each external tensor has an entry with that key: most models need no walk over all nodes
    elsewhere = folder != (graph.weights.folder or folder) and b"location" in serialised
    if not (too_large or elsewhere):
        with replacing(path) as file:
            file.writelines(chunks)
        return
    del chunks, serialised
    own = onnx.ModelProto()
    own.CopyFrom(proto)
    moved = [t for t in all_tensors(own) if is_external(t) or (too_large and is_lazy(t))]
    with contextlib.ExitStack() as files:
        # both files are complete before either takes its place: a failure leaves an older pair as it was
        model_file = files.enter_context(replacing(path))
        if moved:
            data_path = path.with_name(path.name + ".data")
            data_file = files.enter_context(replacing(data_path))
            for tensor in moved:
                _move(tensor, graph, data_file, data_path.name)
        chunks, size = filled(own.SerializeToString(deterministic=True))
        if size > PROTOBUF_LIMIT:
            raise ModelError(
                f"cannot write {quoted(path)}: {size} bytes remain that are no weights; protobuf ends at 2 GiB"
            )
        model_file.writelines(chunks)


def full_model(graph: Graph) -> onnx.ModelProto:
    """Return a copy of the graph's model with every weight inline; raises ModelError above protobuf's 2 GiB."""
    chunks, size = filled(graph.proto.SerializeToString(deterministic=True))
    external = [graph.weights.payload(t) for t in all_tensors(graph.proto) if is_external(t)]
    size += sum(map(len, external))
    if size > PROTOBUF_LIMIT:
        raise ModelError(f"the model has {size} bytes; protobuf holds at most 2 GiB")
    model: onnx.ModelProto = onnx.ModelProto.FromString(b"".join(chunks))
    for tensor, payload in zip(filter(is_external, all_tensors(model)), external, strict=True):
        tensor.raw_data = bytes(payload)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return model


def _move(tensor: TensorProto, graph: Graph, file: IO[bytes], location: str) -> None:
    """Append the tensor's bytes to the data file and let it refer to them there."""
    payload = graph.weights.payload(tensor)
    offset = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
    file.seek(offset)
    file.write(payload)
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", len(payload))):
        tensor.external_data.add(key=key, value=str(value))
