"""What ``optimize`` must not fall for, beyond single operators: sharing, bodies, functions, constants.

Judged from outside, as in ``test_optimize_traps.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto
from optimizing import Trap, held, text, weight


def _metadata(proto: ModelProto) -> None:
    for number, node in enumerate(proto.graph.node):
        node.doc_string = f"node {number}"
        node.metadata_props.add(key="layer", value=str(number))


CONV = "g (float[1,3,6,6] x) => (float[1,4,4,4] y) "

SHARING = {
    "equal bytes of other types and shapes": text(
        "g (float[2] x, int32[2] i) => (float[2] y, int32[2] j, float[2,2] u, float[1,2] v) "
        "<float[2] a = {0,0}, int32[2] b = {0,0}, float[2,1] c = {0,0}, float[1,2] d = {0,0}> "
        "{ y = Max(x, a) j = Max(i, b) u = Max(x, c) v = Max(x, d) }"),
    "equal weights, one an output": text(
        "g (float[2] x) => (float[2] y, float[2] a) <float[2] a = {1,2}, float[2] b = {1,2}> "
        "{ t = Max(x, a) y = Min(t, b) }"),
    "equal weights, both outputs": text(
        "g (float[2] x) => (float[2] y, float[2] a, float[2] b) <float[2] a = {1,2}, float[2] b = {1,2}> "
        "{ t = Max(x, a) y = Min(t, b) }"),
    "equal weights, one that a caller may override": text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, float[2] a = {1,2}) => (float[2] y)
        <float[2] b = {1,2}> { t = Max(x, a) y = Min(t, b) }""", {"a": np.array([9, -9], np.float32)}),
    "equal nodes, both outputs": text("g (float[2] x) => (float[2] a, float[2] b) { a = Exp(x) b = Exp(x) }"),
    "equal nodes with other attributes": text(
        "g (float[2,3] x) => (float[2,3] y) { a = Softmax<axis=0>(x) b = Softmax(x) c = Softmax<axis=-1>(x) "
        "d = Sub(a, b) y = Sub(d, c) }"),
    "equal nodes, of one a second output": text(
        "g (float[5] x) => (float[2] y, int64[2] i) <int64[1] k = {2}> "
        "{ a, i = TopK(x, k) b, j = TopK(x, k) y = Add(a, b) }"),
    "equal nodes in two branches": text(
        "g (float[2] x, bool c) => (float[2] y) { y = If(c) <then_branch = a () => (float[2] p) "
        "{ e = Exp(x) p = Neg(e) }, else_branch = b () => (float[2] q) { e2 = Exp(x) q = Abs(e2) }> }"),
    "equal nodes, outside and inside": text(
        "g (float[2] x, bool c) => (float[2] y, float[2] z) { e = Exp(x) z = Neg(e) y = If(c) <then_branch = a () => "
        "(float[2] p) { f = Exp(x) p = Neg(f) }, else_branch = b () => (float[2] q) { q = Identity(x) }> }"),
    "equal nodes on what a Loop carries": text(
        "g (float[2] x) => (float[2] y) <int64 n = {3}, bool t = {1}> { e = Exp(x) s = Add(x, e) "
        "y = Loop(n, t, s) <body = b (int64 i, bool k, float[2] a) => (bool o, float[2] c) "
        "{ o = Identity(k) f = Exp(x) g = Exp(a) h = Sub(f, g) c = Tanh(h) }> }"),
    "random numbers, drawn twice": text(
        "g (float[2] x) => (float[2] y) { a = RandomUniformLike(x) b = RandomUniformLike(x) d = Sub(a, b) "
        "y = Add(x, d) }", keeps="RandomUniformLike Sub"),
    "random numbers from constants": text(
        "g (float[2] x) => (float[2] y) <float[2] p = {0.5, 0.5}> { a = Bernoulli(p) y = Add(x, a) }",
        keeps="Bernoulli"),
    "random numbers in a Loop": text(
        "g (float[2] x) => (float[2] y) <int64 n = {2}, bool t = {1}> { y = Loop(n, t, x) "
        "<body = b (int64 i, bool k, "
        "float[2] a) => (bool o, float[2] c) { o = Identity(k) r = RandomNormal<shape=[2]>() c = Add(a, r) }> }",
        keeps="RandomNormal"),
    "Dropout whose mask is read": text(
        "g (float[3] x) => (float[3] y, bool[3] n) <float r = {0.5}> { y, m = Dropout(x, r) n = Not(m) }"),
    "matrices that share an input, one product an output": text(
        "g (float[2,3,4] x) => (float[2,3,5] p, float[2,3,4] y) <float[4,5] a, float[4,4] b, float[4,4] c> "
        "{ p = MatMul(x, a) q = MatMul(x, b) r = MatMul(x, c) y = Mul(q, r) }"),
    "documentation of equal nodes": text(
        "g (float[2] x) => (float[2] y) { a = Exp(x) b = Neg(a) y = Abs(b) }", opset=21, edit=_metadata),
    "names like those that a pass would choose": text(
        CONV + "<float[4,3,3,3] w, float[4] w_1, float[4] b, float[4] c_bias, float[4] v = {1,2,3,4}> "
        "{ c = Conv(x, w, b) y = BatchNormalization(c, w_1, c_bias, b, v) }"),
    "names with spaces, quotes and no ASCII": text(
        "g (float[2] x) => (float[2] y) { a = Relu(x) b = Identity(a) y = Neg(b) }",
        edit=lambda p: [setattr(n, "name", f"Knoten {k} \"ä'\n") for k, n in enumerate(p.graph.node)]),
    "nodes without names": text(
        "g (float[2] x) => (float[2] y) { a = Relu(x) b = Identity(a) y = Neg(b) }",
        edit=lambda p: [n.ClearField("name") for n in p.graph.node]),
}  # fmt: skip

