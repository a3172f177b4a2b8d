"""Shapes of onnxruntime's own operators: what the rules say is what onnxruntime makes, or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import graph_of

from graphtool.graph import Graph
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.feed import draw
from graphtool.parity.session import Session

HEAD = '<ir_version: 8, opset_import: ["": 16, "com.microsoft": 1]>'
# images, sequences of width 8, matrices, the same quantized; N and S are free
INPUTS = """float[N,4,6,8] i, float[N,S,8] s, float[N,3] m, uint8[N,4,6,8] qi, uint8[N,S,8] qs, int8[N,3] qm,
    int32[N,S] ids, uint8[3,5] w35, uint8[8,5] w85, int8[3,5] j35, float[8] g, float[8,24] qkv, float[24] bias,
    uint8[8,24] wqkv, float[20,8] words, float[3,5] f35, float[5,3] f53, float[8,4] f84, uint8[6,4,3,3] k,
    uint8[2,8,8] lw, uint8[2,2,8] lr, float[2] lf, float[2] rf, uint8[1,8,8] mw, uint8[1,2,8] mr, float[1] mf,
    float[6,4,3,3] fk, uint8[1,4,1,1] one, uint8[6,1,8] wide, float[N,S,2,2,4] packed"""
WEIGHTS = (
    "float f = {0.5}, uint8 o = {3}, int8 j = {1}, int32[6] kb = {1,2,3,4,5,6}, uint8[2] lz = {0,0}, uint8[1] mz = {0}"
)


def graph(statements: str) -> Graph:
    text = statements.replace("ms.", "com.microsoft.")
    return graph_of(f"{HEAD} g ({INPUTS}) => (y) <{WEIGHTS}> {{ {text} }}")


@pytest.mark.parametrize(
    ("statements", "shape"),
    [
        ("y = ms.Gelu(s)", ("N", "S", 8)),
        ("y = ms.BiasGelu(s, g)", ("N", "S", 8)),
        ("y = ms.SkipLayerNormalization(s, s, g, g, g)", ("N", "S", 8)),
        ("v, , , y = ms.SkipLayerNormalization(s, s, g, g, g)", ("N", "S", 8)),
        ("v, , , y = ms.SkipSimplifiedLayerNormalization(s, s, g)", ("N", "S", 8)),
        ("y = LayerNormalization(s, g, g)", ("N", "S", 8)),
        ("y = ms.QuantizeLinear(i, f, j)", ("N", 4, 6, 8)),
        ("y = ms.DequantizeLinear(qi, f, o)", ("N", 4, 6, 8)),
        ("y = ms.QLinearAdd(qi, f, o, one, f, o, f, o)", ("N", 4, 6, 8)),
        ("y = ms.QLinearMul(one, f, o, qi, f, o, f, o)", ("N", 4, 6, 8)),
        ("y = ms.QLinearAdd(qs, f, o, wide, f, o, f, o)", (6, "S", 8)),
        ("y = ms.QLinearSigmoid(qi, f, o, f, o)", ("N", 4, 6, 8)),
        ("y = ms.QLinearLeakyRelu(qi, f, o, f, o)", ("N", 4, 6, 8)),
        ("y = ms.QLinearSoftmax<axis = -1, opset = 13>(qi, f, o, f, o)", ("N", 4, 6, 8)),
        ("y = ms.QLinearConcat<axis = 1>(f, o, qi, f, o, qi, f, o)", ("N", 8, 6, 8)),
        ("y = ms.QLinearConcat<axis = -1>(f, o, qi, f, o, qi, f, o, qi, f, o)", ("N", 4, 6, 24)),
        ("y = ms.QLinearAveragePool<kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,0]>(qi, f, o, f, o)",
         ("N", 4, 3, 4)),
        ("y = ms.QLinearAveragePool<kernel_shape = [3], channels_last = 1>(qs, f, o, f, o)", ("N", "?(S+-2)", 8)),
        ("y = ms.QLinearGlobalAveragePool(qi, f, o, f, o)", ("N", 4, 1, 1)),
        ("y = ms.QLinearGlobalAveragePool<channels_last = 1>(qi, f, o, f, o)", ("N", 1, 1, 8)),
        ("y = ms.FusedMatMul(m, f35)", ("N", 5)),
        ("y = ms.FusedMatMul<transB = 1>(m, f53)", ("N", 5)),
        ("y = ms.FusedMatMul<transA = 1>(f35, f35)", (5, 5)),
        ("y = ms.FusedMatMul(s, f84)", ("N", "S", 4)),
        ("y = ms.FusedGemm<transB = 1, activation = \"Relu\">(m, f53)", ("N", 5)),
        ("y = ms.QGemm(qm, f, j, j35, f, j)", ("N", 5)),
        ("y = ms.QGemm<transA = 1>(w35, f, o, w35, f, o, , f, o)", (5, 5)),
        ("y = ms.MatMulIntegerToFloat(qs, w85, f, f)", ("N", "S", 5)),
        ("y = ms.DynamicQuantizeMatMul(s, w85, f)", ("N", "S", 5)),
        ("y = ms.FusedConv<activation = \"Relu\", pads = [1,1,1,1]>(i, fk)", ("N", 6, 6, 8)),
        ("y = ms.FusedConv<auto_pad = \"SAME_UPPER\", strides = [4,4]>(i, fk)", ("N", 6, 2, 2)),
        ("y = QLinearConv<strides = [2,2]>(qi, f, o, k, f, o, f, o, kb)", ("N", 6, 2, 3)),
        ("y = ConvInteger(qi, k)", ("N", 6, 4, 6)),
        ("y = ms.Attention<num_heads = 2>(s, qkv, bias)", ("N", "S", 8)),
        ("y = ms.Attention<num_heads = 2, qkv_hidden_sizes = [6,6,12]>(s, qkv, bias)", ("N", "S", 12)),
        ("y = ms.QAttention<num_heads = 2>(qs, wqkv, bias, f, f, , o, o)", ("N", "S", 8)),
        ("y = ms.MultiHeadAttention<num_heads = 2>(s, s, s)", ("N", "S", 8)),
        ("y = ms.DynamicQuantizeLSTM<direction = \"bidirectional\", hidden_size = 2>"
         "(s, lw, lr, , , , , , lf, lz, rf, lz)",
         ("N", 2, "S", 2)),
        (", y = ms.DynamicQuantizeLSTM<hidden_size = 2>(s, mw, mr, , , , , , mf, mz, mf, mz)", (1, "S", 2)),
        ("y, v = ms.EmbedLayerNormalization(ids, , words, words, , g, g)", ("N", "S", 8)),
    ],
)  # fmt: skip
def test_shape_is_the_runtimes(statements: str, shape: tuple[object, ...]) -> None:
    model = graph(statements)
    fact = model.facts.fact("y")
    assert fact.shape == shape
    feed = draw(model, shapes={"s": (6, 5, 8)}).arrays
    made = Session(model, ["y"], threads=1).run(feed)["y"]
    assert isinstance(made, np.ndarray)
    batch, length = feed["s"].shape[:2]
    known = {"N": batch, "S": length, "?(S+-2)": length - 2}
    assert made.shape == tuple(known.get(size, size) for size in shape)
    assert made.dtype == numpy_dtype(fact.dtype)


@pytest.mark.parametrize(
    "statements",
    [
        "y = ms.FusedMatMul<transBatchA = 1>(s, f84)",
        "y = ms.FusedMatMul(g, f84)",
        "y = ms.FusedConv<channels_last = 1>(i, fk)",
        "y = ms.QLinearAveragePool<kernel_shape = [3,3], ceil_mode = 1>(qi, f, o, f, o)",
        "y = ms.MultiHeadAttention<num_heads = 2>(s, packed)",
        "y = ms.GroupQueryAttention<num_heads = 2, kv_num_heads = 1>(s)",
        "y = ms.NoSuchOperator(s)",
    ],
)
def test_nothing_is_said_of_other_forms(statements: str) -> None:
    assert graph(statements).facts.fact("y").shape is None
