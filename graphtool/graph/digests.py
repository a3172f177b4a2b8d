"""When two tensors hold the same numbers, without reading more of them than needed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from onnx import GraphProto, TensorProto, numpy_helper

from graphtool.errors import ModelError, quoted
from graphtool.graph.model import Graph
from graphtool.graph.stripped import is_stripped
from graphtool.graph.values import Value
from graphtool.graph.weights import external_place, is_external, is_lazy

TensorKey = tuple[int, tuple[int, ...], str]


class Contents:
    """What both sides of a comparison share: a digest for each place in a file, a number for each key."""

    def __init__(self) -> None:
        self._known: dict[Hashable, str] = {}
        self._numbers: dict[Hashable, int] = {}

    def key(self, graph: Graph, tensor: TensorProto) -> TensorKey:
        """Return type, shape and digest: equal exactly for tensors of the same type, shape and bytes."""
        return tensor.data_type, tuple(tensor.dims), self.digest(graph, tensor)

    def number(self, key: Hashable) -> int:
        """Return a number that stands for ``key`` throughout the comparison: cheaper to hash and to compare."""
        return self._numbers.setdefault(key, len(self._numbers))

    def digest(self, graph: Graph, tensor: TensorProto) -> str:
        """Return the SHA-256 of the tensor's bytes, as little-endian ``raw_data`` has them however they are stored."""
        place = place_of(graph, tensor)
        if place is None:
            return _digest(graph, tensor)
        if place not in self._known:
            self._known[place] = _digest(graph, tensor)
        return self._known[place]


def place_of(graph: Graph, tensor: TensorProto) -> Hashable | None:
    """Return where in which file the bytes are; None where they are in the proto. Equal places hold equal bytes."""
    if is_lazy(tensor):
        return tensor.raw_data  # the marker names the mapped file, offset and length
    if is_stripped(tensor):  # its file is known by its contents, and may be elsewhere
        return tuple(sorted((entry.key, entry.value) for entry in tensor.external_data))
    if is_external(tensor) and graph.weights.folder is not None:
        return external_place(tensor, graph.weights.folder)
    return None


def _digest(graph: Graph, tensor: TensorProto) -> str:
    if is_stripped(tensor):
        try:
            return hashlib.sha256(graph.weights.payload(tensor)).hexdigest()
        except ModelError:  # without its file a weight equals no other
            return f"stripped {place_of(graph, tensor)}"
    if is_external(tensor) or tensor.raw_data:
        return hashlib.sha256(graph.weights.payload(tensor)).hexdigest()
    if tensor.data_type == TensorProto.STRING:
        # lengths keep ("ab", "c") apart from ("a", "bc")
        return hashlib.sha256(b"".join(b"%d:%b" % (len(s), s) for s in tensor.string_data)).hexdigest()
    try:
        raw = numpy_helper.from_array(np.asarray(numpy_helper.to_array(tensor))).raw_data
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"tensor {quoted(tensor.name)} does not hold what its type and shape say: {error}") from None
    return hashlib.sha256(raw).hexdigest()


class Weight(NamedTuple):
    """An initializer of the main graph. A sparse one consists of two tensors, values and indices."""

    name: str
    value: Value
    tensors: tuple[TensorProto, ...]

    @property
    def type(self) -> Hashable:
        """What two weights must share before their bytes are worth comparing."""
        return self.value.kind, self.value.dtype, self.value.shape

    @property
    def elements(self) -> int:
        """How many numbers the weight has, zeros of a sparse one included."""
        return math.prod(self.value.dims)

    def places(self, graph: Graph) -> tuple[Hashable | None, ...]:
        """Return the place of each tensor; see :func:`place_of`."""
        return tuple(place_of(graph, tensor) for tensor in self.tensors)

    def digest(self, graph: Graph, contents: Contents) -> str:
        """Return the digest of the weight, those of a sparse one's two tensors joined by ``+``."""
        return "+".join(contents.digest(graph, tensor) for tensor in self.tensors)


def weights_of(graph: GraphProto) -> dict[str, Weight]:
    """Return the initializers of a graph by name, sparse ones included."""
    found = {t.name: Weight(t.name, Value(t.name, t.data_type, tuple(t.dims)), (t,)) for t in graph.initializer}
    for sparse in graph.sparse_initializer:
        value = Value(sparse.values.name, sparse.values.data_type, tuple(sparse.dims), "sparse")
        found[value.name] = Weight(value.name, value, (sparse.values, sparse.indices))
    return found