IF = "y = If(c) <then_branch = a () => (float[2] p) {{ {} }}, else_branch = b () => (float[2] q) {{ {} }}>"

BODIES = {
    "a branch that is taken always, with names used outside": text(
        "g (float[2] x) => (float[2] y, float[2] z) <bool c = {1}> { t = Neg(x) z = Exp(t) "
        + IF.format("u = Abs(t) p = Tanh(u)", "u2 = Exp(t) q = Sin(u2)") + " }"),
    "a branch that is never taken": text(
        "g (float[2] x) => (float[2] y) <bool[1] c = {0}> { " + IF.format("p = Abs(x)", "q = Sin(x)") + " }"),
    "a branch whose output comes from outside": text(
        "g (float[2] x) => (float[2] y) <bool c = {1}> { t = Exp(x) "
        + IF.format("p = Identity(t)", "q = Neg(t)") + " }"),
    "a condition that a caller may override": text(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool c = {1}) => (float[2] y) { '
        + IF.format("p = Abs(x)", "q = Sin(x)") + " }", {"c": np.array(False)}),
    "branches of other shapes": text(
        "g (float[2] x) => (float[1,2] y) <bool c = {1}, int64[1] o = {0}> { y = If(c) <then_branch = a () => "
        "(float[1,2] p) { p = Unsqueeze(x, o) }, else_branch = b () => (float[2] q) { q = Abs(x) }> }"),
    # a Loop has two inputs, the second an absent one: text cannot write that
    "a Loop without a condition in a branch": text(
        '<ir_version: 8, opset_import: ["": 17]> g (int64 n, float[2] x, float[k,2] w) => (float[l,2] y) '
        "<bool t = {1}> { "
        "y = If(t) <then_branch = a () => (float[k,2] p) { p = Loop(n, t) "
        "<body = b (int64 i, bool q) => (bool o, float[2] c) { o = Identity(q) c = Exp(x) }> }, "
        "else_branch = d () => (float[k,2] r) { r = Concat<axis=0>(w) }> }",
        edit=lambda proto: proto.graph.node[0].attribute[0].g.node[0].input.__setitem__(1, "")),
    "a branch within a branch": text(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool d) => (float[2] y) <bool c = {1}> { '
        "y = If(c) <then_branch = a () => (float[2] p) "
        "{ p = If(d) <then_branch = e () => (float[2] r) { r = Exp(x) }, else_branch = f () => (float[2] s) "
        "{ s = Neg(x) }> }, else_branch = b () => (float[2] q) { q = Abs(x) }> }"),
    "a Loop of no turns": text(
        "g (float[2] x) => (float[2] y, float[k,2] z) <int64 n = {0}, bool t = {1}> { y, z = Loop(n, t, x) "
        "<body = b (int64 i, bool k, float[2] a) => (bool o, float[2] c, float[2] d) "
        "{ o = Identity(k) c = Exp(a) d = Neg(a) }> }"),
    "a Loop that never begins": text(
        "g (float[2] x) => (float[2] y) <int64 n = {5}, bool t = {0}> { y = Loop(n, t, x) "
        "<body = b (int64 i, bool k, float[2] a) => (bool o, float[2] c) { o = Identity(k) c = Exp(a) }> }"),
    "a Loop of one turn": text(
        "g (float[2] x) => (float[2] y, float[k,2] z) <int64 n = {1}, bool t = {1}> { y, z = Loop(n, t, x) "
        "<body = b (int64 i, bool k, float[2] a) => (bool o, float[2] c, float[2] d) "
        "{ o = Identity(k) f = Cast<to=1>(i) c = Add(a, f) d = Neg(a) }> }"),
    "a Loop that stops early": text(
        "g (float[2] x) => (float[2] y) <int64 n = {9}, bool t = {1}, int64 m = {3}> { y = Loop(n, t, x) "
        "<body = b (int64 i, bool k, float[2] a) => (bool o, float[2] c) { o = Less(i, m) c = Add(a, x) }> }"),
    "a Loop that swaps what it carries": text(
        "g (float[2] x, float[2] w) => (float[2] y, float[2] z) <int64 n = {3}, bool t = {1}> { "
        "y, z = Loop(n, t, x, w) <body = b (int64 i, bool k, float[2] a, float[2] d) => "
        "(bool o, float[2] c, float[2] e) { o = Identity(k) c = Identity(d) e = Identity(a) }> }"),
    "a Loop that carries a value unchanged": text(
        "g (float[2] x, float[2] w) => (float[2] y, float[2] z) <int64 n = {3}, bool t = {1}> { "
        "y, z = Loop(n, t, x, w) <body = b (int64 i, bool k, float[2] a, float[2] d) => "
        "(bool o, float[2] c, float[2] e) { o = Identity(k) c = Add(a, d) e = Identity(d) }> }"),
    # onnxruntime sees that the declared scalar is none once the Reshape is gone, and refused the model
    "a Loop that carries what it declares wrongly": text(
        "g (float[4,5] x, int64[k,2] j) => (float y) <int64 n = {2}, bool t = {1}> { p = Shape(j) "
        "w = Slice<starts=[-1], ends=[9223372036854775807], axes=[0]>(p) "
        "s = Size(j) d = Div(s, w) e = Concat<axis=0>(d, w) r = Reshape(j, e) v = Loop(n, t, x) "
        "<body = b (int64 i, bool q, float a) => (bool o, float c) "
        "{ o = Identity(q) m = Gather<axis=0>(r, i) h = Gather<axis=0>(m, i) c = Gather<axis=0>(a, h) }> "
        "y = ReduceSum<keepdims=0>(v) }",
        {"j": np.array([[3, 1], [0, 2]])}, opset=9),
    "constants of a body and from outside": text(
        "g (float[2] x) => (float[2] y) <int64 n = {2}, bool t = {1}, float[2] w = {1,2}> { y = Loop(n, t, x) "
        "<body = b (int64 i, bool k, float[2] a) => (bool o, float[2] c) <float[2] v = {3,4}> "
        "{ o = Identity(k) u = Mul(v, w) h = Neg(u) c = Add(a, h) }> }"),
    "a Scan over two, backwards": text(
        "g (float[2] s, float[3,2] x) => (float[2] f, float[3,2] y) { f, y = Scan(s, x) <num_scan_inputs = 1, "
        "scan_input_directions = [1], scan_output_directions = [1], body = b (float[2] a, float[2] e) => "
        "(float[2] c, float[2] d) { t = Add(a, e) c = Identity(t) d = Identity(t) }> }"),
}  # fmt: skip

