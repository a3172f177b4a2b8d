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

from graphtool import guard
from graphtool.errors import ModelError, quoted
from graphtool.graph.bodies import all_tensors
from graphtool.graph.stripped import file_of, is_stripped
from graphtool.graph.weights import filled, is_external, is_lazy, payload_bytes

if TYPE_CHECKING:
    from graphtool.graph.model import Graph

PROTOBUF_LIMIT = 2**31 - 1
_ALIGNMENT = 4096  # lets a reader map a tensor by page, as the ONNX IR advises for external data


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its place when the block ends well, and vanishes otherwise."""
    kept = contextlib.ExitStack()
    try:
        if path.is_dir():
            raise ModelError(f"cannot write {quoted(path)}: it is a folder")
        if path.exists() and not path.is_file():  # renaming over /dev/null would remove it
            raise ModelError(f"cannot write {quoted(path)}: it is not a regular file")
        part = path.with_name(f".graphtool-{os.urandom(8).hex()}.part")
        kept.enter_context(guard.temporary(part))
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
        kept.close()


def write_text(path: Path, text: str) -> None:
    """Write text atomically, with LF line ends."""
    with replacing(path) as file:
        file.write(text.encode())


def save_model(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``.

    External data in the same folder is referred to and not copied; from another folder it is copied once, into
    ``path`` + ``.data``. A model above protobuf's 2 GiB gets all its large weights moved there, and so do weights of
    ``graph.outside`` bytes or more where that is set. Stripped weights stay where they are.
    """
    proto = graph.proto
    serialised = proto.SerializeToString(deterministic=True)
    chunks, size = filled(serialised)
    too_large = size > PROTOBUF_LIMIT
    folder = path.parent.resolve()
    # each external tensor has an entry with that key: most models need no walk over all nodes
    elsewhere = folder != (graph.weights.folder or folder) and b"location" in serialised
    data_path = path.with_name(path.name + ".data")
    if b"location" in serialised:
        _refuse_own_weights(graph, path, data_path)
    if not (too_large or elsewhere or graph.outside is not None):
        with replacing(path) as file:
            file.writelines(chunks)
        return
    del chunks, serialised
    own = onnx.ModelProto()
    own.CopyFrom(proto)
    moved = _moved(own, graph.outside, too_large, elsewhere, data_path.name)
    with contextlib.ExitStack() as files:
        # both files are complete before either takes its place: a failure leaves an older pair as it was
        model_file = files.enter_context(replacing(path))
        if moved:
            data_file = files.enter_context(replacing(data_path))
            for tensor in moved:
                _move(tensor, graph, data_file, data_path.name)
        chunks, size = filled(own.SerializeToString(deterministic=True))
        if size > PROTOBUF_LIMIT:
            raise ModelError(
                f"cannot write {quoted(path)}: {size} bytes remain that are no weights; protobuf ends at 2 GiB"
            )
        model_file.writelines(chunks)


def _moved(
    model: onnx.ModelProto, outside: int | None, too_large: bool, elsewhere: bool, data_name: str
) -> list[TensorProto]:
    """Return the tensors that go to the data file ``data_name``."""
    # what lies in a file of that name would be lost when it is replaced
    external = {t.name for t in model.graph.initializer if is_external(t) and file_of(t) == data_name}
    moved = [
        tensor
        for tensor in all_tensors(model)
        if not is_stripped(tensor) and (
            (is_external(tensor) and (too_large or elsewhere or bool(external))) or (too_large and is_lazy(tensor))
        )
    ]  # fmt: skip
    if outside is not None and not too_large:
        moved += [t for t in model.graph.initializer if not is_external(t) and (payload_bytes(t) or 0) >= outside]
    return moved


def _refuse_own_weights(graph: Graph, path: Path, data_path: Path) -> None:
    """Raise ModelError where writing would replace a file that stripped weights are in."""
    folder = graph.weights.folder
    for tensor in all_tensors(graph.proto):
        if folder is not None and is_stripped(tensor):
            file = (folder / file_of(tensor)).resolve()
            if file in (path.resolve(), data_path.resolve()):
                raise ModelError(
                    f"cannot write {quoted(path)}: the stripped weights of this model are in {quoted(file)}"
                )


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
