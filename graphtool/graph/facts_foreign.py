"""Shapes of onnxruntime's own operators, in the domain ``com.microsoft``: quantized, fused and attention.

onnx has no schemas of them, so nothing would be known behind them. What a rule says of each is in onnxruntime's
docs/ContribOperators.md, and tests run it against onnxruntime. An output of which a rule says nothing is NOTHING.
"""

from __future__ import annotations

from collections.abc import Callable

from onnx import TensorProto

from graphtool.graph.facts_call import NOTHING, Call, Fact, Sizes, Unknown, axes_in, axis_in
from graphtool.graph.facts_rules import broadcast, like_first
from graphtool.graph.facts_symbols import Size, Symbols
from graphtool.graph.facts_windows import kernel_of, windows

Rule = Callable[[Call], list[Fact]]
_FLOAT, _UINT8, _INT32 = int(TensorProto.FLOAT), int(TensorProto.UINT8), int(TensorProto.INT32)


def _first(call: Call, dtype: int, shape: Sizes) -> list[Fact]:
    return [Fact(dtype, shape), *[NOTHING] * (len(call.node.output) - 1)]


def _ranked(call: Call, place: int, rank: int) -> Sizes:
    """Return the shape of an input that must have so many axes; raises Unknown."""
    shape = call.shape(place)
    if len(shape) != rank:
        raise Unknown
    return shape


def _typed(place: int, other: int = 0) -> Callable[[Call], int]:
    """Return a function for the element type of an input, ``other`` where that is absent."""
    return lambda call: call.dtype(place) if call.has(place) else other


# -- element by element


def _skip_norm(call: Call) -> list[Fact]:
    """SkipLayerNormalization: the fourth output is the sum that is normalized."""
    facts = like_first(call)
    return facts[:3] + [facts[0]] * len(facts[3:])


def _like(dtype: Callable[[Call], int]) -> Rule:
    return lambda call: _first(call, dtype(call), call.shape())


def _both(a: int, b: int) -> Rule:
    """Return a rule for an operator that broadcasts two of its inputs."""
    return lambda call: _first(call, call.dtype(a), broadcast(call.symbols, call.shape(a), call.shape(b)))


def _where(call: Call) -> list[Fact]:
    chosen = broadcast(call.symbols, call.shape(1), call.shape(4))
    return _first(call, call.dtype(1), broadcast(call.symbols, call.shape(0), chosen))


# -- matrices


def _product(symbols: Symbols, a: Sizes, b: Sizes) -> Sizes:
    """Return the shape of numpy's matmul; raises Unknown for vectors, which no operator here is used on."""
    if len(a) < 2 or len(b) < 2:
        raise Unknown
    return (*broadcast(symbols, a[:-2], b[:-2]), a[-2], b[-1])


def _matmul(a: int, b: int, dtype: Callable[[Call], int]) -> Rule:
    return lambda call: _first(call, dtype(call), _product(call.symbols, call.shape(a), call.shape(b)))


def _turned(call: Call, place: int, attribute: str) -> Sizes:
    shape = call.shape(place)
    if not call.attr(attribute, 0):
        return shape
    if len(shape) < 2:
        raise Unknown
    return (*shape[:-2], shape[-1], shape[-2])


def _fused_matmul(call: Call) -> list[Fact]:
    if call.attr("transBatchA", 0) or call.attr("transBatchB", 0):
        raise Unknown
    left, right = _turned(call, 0, "transA"), _turned(call, 1, "transB")
    return _first(call, call.dtype(), _product(call.symbols, left, right))


def _gemm(b: int, dtype: Callable[[Call], int]) -> Rule:
    def rule(call: Call) -> list[Fact]:
        left, right = _turned(call, 0, "transA"), _turned(call, b, "transB")
        if len(left) != 2 or len(right) != 2:
            raise Unknown
        return _first(call, dtype(call), (left[0], right[1]))

    return rule


def _packed_matmul(call: Call) -> list[Fact]:
    """MatMulNBits and MatMulBnb4: a matrix of K rows and N columns, packed."""
    shape, columns = call.shape(), call.attr("N")
    if len(shape) < 2 or columns is None or not call.attr("transB", 1):
        raise Unknown
    return _first(call, call.dtype(), (*shape[:-1], columns))


# -- images


def _conv(weight: int, dtype: Callable[[Call], int]) -> Rule:
    def rule(call: Call) -> list[Fact]:
        shape, kernel = call.shape(), call.shape(weight)
        if call.attr("channels_last", 0) or len(shape) != len(kernel) or len(shape) < 3:
            raise Unknown
        sizes = windows(call, shape[2:], kernel_of(call, kernel[2:]))
        return _first(call, dtype(call), (shape[0], kernel[0], *sizes))

    return rule


def _images(call: Call) -> tuple[Size, Size, Sizes]:
    """Return how many images, how many channels, and the sizes of each."""
    shape = call.shape()
    if len(shape) < 3:
        raise Unknown
    last = bool(call.attr("channels_last", 0))
    return shape[0], shape[-1] if last else shape[1], shape[1:-1] if last else shape[2:]


def _pooled(call: Call, images: Size, channels: Size, sizes: Sizes) -> list[Fact]:
    last = bool(call.attr("channels_last", 0))
    return _first(call, call.dtype(), (images, *sizes, channels) if last else (images, channels, *sizes))


