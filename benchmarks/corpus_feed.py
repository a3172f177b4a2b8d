"""Inputs for a model of the corpus: drawn ones, other sizes of open dimensions, and what graphtool does not draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TypeProto, numpy_helper

from graphtool.errors import FeedError
from graphtool.graph import Graph
from graphtool.parity.feed import draw

Feeds = dict[str, Any]
LAST_RESORT = ("small integers", "ones", "counting")  # the labels of feeds for models that run on no drawn one


def feeds(path: Path, model: ModelProto) -> Iterator[tuple[str, Callable[[], Feeds]]]:
    """Yield feeds by label, made when asked for: two seeds, and a third with every open dimension one larger.

    For inputs that ``draw`` does not know (sequences, optionals, tensors without a rank) or that a model does not take
    (an index out of range), plain ones follow. Which of them the model runs on is for the caller to find out.
    """
    yield "seed 0", lambda: _drawn(path, model, 0)
    yield "seed 1", lambda: _drawn(path, model, 1)
    if any(not dim.HasField("dim_value") for info in _given(model) for dim in info.type.tensor_type.shape.dim):
        yield "seed 2, larger", lambda: _larger(path, model)
    rng = np.random.default_rng(3)
    yield LAST_RESORT[0], lambda: {info.name: _plain(info.type, rng) for info in _given(model)}
    yield LAST_RESORT[1], lambda: {info.name: _plain(info.type, None) for info in _given(model)}
    # 2, 3, 4 ... is a valid shape where an input is one, and like the shapes that the suites' authors choose
    yield LAST_RESORT[2], lambda: {info.name: _counting(info.type) for info in _given(model)}


def _drawn(path: Path, model: ModelProto, seed: int) -> Feeds:
    try:
        return dict(draw(Graph.load(path), seed).arrays)
    except FeedError:
        rng = np.random.default_rng(seed)
        return {info.name: _plain(info.type, rng) for info in _given(model)}


def _larger(path: Path, model: ModelProto) -> Feeds:
    """Draw with every open dimension one larger: what was baked in from a guess at sizes shows up."""
    graph = Graph.load(path)
    sizes = {name: [int(size) for size in array.shape] for name, array in draw(graph).arrays.items()}
    for info in _given(model):
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                sizes[info.name][axis] += 1
    return dict(draw(graph, 2, sizes).arrays)


def _given(model: ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that have no default."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    defaults |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return [info for info in model.graph.input if info.name not in defaults]


def _plain(kind: TypeProto, rng: np.random.Generator | None) -> Any:
    """Return a value of a type: small integers drawn with ``rng``, or ones; open sizes are 2, unknown ranks 1."""
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return [_plain(kind.sequence_type.elem_type, rng) for _ in range(2)]
    if which == "optional_type":
        return _plain(kind.optional_type.elem_type, rng)
    if which != "tensor_type":
        raise FeedError(f"an input of type {which}")
    tensor = kind.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else 2 for dim in tensor.shape.dim]
    if not tensor.HasField("shape"):
        shape = [2]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    small = np.ones(shape, np.int64) if rng is None else rng.integers(0, 3, shape)
    if dtype.hasobject:
        return np.array([f"w{number}" for number in np.ravel(small)], object).reshape(shape)
    return np.asarray(small).astype(dtype)


def _counting(kind: TypeProto) -> Any:
    ones = _plain(kind, None)
    if not isinstance(ones, np.ndarray) or ones.dtype.kind not in "iu":
        return ones
    return np.arange(2, ones.size + 2).reshape(ones.shape).astype(ones.dtype)


def overriding(model: ModelProto, feed: Feeds) -> Feeds | None:
    """Return ``feed`` with other values for the inputs that have a default; None where there is none."""
    if model.ir_version < 4:
        return None
    defaults = {tensor.name: tensor for tensor in model.graph.initializer}
    more = {}
    for info in model.graph.input:
        if info.name in defaults and info.name not in feed:
            array = numpy_helper.to_array(defaults[info.name])
            if array.dtype.kind == "f":
                more[info.name] = np.asarray(array * 1.5 + 0.25).astype(array.dtype)
    return {**feed, **more} if more else None
