"""Elementwise operators, products, normalizations and reductions in float64, from the ONNX operator specification.

Every form takes the inputs of a node (None where an optional one is absent), its attributes by name and the opset,
and returns the first output. Floating-point inputs have been lifted to float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Inputs = list[Array | None]
Attributes = dict[str, Any]
Form = Callable[[Inputs, Attributes, int], Array]

# attributes are float32, and so are their defaults
_EPSILON = float(np.float32(1e-5))
_LEAK = float(np.float32(0.01))


class NoTruth(Exception):  # noqa: N818  (a finding, not a fault)
    """The nodes have no float64 form here; the text names the operator."""


def given(inputs: Inputs, place: int) -> Array:
    """Return an input that must be there."""
    found = optional(inputs, place)
    if found is None:
        raise NoTruth(f"input {place} is absent")
    return found


def optional(inputs: Inputs, place: int) -> Array | None:
    """Return an input, None where it is absent."""
    return inputs[place] if place < len(inputs) else None


def word(attributes: Attributes, name: str, default: str) -> str:
    """Return a string attribute; onnx keeps them as bytes."""
    found = attributes.get(name, default)
    return found.decode() if isinstance(found, bytes) else str(found)


def _unary(function: Callable[[Array], Array]) -> Form:
    return lambda inputs, attributes, opset: function(given(inputs, 0))


def _binary(function: Callable[[Array, Array], Array]) -> Form:
    def form(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
        if opset < 7:
            raise NoTruth("the broadcasting of opset 6 and earlier")
        return function(given(inputs, 0), given(inputs, 1))

    return form


def _sum(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    total = given(inputs, 0)
    for place in range(1, len(inputs)):
        total = total + given(inputs, place)
    return total


def _sigmoid(x: Array) -> Array:
    # exp overflows to infinity for x below -709, and 1 / infinity is the right answer
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


def erf(x: Array) -> Floats:
    """Return the error function, as good as the C library's."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float64)


def _clip(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    low, high = optional(inputs, 1), optional(inputs, 2)
    if opset < 11:
        low, high = attributes.get("min"), attributes.get("max")
    x = given(inputs, 0)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)  # min last: where min > max the specification says max


