"""Large models for benchmarks, the same bytes on every machine: convolutions, transformer layers, and a mess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Nodes and weights of a model under way."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return its output."""
        place = len(self.nodes)
        self.nodes.append(helper.make_node(op, inputs, [f"t{place}"], f"{op}_{place}", **attributes))
        return f"t{place}"

    def weight(self, *shape: int, positive: bool = False) -> str:
        """Add a random weight and return its name."""
        array = self.rng.standard_normal(shape).astype(np.float32) * np.float32(0.1)
        return self.constant(np.abs(array) + np.float32(0.5) if positive else array)

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, getattr(value, "dtype", dtype)), name))
        return name

    def model(self, shape: Sequence[int | str], output: str) -> onnx.ModelProto:
        """Return the model, from an input ``x`` to an output ``y`` of the same shape."""
        self.nodes.append(helper.make_node("Relu", [output], ["y"], "last"))
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in ("x", "y")]
        graph = helper.make_graph(self.nodes, "g", values[:1], values[1:], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def convolutional(nodes: int) -> onnx.ModelProto:
    """Residual blocks: Conv, BatchNormalization, Relu, Identity, Add."""
    b, x = Builder(), "x"
    while len(b.nodes) < nodes:
        c = b("Conv", x, b.weight(8, 8, 3, 3), pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        c = b("BatchNormalization", c, b.weight(8), b.weight(8), b.weight(8), b.weight(8, positive=True))
        x = b("Add", b("Identity", b("Relu", c)), x)
    return b.model([1, 8, 8, 8], x)


def transformer(nodes: int) -> onnx.ModelProto:
    """Encoder layers as exporters write them: normalisation and GELU in pieces, shapes computed from an open batch."""
    b, x = Builder(), "x"
    width, heads, tokens = 16, 4, 6

    def shaped(value: str, *rest: int) -> str:
        batch = b("Gather", b("Shape", value), b.constant(0, np.int64), axis=0)
        batch = b("Unsqueeze", batch, b.constant([0], np.int64))
        return b("Reshape", value, b("Concat", batch, b.constant(list(rest), np.int64), axis=0))

    def norm(value: str) -> str:
        centred = b("Sub", value, b("ReduceMean", value, axes=[-1]))
        variance = b("ReduceMean", b("Pow", centred, b.constant(2.0)), axes=[-1])
        scaled = b("Div", centred, b("Sqrt", b("Add", variance, b.constant(1e-5))))
        return b("Add", b("Mul", scaled, b.weight(width)), b.weight(width))

    def linear(value: str, before: int, after: int) -> str:
        return b("Add", b("MatMul", value, b.weight(before, after)), b.weight(after))

    def gelu(value: str) -> str:
        grown = b("Add", b("Erf", b("Div", value, b.constant(2**0.5))), b.constant(1.0))
        return b("Mul", b("Mul", value, grown), b.constant(0.5))

    def split(value: str, *perm: int) -> str:
        return b("Transpose", shaped(linear(value, width, width), tokens, heads, width // heads), perm=perm)

    while len(b.nodes) < nodes:
        n = norm(x)
        q, k, v = split(n, 0, 2, 1, 3), split(n, 0, 2, 3, 1), split(n, 0, 2, 1, 3)
        scores = b("Softmax", b("Div", b("MatMul", q, k), b.constant(2.0)), axis=-1)
        mixed = shaped(b("Transpose", b("MatMul", scores, v), perm=[0, 2, 1, 3]), tokens, width)
        x = b("Add", x, linear(mixed, width, width))
        x = b("Add", x, linear(gelu(linear(norm(x), width, 2 * width)), 2 * width, width))
    return b.model(["N", tokens, width], x)


def messy(nodes: int) -> onnx.ModelProto:
    """What careless exporters leave behind: no-ops, constant expressions, duplicates, static shape arithmetic."""
    b, x = Builder(), "x"
    while len(b.nodes) < nodes:
        x = b("Dropout", b("Identity", x))
        k = b("Mul", b("Add", b.weight(4, 6), b.weight(4, 6)), b.constant(0.5))
        x = b("Add", x, b("Cast", b("Cast", k, to=TensorProto.DOUBLE), to=TensorProto.FLOAT))
        left, right = b("Tanh", x), b("Tanh", x)
        x = b("Mul", left, b("Neg", right))
        size = b("Gather", b("Shape", x), b.constant([0], np.int64), axis=0)
        size = b("Cast", b("Cast", size, to=TensorProto.INT32), to=TensorProto.INT64)
        flat = b("Reshape", x, b("Concat", size, b.constant([2, 3], np.int64), axis=0))
        x = b("Reshape", flat, b.constant([4, -1], np.int64))
        x = b("Transpose", b("Transpose", x, perm=[1, 0]), perm=[1, 0])
        axis = b.constant([1], np.int64)
        x = b("Squeeze", b("Unsqueeze", x, axis), axis)
        x = b("Mul", b("Cast", x, to=TensorProto.FLOAT), b.constant(1.0))
    return b.model([4, 6], x)


def gated(nodes: int) -> onnx.ModelProto:
    """For rewriters: Sigmoid(x) times something else than x, so that ``Mul(Sigmoid(x), x)`` never matches."""
    b, x = Builder(), "x"
    while len(b.nodes) < nodes:
        gate = b("Sigmoid", x)
        x = b("Add", b("Mul", gate, b("Tanh", x)), x)
    return b.model([4, 6], x)


def turned(nodes: int) -> onnx.ModelProto:
    """For rewriters: every second pair of nodes is two Transposes that cancel: 5,000 pairs in 20,000 nodes."""
    b, x = Builder(), "x"
    while len(b.nodes) < nodes:
        x = b("Transpose", b("Transpose", x, perm=[1, 0]), perm=[1, 0])
        x = b("Neg", b("Tanh", x))
    return b.model([4, 6], x)


MODELS: dict[str, Callable[[int], onnx.ModelProto]] = {
    "convolutional": convolutional,
    "transformer": transformer,
    "messy": messy,
    "gated": gated,
    "turned": turned,
}


def write(kind: str, nodes: int, path: Path) -> None:
    """Write a model of about ``nodes`` nodes."""
    onnx.save(MODELS[kind](nodes), path)