FUNCTION = '<ir_version: 9, opset_import: ["": {}, "d": 1]> g {} <domain: "d", opset_import: ["": {}]> {}'

FUNCTIONS = {
    "a function of another operator set": text(FUNCTION.format(
        13, "(float[2,3,4] x) => (float[2,3,4] y) { y = d.F(x) }", 11, "F (a) => (b) { b = Softmax(a) }")),
    "a function with references to attributes, called twice": text(FUNCTION.format(
        17, "(float[2,3] x) => (float[2,3] y) { a = d.F<axis=0>(x) y = d.F<axis=1>(a) }", 17,
        "F <axis> (a) => (b) { b = Softmax<axis: int = @axis>(a) }")),
    "a function with names that the model has": text(FUNCTION.format(
        17, "(float[2] x) => (float[2] y) { t = Exp(x) u = d.F(t) v = d.F(u) y = Add(t, v) }", 17,
        "F (x) => (y) { t = Neg(x) u = Abs(t) y = Tanh(u) }")),
    "a function that calls another": text(
        """<ir_version: 9, opset_import: ["": 17, "d": 1]> g (float[2] x) => (float[2] y) { y = d.F(x) }
        <domain: "d", opset_import: ["": 17, "d": 1]> F (a) => (b) { t = d.G(a) b = d.G(t) }
        <domain: "d", opset_import: ["": 17]> G (a) => (b) { t = Sin(a) b = Neg(t) }"""),
    "a function with a branch that captures": text(FUNCTION.format(
        17, "(float[2] x, bool c) => (float[2] y) { y = d.F(x, c) }", 17,
        "F (a, c) => (b) { t = Exp(a) b = If(c) <then_branch = e () => (float[2] p) { p = Neg(t) }, "
        "else_branch = f () => (float[2] q) { q = Abs(a) }> }")),
    "a function that hands its input through": text(FUNCTION.format(
        17, "(float[2] x) => (float[2] y, float[2] z) { y, z = d.F(x) }", 17,
        "F (a) => (b, c) { b = Identity(a) c = Identity(a) }")),
    "a function whose output nobody reads": text(FUNCTION.format(
        17, "(float[2] x) => (float[2] y) { y, z = d.F(x) }", 17, "F (a) => (b, c) { b = Exp(a) c = Neg(b) }")),
    "a function named like an operator": text(
        """<ir_version: 9, opset_import: ["": 17, "d": 1]> g (float[2] x) => (float[2] y) { y = d.Identity(x) }
        <domain: "d", opset_import: ["": 17]> Identity (a) => (b) { b = Neg(a) }"""),
}  # fmt: skip