def _gelu(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    x = given(inputs, 0)
    if word(attributes, "approximate", "none") == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return np.asarray(0.5 * x * (1 + np.tanh(inner)))
    return np.asarray(0.5 * x * (1 + erf(x / math.sqrt(2))))


def _leaky_relu(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    x = given(inputs, 0)
    return np.where(x < 0, x * attributes.get("alpha", _LEAK), x)


def _softmax(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    return np.asarray(np.exp(_log_softmax(inputs, attributes, opset)))


def _log_softmax(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    x = given(inputs, 0)
    axis = int(attributes.get("axis", -1 if opset >= 13 else 1))
    # before opset 13 the input is a matrix: the axes from `axis` on are one
    flat = x if opset >= 13 else x.reshape(math.prod(x.shape[:axis]), -1)
    axis = axis if opset >= 13 else 1
    centred = flat - flat.max(axis=axis, keepdims=True)
    return np.asarray((centred - np.log(np.exp(centred).sum(axis=axis, keepdims=True))).reshape(x.shape))


def _gemm(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    a, b, c = given(inputs, 0), given(inputs, 1), optional(inputs, 2)
    a = a.T if attributes.get("transA") else a
    b = b.T if attributes.get("transB") else b
    y = attributes.get("alpha", 1.0) * np.matmul(a, b)
    return np.asarray(y if c is None else y + attributes.get("beta", 1.0) * c)


def _batch_normalization(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    if opset < 7 or attributes.get("training_mode") or not attributes.get("spatial", 1):
        raise NoTruth("BatchNormalization in training, not spatial, or before opset 7")
    x = given(inputs, 0)
    scale, bias, mean, variance = (given(inputs, i).reshape(-1, *[1] * (x.ndim - 2)) for i in range(1, 5))
    return np.asarray((x - mean) / np.sqrt(variance + attributes.get("epsilon", _EPSILON)) * scale + bias)


def _layer_normalization(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    x, bias = given(inputs, 0), optional(inputs, 2)
    axes = tuple(range(int(attributes.get("axis", -1)) % x.ndim, x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=axes, keepdims=True) + attributes.get("epsilon", _EPSILON))
    y = centred / deviation * given(inputs, 1)
    return np.asarray(y if bias is None else y + bias)


def reduced_axes(inputs: Inputs, attributes: Attributes, rank: int) -> tuple[int, ...]:
    """Return the axes that a Reduce operator reduces: an attribute or an input, by default all."""
    axes = optional(inputs, 1)
    listed = attributes.get("axes", []) if axes is None else axes.tolist()
    if not listed:
        return () if attributes.get("noop_with_empty_axes") else tuple(range(rank))
    return tuple(int(axis) % rank for axis in listed)


def _reduce(function: Callable[..., Any]) -> Form:
    def form(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
        x = given(inputs, 0)
        axes = reduced_axes(inputs, attributes, x.ndim)
        return np.asarray(function(x, axis=axes, keepdims=bool(attributes.get("keepdims", 1))))

    return form


def _pad(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
    x, axes = given(inputs, 0), optional(inputs, 3)
    value = optional(inputs, 2) if opset >= 11 else attributes.get("value", 0.0)
    pads = [int(p) for p in (given(inputs, 1) if opset >= 11 else attributes["pads"])]
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(range(x.ndim) if axes is None else axes):
        widths[int(axis)] = pads[place], pads[place + len(pads) // 2]
    # a negative padding cuts
    x = x[tuple(slice(max(0, -low), n - max(0, -high)) for n, (low, high) in zip(x.shape, widths, strict=True))]
    widths = [(max(0, low), max(0, high)) for low, high in widths]
    mode = word(attributes, "mode", "constant")
    if mode == "constant":
        return np.pad(x, widths, constant_values=0.0 if value is None else float(np.asarray(value).reshape(-1)[0]))
    if mode not in ("edge", "reflect", "wrap"):
        raise NoTruth(f"Pad with mode {mode}")
    return np.pad(x, widths, mode=mode)  # type: ignore[call-overload,no-any-return]


def _global(function: Callable[..., Any]) -> Form:
    def form(inputs: Inputs, attributes: Attributes, opset: int) -> Array:
        x = given(inputs, 0)
        return np.asarray(function(x, axis=tuple(range(2, x.ndim)), keepdims=True))

    return form


# one input, one output of its shape, every element on its own
UNARY: dict[str, Form] = {
    "Abs": _unary(np.abs),
    "Clip": _clip,
    "Erf": _unary(erf),
    "Exp": _unary(np.exp),
    "Gelu": _gelu,
    "Identity": _unary(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Log": _unary(np.log),
    "Neg": _unary(np.negative),
    "Reciprocal": _unary(lambda x: np.asarray(1 / x)),
    "Relu": _unary(lambda x: np.maximum(x, 0)),
    "Sigmoid": _unary(_sigmoid),
    "Sqrt": _unary(np.sqrt),
    "Tanh": _unary(np.tanh),
}

# inputs that broadcast against each other, every element on its own
BROADCAST: dict[str, Form] = {
    "Add": _binary(np.add),
    "Div": _binary(np.divide),
    "Mul": _binary(np.multiply),
    "Pow": _binary(np.power),
    "Sub": _binary(np.subtract),
    "Sum": _sum,
}

REDUCE: dict[str, Form] = {
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceSum": _reduce(np.sum),
}

GLOBAL_POOL: dict[str, Form] = {"GlobalAveragePool": _global(np.mean), "GlobalMaxPool": _global(np.max)}

OTHER: dict[str, Form] = {
    "BatchNormalization": _batch_normalization,
    "Gemm": _gemm,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _log_softmax,
    "MatMul": _binary(np.matmul),
    "Pad": _pad,
    "Softmax": _softmax,
}