def _average_pool(call: Call) -> list[Fact]:
    images, channels, sizes = _images(call)
    kernel = call.attr("kernel_shape")
    if kernel is None or call.attr("ceil_mode", 0):
        raise Unknown
    return _pooled(call, images, channels, windows(call, sizes, kernel))


def _global_pool(call: Call) -> list[Fact]:
    images, channels, sizes = _images(call)
    return _pooled(call, images, channels, (1,) * len(sizes))


def _reduce_mean(call: Call) -> list[Fact]:
    shape = call.shape()
    axes = call.attr("axes")
    gone = axes_in(axes, len(shape)) if axes else list(range(len(shape)))
    if call.attr("keepdims", 1):
        return _first(call, call.dtype(), tuple(1 if axis in gone else size for axis, size in enumerate(shape)))
    return _first(call, call.dtype(), tuple(size for axis, size in enumerate(shape) if axis not in gone))


def _concat(call: Call) -> list[Fact]:
    """QLinearConcat: scale and zero point of the result, then tensor, scale and zero point of each part."""
    shapes = [call.shape(place) for place in range(2, len(call.node.input), 3)]
    axis = axis_in(call.attr("axis"), len(shapes[0]))
    sizes: list[Size] = []
    for at, column in enumerate(zip(*shapes, strict=True)):
        total: Size = 0 if at == axis else next((size for size in column if isinstance(size, int)), column[0])
        for size in column if at == axis else ():
            total = call.symbols.add(total, size)
        sizes.append(total)
    return _first(call, call.dtype(2), tuple(sizes))


# -- transformers


def _attention(dtype: Callable[[Call], int]) -> Rule:
    def rule(call: Call) -> list[Fact]:
        images, places, _ = _ranked(call, 0, 3)
        widths = call.attr("qkv_hidden_sizes")
        width = widths[2] if widths else call.symbols.exact_quotient(_ranked(call, 1, 2)[1], 3)
        return _first(call, dtype(call), (images, places, width))

    return rule


def _many_heads(call: Call) -> list[Fact]:
    """MultiHeadAttention, of values that are not packed with the keys."""
    images, places, _ = _ranked(call, 0, 3)
    value = call.shape(2)
    if len(value) == 3:
        return _first(call, call.dtype(), (images, places, value[2]))
    if len(value) != 4:
        raise Unknown
    return _first(call, call.dtype(), (images, places, call.symbols.mul(value[1], value[3])))


def _grouped_heads(call: Call) -> list[Fact]:
    """GroupQueryAttention, of queries that are not packed with keys and values."""
    if not call.has(1):
        raise Unknown
    return _first(call, call.dtype(), _ranked(call, 0, 3))


def _embedding(call: Call) -> list[Fact]:
    """EmbedLayerNormalization: the embeddings normalized, the lengths of the sequences, the embeddings."""
    made = Fact(call.dtype(2), (*_ranked(call, 0, 2), _ranked(call, 2, 2)[1]))
    return [made, NOTHING, made][: len(call.node.output)]


# -- recurrent layers


def _lstm(call: Call) -> list[Fact]:
    """DynamicQuantizeLSTM: each step, the last state, the last cell."""
    steps, batch, _ = _ranked(call, 0, 3)
    width = call.attr("hidden_size")
    ways = 2 if call.attr("direction", b"forward") == b"bidirectional" else 1
    state = Fact(call.dtype(), (ways, batch, width))
    return [Fact(call.dtype(), (steps, ways, batch, width)), state, state][: len(call.node.output)]


_same = like_first
RULES: dict[tuple[str, str], Rule] = {
    ("com.microsoft", op): rule
    for op, rule in {
        **dict.fromkeys("BiasAdd BiasDropout BiasGelu BiasSoftmax FastGelu Gelu GroupNorm Inverse".split(), _same),
        **dict.fromkeys("LongformerAttention QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QuickGelu".split(), _same),
        **dict.fromkeys(("RotaryEmbedding", "SkipGroupNorm", "Trilu"), _same),
        **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _skip_norm),
        "QuantizeLinear": _like(_typed(2, _UINT8)), "DequantizeLinear": _like(_typed(1)),
        "QLinearAdd": _both(0, 3), "QLinearMul": _both(0, 3), "QLinearWhere": _where, "QLinearConcat": _concat,
        "FusedMatMul": _fused_matmul, "TransposeMatMul": _fused_matmul, "FusedGemm": _gemm(1, _typed(0)),
        "QGemm": _gemm(3, lambda call: call.dtype(8) if call.has(8) else _UINT8 if call.has(7) else _FLOAT),
        "MatMulIntegerToFloat": _matmul(0, 1, _typed(2)), "DynamicQuantizeMatMul": _matmul(0, 1, _typed(0)),
        "MatMulInteger16": _matmul(0, 1, lambda _: _INT32),
        **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), _packed_matmul),
        "FusedConv": _conv(1, _typed(0)), "QLinearConv": _conv(3, _typed(7)),
        "QLinearAveragePool": _average_pool, "QLinearGlobalAveragePool": _global_pool,
        "QLinearReduceMean": _reduce_mean,
        "Attention": _attention(_typed(0)), "QAttention": _attention(_typed(3)), "MultiHeadAttention": _many_heads,
        "DynamicQuantizeLSTM": _lstm, "GroupQueryAttention": _grouped_heads, "EmbedLayerNormalization": _embedding,
    }.items()
}  # fmt: skip