CONSTANTS = {
    "an output that is a constant": text(
        "g (float[2] x) => (float[2] y, float[2] k) <float[2] a, float[2] b> { y = Relu(x) k = Add(a, b) }"),
    "an input straight to two outputs": text(
        "g (float[2,2] x) => (float[2,2] y, float[2,2] z) <int64[2] s = {2,2}> "
        "{ i = Identity(x) y = Reshape(i, s) t = Transpose(x) z = Transpose(t) }"),
    "nothing but constants": text("g () => (float[2] y) <float[2] a, float[2] b> { y = Add(a, b) }"),
    "constants at IR 3, where each is an input": text(
        """<ir_version: 3, opset_import: ["": 9]> g (float[2] x, float[2] a = {1,2}, float[2] b = {3,4}) => (float[2] y)
        { c = Mul(a, b) d = Neg(c) y = Add(x, d) }"""),
    "a sum with a zero that a caller may override": text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, float[2] z = {0,0}) => (float[2] y)
        { t = Add(x, z) y = Neg(t) }""", {"z": np.array([5, 6], np.float32)}),
    "a shape that a caller may override": text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x, int64[2] s = {2,3}) => (float[a,b] y)
        { t = Reshape(x, s) y = Neg(t) }""", {"s": np.array([3, 2])}),
    "strings joined": text(
        "g (string[2] x) => (bool[2] y) <string[1] a = {\"p\"}, string[1] b = {\"q\"}> "
        "{ c = Concat<axis=0>(a, b) y = Equal(x, c) }", opset=19),
    "bfloat16 cast": text(
        "g (float[3] x) => (float[3] y) { c = Cast<to=1>(w) y = Add(x, c) }",
        edit=weight("w", TensorProto.BFLOAT16, [3], [1.5, 2.5, -3.0])),
    "float8 cast": text(
        "g (float[3] x) => (float[3] y) { c = Cast<to=1>(w) y = Add(x, c) }", opset=19,
        edit=weight("w", TensorProto.FLOAT8E5M2, [3], [1.5, 2.5, -3.0])),
    "int4, two to a byte, cast": text(
        "g (int8[3] x) => (int8[3] y) { c = Cast<to=3>(w) y = Max(x, c) }",
        opset=21, edit=weight("w", TensorProto.INT4, [3], [1, -2, 3])),
    "complex results on the way": text(
        "g (float[1,8,1] x) => (float[1,5,2] y) { y = DFT<axis=1, onesided=1>(x) }"),
    "a sequence of constants": text(
        "g (float[2] x) => (float[2] y) <float[2] a, float[2] b, int64 k = {1}> "
        "{ s = SequenceConstruct(a, b) t = SequenceInsert(s, x) v = SequenceAt(t, k) y = Add(x, v) }"),
    "a sequence as an output": text(
        "g (float[4] x) => (seq(float[2]) y) <int64[2] n = {2,2}> { y = SplitToSequence(x, n) }"),
    "an optional value": text(
        "g (float[2] x) => (bool y, float[2] z) "
        "{ o = Optional(x) y = OptionalHasElement(o) z = OptionalGetElement(o) }"),
    "Constant by other attributes": text(
        "g (float[2] x) => (float[2] y) { a = Constant<value_float=1.5>() b = Constant<value_floats=[1.0, 2.0]>() "
        "i = Constant<value_int=2>() j = Cast<to=1>(i) c = Mul(a, b) d = Mul(c, j) y = Add(x, d) }"),
    "a quantized weight": text(
        "g (float[1,3] x) => (float[1,2] y) <int8[3,2] w, float s = {0.5}, int8 z = {3}> "
        "{ d = DequantizeLinear(w, s, z) y = MatMul(x, d) }"),
    "much from little by Expand": text(
        "g (float[1] x) => (float y) <float[1] w, int64[2] s = {400,400}> "
        "{ e = Expand(w, s) a = Add(x, e) y = ReduceMax<keepdims=0>(a) }"),
    "much from little by Range and Tile": text(
        "g (float[1] x) => (float y) <int64 a = {0}, int64 b = {50000}, int64 c = {1}, int64[1] n = {4}> "
        "{ r = Range(a, b, c) t = Tile(r, n) f = Cast<to=1>(t) s = Add(x, f) y = ReduceMax<keepdims=0>(s) }"),
    "much from little by OneHot": text(
        "g (float[1] x) => (float y) <int64[200] i, int64 d = {500}, float[2] v = {0,1}> "
        "{ o = OneHot(i, d, v) s = Add(x, o) y = ReduceMax<keepdims=0>(s) }"),
    "a large weight with two readers, one behind Transpose": text(
        "g (float[1,200] x) => (float[1,200] y) <float[200,200] w> "
        "{ t = Transpose(w) a = MatMul(x, w) y = MatMul(a, t) }"),
    "a large weight in two types": text(
        "g (float[1,200] x) => (float[1,200] y, double[1] z) <float[200,200] w> "
        "{ d = Cast<to=11>(w) s = ReduceMax<keepdims=0>(d) o = Constant<value_ints=[1]>() z = Reshape(s, o) "
        "y = MatMul(x, w) }"),
}  # fmt: skip

TRAPS: dict[str, Trap] = {**SHARING, **BODIES, **FUNCTIONS, **CONSTANTS}


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name: str, tmp_path: Path) -> None:
    held(TRAPS[name], tmp_path)
