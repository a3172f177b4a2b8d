"""What ``optimize`` must not fall for: models on which a likely simplification is wrong, judged from outside.

``test_traps.py`` holds every pass to the traps that other tools were seen to fall for. Here are the next ones: those
that a clean-up pipeline sets for itself by folding, merging, dropping and inlining. The result is saved, loaded by
plain onnx and onnxruntime, and compared with the original: numbers, interface, operators, documentation, size.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from optimizing import Trap, baseline, held, judge, optimized, text, weight

from graphtool.errors import GraphtoolError


def ones(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


ONE = "g (float[9] x) => (float[9] y) "
BN = "<float[4,3,3,3] w, float[4] s, float[4] b, float[4] m, float[4] v = {1, 2, 3, 4}>"
CONV = "g (float[1,3,6,6] x) => (float[1,4,4,4] y) "

NUMBERS = {
    "zero times anything": text(ONE + "<float z = {0}> { y = Mul(x, z) }", special=True),
    "a value minus itself": text(ONE + "{ y = Sub(x, x) }", special=True),
    "a value over itself": text(ONE + "{ y = Div(x, x) }", special=True),
    "zero over a value": text(ONE + "<float z = {0}> { y = Div(z, x) }", special=True),
    "a value equals itself": text("g (float[9] x) => (bool[9] y) { y = Equal(x, x) }", special=True),
    "not less is not greater or equal": text(
        "g (float[9] x, float[9] z) => (bool[9] y) { l = Less(x, z) y = Not(l) }",
        {"z": np.full(9, np.nan, np.float32)}, special=True),
    "Relu and Max of NaN": text(ONE + "{ a = Relu(x) b = Relu(a) c = Max(b, b) y = Min(c) }", special=True),
    "a zero power": text(ONE + "<float z = {0}> { y = Pow(x, z) }", special=True),
    "Sign and Abs chains": text(ONE + "{ a = Sign(x) b = Sign(a) c = Abs(b) y = Abs(c) }", special=True),
    "Ceil of a half": text(ONE + "{ a = Ceil(x) b = Floor(a) c = Round(b) y = Ceil(c) }", special=True),
    "bounds that cross": text(ONE + "<float a = {0}, float b = {1}, float c = {2}, float d = {3}> "
        "{ t = Clip(x, a, b) u = Clip(t, c, d) v = Clip(u, d, a) y = Relu(v) }", special=True),
    "Relu below a negative bound": text(
        ONE + "<float a = {-3}, float b = {-1}> { t = Clip(x, a, b) y = Relu(t) }", special=True),
    "Clip under Relu": text(ONE + "<float a = {-3}, float b = {2}> { t = Relu(x) y = Clip(t, a, b) }", special=True),
    "Clip by attributes, then Relu": text(ONE + "{ t = Clip<min=-2.0, max=0.5>(x) y = Relu(t) }", opset=10),
    "a large number added and taken away": text(
        ONE + "<float a = {100000000}, float b = {-100000000}> { t = Add(x, a) y = Add(t, b) }"),
    "factors that overflow on the way": text(
        ONE + "<float a = {1e30}, float b = {1e-30}> { t = Mul(x, a) y = Mul(t, b) }",
        {"x": np.full(9, 1e10, np.float32)}),
    "factors that vanish on the way": text(
        ONE + "<float a = {1e-30}, float b = {1e30}> { t = Mul(x, a) y = Mul(t, b) }",
        {"x": np.full(9, 1e-20, np.float32)}),
    "integers divided and multiplied": text(
        "g (int64[9] x) => (int64[9] y) <int64 k = {2}> { t = Div(x, k) y = Mul(t, k) }"),
    "integers that wrap": text(
        "g (uint8[4] x) => (uint8[4] y) <uint8 a = {200}, uint8 b = {100}> { c = Add(a, b) y = Add(x, c) }"),
    "integers beyond 2^53": text(
        "g (int64[1] x) => (int64[1] y) <int64 a = {9007199254740993}, int64 b = {1}> { c = Mul(a, b) y = Add(x, c) }"),
    "unsigned beyond 2^63": text(
        "g (uint64[1] x) => (uint64[1] y) <uint64 a = {9223372036854775809}, uint64 b = {1}> "
        "{ c = Add(a, b) y = Add(x, c) }"),
    "casts that lose": text(
        "g (float[9] x, double[9] d, int64[9] i) => (float[9] a, double[9] b, int64[9] c, float[9] e) "
        "{ p = Cast<to=7>(x) a = Cast<to=1>(p) q = Cast<to=1>(d) b = Cast<to=11>(q) "
        "r = Cast<to=1>(i) c = Cast<to=7>(r) s = Cast<to=9>(x) e = Cast<to=1>(s) }",
        {"d": np.linspace(0.1, 0.9, 9), "i": np.array([16777217] * 9)}),
    "quantized and back": text(
        ONE + "<float s = {0.5}, uint8 z = {128}> { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"),
    "dequantized and back with another scale": text(
        "g (uint8[9] x) => (uint8[9] y) <float s = {0.5}, float t = {0.25}, uint8 z = {128}> "
        "{ f = DequantizeLinear(x, s, z) y = QuantizeLinear(f, t, z) }"),
    "weights of minus zero and zero": text(
        ONE + "<float a = {0}, float b = {-0.0}> { p = Div(x, a) q = Div(x, b) y = Sub(p, q) }"),
    "Softmax and its Log": text(
        "g (float[2,3,4] x) => (float[2,3,4] y, float[2,3,4] s) { s = Softmax<axis=1>(x) y = Log(s) }"),
    "Log of Softmax over all but the first axis": text(
        "g (float[2,3,4] x) => (float[2,3,4] y) { s = Softmax(x) y = Log(s) }", opset=11),
}  # fmt: skip

SHAPES = {
    "a factor 1 that stretches": text(
        "g (float[1,3] x) => (float[2,3] y) <float[2,3] k = {1,1,1,1,1,1}> { y = Mul(x, k) }"),
    "a zero that adds axes": text("g (float[3] x) => (float[1,1,3] y) <float[1,1,1] k = {0}> { y = Add(x, k) }"),
    "a factor 1 that makes a scalar a vector": text("g (float x) => (float[1] y) <float[1] k = {1}> { y = Mul(x, k) }"),
    "an open size under a factor 1": text(
        "g (float[N] x) => (float[M] y) <float[2] k = {1,1}> { y = Mul(x, k) }",
        {"x": ones(1)}, edit=lambda p: p.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")),
    "Where with a true condition that stretches": text(
        "g (float[3] x, float[1] z) => (float[2,3] y) <bool[2,1] c = {1,1}> { y = Where(c, x, z) }"),
    "Where with a true condition and a larger loser": text(
        "g (float[1] x, float[3] z) => (float[3] y) <bool c = {1}> { y = Where(c, x, z) }"),
    "And with a true constant that stretches": text(
        "g (bool[1] x) => (bool[3] y) <bool[3] c = {1,1,1}> { y = And(x, c) }"),
    "Expand that adds an axis": text("g (float[3] x) => (float[1,3] y) <int64[2] s = {1,3}> { y = Expand(x, s) }"),
    "Expand to a smaller shape": text("g (float[2,3] x) => (float[2,3] y) <int64[1] s = {1}> { y = Expand(x, s) }"),
    "Expand between two symbols": text(
        "g (float[N,3] x, float[M,3] z) => (float[K,3] y) { s = Shape(z) e = Expand(x, s) y = Neg(e) }",
        {"x": ones(1, 3), "z": ones(4, 3)}),
    "Expand between two nameless sizes": text(
        "g (float[?,3] x, float[?,3] z) => (float[?,3] y) { s = Shape(z) e = Expand(x, s) y = Neg(e) }",
        {"x": ones(1, 3), "z": ones(4, 3)}),
    "sizes of two symbols compared": text(
        "g (float[N,3] x, float[M,3] z) => (bool y) <int64 o = {0}> "
        "{ s = Shape(x) t = Shape(z) a = Gather(s, o) b = Gather(t, o) y = Equal(a, b) }",
        {"x": ones(2, 3), "z": ones(5, 3)}, {"x": ones(2, 3), "z": ones(2, 3)}),
    "arithmetic on an open size": text(
        "g (float[N,4] x) => (int64[1] y) <int64[1] o = {0}, int64[1] k = {2}> "
        "{ s = Shape(x) n = Gather(s, o) h = Div(n, k) y = Mul(h, k) }", {"x": ones(5, 4)}, {"x": ones(0, 4)}),
    "Squeeze without axes over an open size": text(
        "g (float[N,1,3] x) => (float y) { s = Squeeze(x) y = ReduceSum<keepdims=0>(s) }", {"x": ones(1, 1, 3)}),
    "Shape from the second to the last but one": text(
        "g (float[N,3,4,5] x) => (int64[2] y, int64[0] e, int64[3] k) "
        "{ y = Shape<start=1, end=-1>(x) e = Shape<start=3, end=1>(x) k = Shape<start=-3, end=99>(x) }"),
    "Reshape with zeros behind Reshape": text(
        "g (float[2,3,4] x) => (float[6,4,1] y) <int64[2] a = {6,4}, int64[3] b = {0,0,1}> "
        "{ r = Reshape(x, a) y = Reshape(r, b) }"),
    "Reshape with zeros that copy an open size": text(
        "g (float[N,3,4] x) => (float[N,2,6] y) <int64[3] a = {0,4,3}, int64[3] b = {0,2,-1}> "
        "{ r = Reshape(x, a) y = Reshape(r, b) }", {"x": ones(1, 3, 4)}),
    "Reshape that allows zero": text(
        "g (float[0,3] x) => (float[3,0] y) <int64[2] a = {3,0}> { y = Reshape<allowzero=1>(x, a) }"),
    "Reshape that looks like nothing": text(
        "g (float[N,M] x) => (float[A,B] y) <int64[2] a = {-1,2}> { r = Reshape(x, a) y = Neg(r) }",
        {"x": ones(3, 2)}, {"x": ones(1, 4)}),
    "Flatten and Unsqueeze over an empty batch": text(
        "g (float[N,2,3] x) => (float[N,1,6] y) <int64[1] a = {1}> { f = Flatten(x) y = Unsqueeze(f, a) }",
        {"x": ones(0, 2, 3)}),
    "Unsqueeze and another Squeeze": text(
        "g (float[2,1,3] x) => (float[1,2,3] y) <int64[2] a = {0,3}, int64[2] b = {2,-2}> "
        "{ u = Unsqueeze(x, a) y = Squeeze(u, b) }"),
    "Squeeze and Unsqueeze at another place": text(
        "g (float[1,2,3] x) => (float[2,3,1] y) <int64[1] a = {0}, int64[1] b = {-1}> "
        "{ s = Squeeze(x, a) y = Unsqueeze(s, b) }"),
    "sums and the axis they lose": text(
        "g (float[2,3,4] x) => (float[2,1,4] y, float[2,4,1] z, float[3] w) "
        "<int64[1] a = {1}, int64[1] b = {2}, int64[2] c = {0,2}> "
        "{ r = ReduceSum<keepdims=0>(x, a) y = Unsqueeze(r, a) z = Unsqueeze(r, b) k = ReduceSum(x, c) "
        "w = Squeeze(k, c) }"),
    "a mean and the axis it loses, axes as attributes": text(
        "g (float[2,3,4] x) => (float[2,1,4] y) <int64[1] a = {1}> "
        "{ r = ReduceMean<axes=[1], keepdims=0>(x) y = Unsqueeze(r, a) }"),
    "a slice to the end, backwards and empty": text(
        "g (float[4] x) => (float[4] p, float[3] q, float[4] r, float[0] s) "
        "<int64[1] o = {0}, int64[1] m = {9223372036854775807}, int64[1] l = {-1}, "
        "int64[1] n = {-9223372036854775807}> "
        "{ p = Slice(x, o, m) q = Slice(x, o, l) r = Slice(x, l, n, o, l) s = Slice(x, o, m, o, l) }"),
    "a slice over an open size": text(
        "g (float[N,2] x) => (float[M,2] y) <int64[1] o = {0}, int64[1] e = {4}> { s = Slice(x, o, e, o) y = Neg(s) }",
        {"x": ones(7, 2)}, {"x": ones(3, 2)}),
    "slices of one slice": text(
        "g (float[20] x) => (float[4] y) <int64[1] a = {-15}, int64[1] b = {-3}, int64[1] c = {1}, int64[1] d = {9}, "
        "int64[1] o = {0}, int64[1] t = {2}> { s = Slice(x, a, b) y = Slice(s, c, d, o, t) }"),
    "parts put together in another order": text(
        "g (float[6] x) => (float[6] y, float[6] z) { a, b, c = Split<axis=0, num_outputs=3>(x) "
        "y = Concat<axis=0>(a, c, b) z = Concat<axis=0>(a, b, c) }", opset=18),
    "Tile by one and by more": text(
        "g (float[2,3] x) => (float[2,6] y, float[2,3] z) <int64[2] a = {1,2}, int64[2] b = {1,1}> "
        "{ y = Tile(x, a) z = Tile(x, b) }"),
    "Gather from the end": text(
        "g (float[4,3] x) => (float[3] y, float[1,3] z) <int64 a = {-1}, int64[1] b = {-2}> "
        "{ y = Gather(x, a) z = Gather(x, b) }"),
    "transposes that are no inverse": text(
        "g (float[2,3,4] x) => (float[4,2,3] y, float[2,3,4] z) "
        "{ a = Transpose<perm=[1,2,0]>(x) y = Transpose<perm=[1,2,0]>(a) z = Transpose<perm=[2,0,1]>(a) }"),
    "a transpose that only looks like a reshape": text(
        "g (float[1,N,3] x) => (float[3,N,1] y) { t = Transpose(x) y = Neg(t) }", {"x": ones(1, 4, 3)}),
    "a batch transposed into MatMul": text(
        "g (float[2,3,4] x, float[2,4,5] w) => (float[3,2,5] y) { a = Transpose<perm=[1,0,2]>(x) y = MatMul(a, v) "
        "} ", edit=weight("v", TensorProto.FLOAT, [4, 5], [0.1 * n for n in range(20)])),
    "MatMul with a bias over rows, and over more axes": text(
        "g (float[3,4] x) => (float[3,5] y, float[2,3,5] z) <float[4,5] w, float[3,1] b, float[2,1,5] c> "
        "{ m = MatMul(x, w) y = Add(m, b) n = MatMul(x, w) z = Add(n, c) }"),
    "MatMul of three axes with a bias": text(
        "g (float[2,3,4] x) => (float[2,3,5] y) <float[4,5] w, float[5] b> { m = MatMul(x, w) y = Add(b, m) }"),
    "MatMul of vectors with a bias": text(
        "g (float[4] x) => (float[5] y) <float[4,5] w, float[5] b> { m = MatMul(x, w) y = Add(m, b) }"),
    "integer MatMul with a bias": text(
        "g (int32[3,4] x) => (int32[3,5] y) <int32[4,5] w, int32[5] b> { m = MatMul(x, w) y = Add(m, b) }"),
    "a shape at opset 13 without allowzero": text(
        "g (float[N,3,4] x) => (float[N,12] y) <int64 z = {0}, int64[1] o = {0}, int64[1] r = {-1}> "
        "{ s = Shape(x) n = Gather<axis=0>(s, z) u = Unsqueeze(n, o) c = Concat<axis=0>(u, r) y = Reshape(x, c) }",
        {"x": ones(1, 3, 4)}, opset=13),
}  # fmt: skip

CONVOLUTIONS = {
    "a factor along the width, as long as the channels": text(
        CONV + "<float[4,3,3,3] w, float[4] k> { c = Conv(x, w) y = Mul(c, k) }"),
    "a factor per place": text(CONV + "<float[4,3,3,3] w, float[1,1,4,4] k> { c = Conv(x, w) y = Mul(k, c) }"),
    "a bias that adds an axis": text(
        "g (float[1,3,6,6] x) => (float[1,1,4,4,4] y) <float[4,3,3,3] w, float[1,1,4,1,1] k> "
        "{ c = Conv(x, w) y = Add(c, k) }"),
    "a bias that stretches the batch": text(
        "g (float[1,3,6,6] x) => (float[2,4,4,4] y) <float[4,3,3,3] w, float[2,4,1,1] k> "
        "{ c = Conv(x, w) y = Add(c, k) }"),
    "a divisor above the line": text(
        CONV + "<float[4,3,3,3] w, float[4,1,1] k> { c = Conv(x, w) d = Div(k, c) y = Sub(k, d) }"),
    "groups in a transposed convolution": text(
        "g (float[1,4,3,3] x) => (float[1,6,5,5] y) <float[4,3,3,3] w, float[6] s, float[6] b, float[6] m, "
        "float[6] v = {1,2,3,4,5,6}> { c = ConvTranspose<group=2>(x, w) y = BatchNormalization(c, s, b, m, v) }"),
    "one filter per channel": text(
        "g (float[1,4,6,6] x) => (float[1,4,4,4] y) <float[4,1,3,3] w, float[4] s, float[4] b, float[4] m, "
        "float[4] v = {1,2,3,4}> { c = Conv<group=4>(x, w) y = BatchNormalization<epsilon=0.1>(c, s, b, m, v) }"),
    "normalisation by an input": text(
        f"g (float[1,3,6,6] x, float[4] i) => (float[1,4,4,4] y) {BN} "
        "{ c = Conv(x, w) y = BatchNormalization(c, i, b, m, v) }"),
    "normalisation of a matrix": text(
        "g (float[2,3] x) => (float[2,3] y) <float[3] s, float[3] b, float[3] m, float[3] v = {1,2,3}> "
        "{ y = BatchNormalization(x, s, b, m, v) }"),
    "normalisation of a variance that vanishes": text(
        f"g (float[1,3,6,6] x) => (float[1,4,4,4] y) {BN.replace('1, 2, 3, 4', '0, 0, 1, 1')} "
        "{ c = Conv(x, w) y = BatchNormalization<epsilon=0.001>(c, s, b, m, v) }"),
    "Gemm with factors, then Mul": text(
        "g (float[3,4] x) => (float[3,5] y) <float[5,4] w, float[5] b, float[5] k> "
        "{ c = Gemm<alpha=0.5, beta=2.0, transB=1>(x, w, b) y = Mul(c, k) }"),
    "a Pad of ones before Conv": text(
        "g (float[1,3,4,4] x) => (float[1,4,4,4] y) <float[4,3,3,3] w, int64[8] p = {0,0,1,1,0,0,1,1}, float o = {1}> "
        "{ t = Pad(x, p, o) y = Conv(t, w) }"),
    "a Pad of channels before Conv": text(
        "g (float[1,2,6,6] x) => (float[1,4,4,4] y) <float[4,3,3,3] w, int64[8] p = {0,1,0,0,0,0,0,0}> "
        "{ t = Pad(x, p) y = Conv(t, w) }"),
    "a Pad that cuts before Conv": text(
        "g (float[1,3,8,8] x) => (float[1,4,4,4] y) <float[4,3,3,3] w, int64[8] p = {0,0,-1,-1,0,0,-1,-1}> "
        "{ t = Pad(x, p) y = Conv(t, w) }"),
    "a Pad before Conv that pads by itself": text(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) <float[4,3,3,3] w, int64[8] p = {0,0,1,1,0,0,1,1}> "
        '{ t = Pad(x, p) y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(t, w) }'),
    "a Pad of named axes before Conv": text(
        "g (float[1,3,4,6] x) => (float[1,4,4,4] y) <float[4,3,3,3] w, int64[2] p = {1,1}, int64[1] a = {2}> "
        "{ t = Pad(x, p, , a) y = Conv(t, w) }", opset=18),
    "a Pad by attributes before Conv": text(
        "g (float[1,3,4,4] x) => (float[1,4,4,4] y) <float[4,3,3,3] w> "
        "{ t = Pad<pads=[0,0,1,1,0,0,1,1]>(x) y = Conv(t, w) }", opset=10),
    "a Pad before MaxPool, where zero is not the least": text(
        "g (float[1,1,4,4] x) => (float[1,1,4,4] y) <int64[8] p = {0,0,1,1,0,0,1,1}> "
        "{ n = Abs(x) m = Neg(n) t = Pad(m, p) y = MaxPool<kernel_shape=[3,3]>(t) }"),
    "a Pad before an average that does not count its own": text(
        "g (float[1,1,4,4] x) => (float[1,1,6,6] y) <int64[8] p = {0,0,1,1,0,0,1,1}> "
        "{ t = Pad(x, p) y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=0>(t) }"),
    "a Pad before an average that rounds up": text(
        "g (float[1,1,4,4] x) => (float[1,1,3,3] y) <int64[8] p = {0,0,1,1,0,0,1,1}> "
        "{ t = Pad(x, p) y = AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1, count_include_pad=1>(t) }"),
    "two Pads with two values": text(
        "g (float[2] x) => (float[6] y) <int64[2] p = {1,1}, float a = {1}, float b = {2}> "
        "{ t = Pad(x, p, a) y = Pad(t, p, b) }"),
    "a Pad of nothing, and one that cuts and adds": text(
        "g (float[4] x) => (float[4] y, float[4] z) <int64[2] p = {0,0}, int64[2] q = {-1,1}> "
        "{ y = Pad(x, p) z = Pad(x, q) }"),
    "a Pad that reflects after one that adds": text(
        "g (float[4] x) => (float[8] y) <int64[2] p = {1,1}> { t = Pad(x, p) y = Pad<mode=\"reflect\">(t, p) }"),
    "Upsample at opset 9": text(
        'g (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] s = {1,1,2,2}> { y = Upsample<mode="nearest">(x, s) }',
        opset=9),
    "LSTM with absent inputs and outputs": text(
        'g (float[2,1,3] x) => (float[1,1,4] h) <float[1,16,3] w, float[1,16,4] r> '
        '{ "", h = LSTM<hidden_size=4>(x, w, r) }'),
    "TopK whose indices nobody reads": text(
        "g (float[5] x) => (float[2] y) <int64[1] k = {2}> { v, i = TopK(x, k) y = Neg(v) }"),
}  # fmt: skip

TRAPS: dict[str, Trap] = {**NUMBERS, **SHAPES, **CONVOLUTIONS}


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name: str, tmp_path: Path) -> None:
    held(TRAPS[name], tmp_path)


@pytest.fixture(scope="module")
def fifty(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The models that the reference material's own script writes."""
    script = shared / "traps" / "make_traps.py"
    if not script.is_file():
        pytest.skip("the reference material has no make_traps.py")
    folder = tmp_path_factory.mktemp("traps")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return sorted(folder.glob("*.onnx"))


def test_the_fifty_from_outside(fifty: list[Path], tmp_path: Path) -> None:
    assert len(fifty) == 50
    faults: dict[str, list[str]] = {}
    for path in fifty:
        base = baseline(path)
        target = tmp_path / path.name
        try:
            optimized(path, target)
        except GraphtoolError as error:
            # two nodes of one name: onnxruntime refuses the model too
            assert path.stem == "no_node_names_dup_names" and base.unusable, f"{path.stem}: {error}"
            continue
        if found := judge(base, target):
            faults[path.stem] = found
    assert faults == {}
