"""Operators of transformers, fused and written out: there and back, together in a block, and at extreme numbers."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import graph_of
from rewriting import run

from graphtool import pipeline
from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.parity.feed import draw
from graphtool.parity.metrics import equal
from graphtool.rewrite import Catalog, apply_stage, parse_pipeline

CATALOG = Catalog()
X = "g (float[2,3,4] x) => (float[2,3,4] y)"
QKV = "g (float[2,3,4,8] q, float[2,3,5,8] k, float[2,3,5,6] v"


def applied(graph: Graph, passes: str) -> Graph:
    """Apply passes in place, the numbers unchecked."""
    for stage in parse_pipeline(passes, CATALOG):
        apply_stage(graph, stage, CATALOG)
    return graph


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


@pytest.mark.parametrize(
    "name,text,opset",
    [
        ("gelu", X + " { y = Gelu(x) }", 20),
        ("gelu", X + ' { y = Gelu<approximate = "tanh">(x) }', 20),
        ("silu", X + " { y = Swish(x) }", 24),
        ("silu", X + " { y = Swish<alpha = 1.5>(x) }", 24),
        ("mish", X + " { y = Mish(x) }", 18),
        ("hardswish", X + " { y = HardSwish(x) }", 17),
        ("layer_norm", X + " <float[4] w, float[4] b> { y = LayerNormalization(x, w, b) }", 17),
        ("layer_norm", X + " <float[3,4] w> { y = LayerNormalization<axis = -2, epsilon = 0.01>(x, w) }", 18),
        ("rms_norm", X + " <float[4] w> { y = RMSNormalization(x, w) }", 23),
        ("attention", QKV + ") => (float[2,3,4,6] y) { y = Attention<scale = 0.5>(q, k, v) }", 23),
        ("attention", QKV + ") => (float[2,3,4,6] y) <float[4,5] m> { y = Attention<scale = 0.5>(q, k, v, m) }", 23),
    ],
)
@pytest.mark.parametrize("wide", [True, False])
def test_there_and_back(name: str, text: str, opset: int, wide: bool) -> None:
    graph = model_of(text if wide else text.replace("float[", "float16["), opset)
    before, feed = ops(graph), dict(draw(graph).arrays)
    numbers = run(graph, feed)["y"]
    applied(graph, f"decompose_{name}")
    assert len(graph.nodes) > 1
    tolerance = 1e-5 if wide else 1e-2
    np.testing.assert_allclose(run(graph, feed)["y"], numbers, rtol=tolerance, atol=tolerance)
    applied(graph, f"fuse_{name}")
    assert ops(graph) == before
    np.testing.assert_allclose(run(graph, feed)["y"], numbers, rtol=tolerance, atol=tolerance)


# a layer of a decoder as exporters leave it: everything in basic operators
BLOCK = """
g (float[B,5,8] x, float[5,5] mask) => (float[B,5,8] y)
<float two = {2}, float eps = {0.00001}, int64[1] last = {-1}, float[8] g1, float[8] b1, float[8] g2,
 float[8,24] wqkv, float[24] bqkv, int64[3] sizes = {8,8,8}, int64[4] heads = {0,0,2,4}, int64[3] flat = {0,0,8},
 float root = {0.70710677}, float[8,8] wo, float[8,16] w1, float[16,8] w2,
 float three = {3}, float cubic = {0.044715}, float c = {0.7978846}, float one = {1}, float half = {0.5}> {
  m1 = ReduceMean(x, last) d1 = Sub(x, m1) q1 = Pow(d1, two) v1 = ReduceMean(q1, last) e1 = Add(v1, eps) s1 = Sqrt(e1)
  n1 = Div(d1, s1) o1 = Mul(n1, g1) h1 = Add(o1, b1)
  p = MatMul(h1, wqkv) a = Add(p, bqkv) qa, ka, va = Split<axis = -1>(a, sizes)
  qr = Reshape(qa, heads) q = Transpose<perm = [0,2,1,3]>(qr)
  kr = Reshape(ka, heads) kt = Transpose<perm = [0,2,3,1]>(kr)
  vr = Reshape(va, heads) v = Transpose<perm = [0,2,1,3]>(vr)
  qs = Mul(q, root) ks = Mul(kt, root) sc = MatMul(qs, ks) sm = Add(sc, mask)
  w = Softmax<axis = -1>(sm) z = MatMul(w, v)
  zt = Transpose<perm = [0,2,1,3]>(z) zr = Reshape(zt, flat) zo = MatMul(zr, wo) r = Add(x, zo)
  q2 = Pow(r, two) v2 = ReduceMean(q2, last) e2 = Add(v2, eps) s2 = Sqrt(e2) i2 = Reciprocal(s2)
  n2 = Mul(r, i2) h2 = Mul(g2, n2)
  f = MatMul(h2, w1) f3 = Pow(f, three) fc = Mul(f3, cubic) fi = Add(f, fc) fs = Mul(fi, c)
  ft = Tanh(fs) fo = Add(ft, one)
  fp = Mul(f, fo) fg = Mul(half, fp) u = MatMul(fg, w2) y = Add(r, u)
}
"""


def test_a_block_is_fused_and_checked() -> None:
    graph = model_of(BLOCK, 23)
    passes = "fuse_layer_norm,fuse_rms_norm,fuse_gelu,fuse_attention"
    state = pipeline.begin(graph, parse_pipeline(passes, CATALOG), CATALOG, draw(graph))
    steps = list(pipeline.advance(state, CATALOG))
    assert [step.status for step in steps] == ["applied"] * 4, [step.reason for step in steps]
    wanted = (
        "LayerNormalization MatMul Add Split Reshape Transpose Reshape Reshape Transpose Transpose Attention "
        "Transpose Reshape MatMul Add RMSNormalization MatMul Gelu MatMul Add"
    )
    assert ops(graph) == wanted.split()
    attention = next(node for node in graph.nodes if node.op_type == "Attention")
    assert {a.name: round(a.f, 6) for a in attention.attribute} == {"scale": 0.5}


def test_query_key_and_value_come_apart_and_together_again() -> None:
    graph = model_of(BLOCK, 23)
    feed = dict(draw(graph).arrays)
    numbers = run(graph, feed)["y"]
    count = len(graph.nodes)
    applied(graph, "split_qkv")
    assert "Split" not in ops(graph) and len(graph.nodes) == count + 3
    np.testing.assert_allclose(run(graph, feed)["y"], numbers, rtol=1e-4, atol=1e-5)
    applied(graph, "merge_sibling_matmuls")
    assert "Split" in ops(graph) and len(graph.nodes) == count
    np.testing.assert_allclose(run(graph, feed)["y"], numbers, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op,opset", [("LayerNormalization", 17), ("RMSNormalization", 23)])
def test_squares_that_float16_does_not_hold(op: str, opset: int) -> None:
    graph = model_of(f"g (float16[2,8] x) => (float16[2,8] y) <float16[8] w> {{ y = {op}(x, w) }}", opset)
    feed = {"x": np.linspace(-3000, 4000, 16).reshape(2, 8).astype(np.float16)}
    numbers = run(graph, feed)["y"]
    applied(graph, "decompose_layer_norm,decompose_rms_norm")
    assert ops(graph)[0] == "Cast" and np.isfinite(numbers).all()
    np.testing.assert_allclose(run(graph, feed)["y"], numbers, rtol=2e-3, atol=2e-3)


def test_softplus_does_not_overflow() -> None:
    graph = model_of("g (float16[7] x) => (float16[7] y) { y = Softplus(x) }", 17)
    applied(graph, "decompose_softplus")
    x = np.float16([-60000, -20, -1, 0, 1, 20, 60000])
    wanted = np.logaddexp(0, x.astype(np.float64))
    np.testing.assert_allclose(run(graph, {"x": x})["y"].astype(np.float64), wanted, rtol=2e-3, atol=1e-3)


# -- masks that leave a query nothing to read: its row is zeros (erratum to Attention of opset 23)

NEVER = -np.inf
DEAD = np.float32([[0, 0, 1, 0, 0], [NEVER] * 5, [NEVER, 0, 0, NEVER, 0], [2, NEVER, NEVER, 0, NEVER]])
PADDED = np.float32([[NEVER, NEVER, 0, 0, 0]] * 4)  # with a causal order the first two queries read nothing


@pytest.mark.parametrize("attributes", ["", "<softcap = 3.0>", "<is_causal = 1>", "<is_causal = 1, softcap = 3.0>"])
@pytest.mark.parametrize("mask", [DEAD, DEAD == 0, PADDED, PADDED == 0], ids=["sum", "bool", "padding", "bool padding"])
@pytest.mark.parametrize("constant", [False, True])
def test_a_query_with_nothing_to_read_gets_zeros(attributes: str, mask: np.ndarray, constant: bool) -> None:
    kind = "bool" if mask.dtype == bool else "float"
    given = "" if constant else f", {kind}[4,5] m"
    graph = graph_of(f"""<ir_version: 10, opset_import: ["": 23]>
        {QKV}{given}) => (float[2,3,4,6] y) {{ y = Attention{attributes}(q, k, v, m) }}""")
    if constant:
        graph.put_initializer("m", mask)
    feed = {n: a for n, a in draw(graph).arrays.items() if n != "m"} | ({} if constant else {"m": mask})
    numbers = run(graph, feed)["y"]
    applied(graph, "decompose_attention")
    assert "Attention" not in ops(graph)
    np.testing.assert_allclose(run(graph, feed)["y"], numbers, rtol=1e-4, atol=1e-5)


def test_all_of_attention_at_once() -> None:
    graph = model_of(
        "g (float16[N,4,32] q, float16[N,5,16] k, float16[N,5,12] v, bool[N,1,4,5] m) => (float16[N,4,24] y) "
        "{ y = Attention<q_num_heads = 4, kv_num_heads = 2, is_causal = 1, softcap = 4.0, scale = 0.3>(q, k, v, m) }",
        24,
    )
    feed = dict(draw(graph).arrays)
    numbers = run(graph, feed)["y"]
    applied(graph, "decompose_attention")
    assert {"Attention"}.isdisjoint(ops(graph))
    np.testing.assert_allclose(run(graph, feed)["y"], numbers, rtol=1e-2, atol=1e-2)


def test_bodies() -> None:
    graph = graph_of("""<ir_version: 10, opset_import: ["": 20]>
        g (float[2,4] x, bool c) => (float[2,4] y) {
          y = If(c) <
            then_branch = t () => (float[2,4] o) { o = Gelu(x) },
            else_branch = e () => (float[2,4] p) { p = LayerNormalization(x, w) }
          >
        }""")
    graph.put_initializer("w", np.float32([1, 2, 3, 4]))
    x = np.float32([[1, 2, 3, 5], [-1, 0, 1, 7]])
    numbers = {flag: run(graph, {"x": x, "c": np.array(flag)})["y"] for flag in (True, False)}
    applied(graph, "decompose_gelu,decompose_layer_norm")
    assert [len(body.nodes) for body in graph.bodies()] == [5, 8]
    for flag, wanted in numbers.items():
        np.testing.assert_allclose(run(graph, {"x": x, "c": np.array(flag)})["y"], wanted, rtol=1e-5, atol=1e-6)
    applied(graph, "fuse_gelu")
    assert [ops(body)[0] for body in graph.bodies()] == ["Gelu", "ReduceMean"]
    assert equal(run(graph, {"x": x, "c": np.array(True)})["y"], numbers[True])
