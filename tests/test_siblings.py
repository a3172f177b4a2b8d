"""MatMuls of one input become one where that leaves fewer nodes, and only where nothing else is touched."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from conftest import graph_of
from onnx import TensorProto, helper, numpy_helper
from rewriting import run

from graphtool.cases import model_of
from graphtool.graph import Graph, check
from graphtool.natives.merge_sibling_matmuls import apply
from graphtool.parity.feed import draw
from graphtool.parity.truth import judge_matches
from graphtool.rewrite import Catalog, apply_stage, parse_pipeline

CATALOG = Catalog()
QKV = """
g (float[2,5,8] x) => (float[2,5,8] q, float[2,5,4] k, float[2,5,4] v) <float[8,8] a, float[8,4] b, float[8,4] c> {
  q = MatMul(x, a) k = MatMul(x, b) v = MatMul(x, c)
}
"""


def ops_after(graph: Graph | str, opset: int = 17) -> list[str]:
    """Return the op types after the pass, with the numbers compared; a second run finds nothing."""
    graph = model_of(graph, opset) if isinstance(graph, str) else graph
    before = graph.copy()
    apply(graph, {})
    assert not check(graph)
    assert apply(graph, {}).matches == []
    feed = dict(draw(before).arrays)
    one, two = run(before, feed), run(graph, feed)
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=1e-4, atol=1e-5)
    return [node.op_type for node in graph.nodes]


def test_names() -> None:
    graph = model_of(QKV, 17)
    assert ops_after(graph) == ["MatMul", "Split"]
    product, split = graph.nodes
    assert product.name == "MatMul_0/product" and split.name == "MatMul_0"
    assert list(split.output) == ["q", "k", "v"] and len(graph.initializers) == 2


@pytest.mark.parametrize(
    "change,to,after",
    [
        ("k = MatMul(x, b)", "m = Neg(x) k = MatMul(m, b)", ["MatMul", "Neg", "MatMul", "MatMul"]),  # another input
        (
            "v = MatMul(x, c)",
            "v = MatMul(x, b)",
            ["MatMul"] * 3,
        ),  # one matrix twice: the pass for equal nodes is for it
        ("=> (float[2,5,8] q,", "=> (float[8,8] a, float[2,5,8] q,", ["MatMul"] * 3),  # a matrix that is an output
        ("float[8,4] c>", "float[1,8,4] c>", ["MatMul"] * 3),  # not a matrix
    ],
)
def test_what_is_no_sibling(change: str, to: str, after: list[str]) -> None:
    assert change in QKV
    assert ops_after(QKV.replace(change, to)) == after


@pytest.mark.parametrize(
    "nodes,weights,after",
    [
        # a bias that something between reads
        ("m = MatMul(x, a) q = Add(m, d) n = MatMul(x, b) k = Add(n, e) v = Neg(n)", "",
         ["MatMul", "Add", "MatMul", "Add", "Neg"]),
        ("m = MatMul(x, a) q = Add(m, d) n = MatMul(x, b) k = Add(n, e)", "", ["MatMul", "Add", "Split"]),
        ("m = MatMul(x, a) q = Add(m, m) n = MatMul(x, b) k = Add(n, e)", "", ["MatMul", "Add", "MatMul", "Add"]),
        # a summand of higher rank, or of another number for each row
        ("m = MatMul(x, a) q = Add(m, f) n = MatMul(x, b) k = Add(n, f)", ", float[1,1,4] f",
         ["MatMul", "Add", "MatMul", "Add"]),
        ("m = MatMul(x, a) q = Add(m, f) n = MatMul(x, b) k = Add(n, f)", ", float[4,4] f",
         ["MatMul", "Add", "MatMul", "Add"]),
        ("m = MatMul(x, a) q = Add(m, f) n = MatMul(x, b) k = Add(n, f)", ", float f", ["MatMul", "Add", "Split"]),
        # the one Add beside two others stays behind the Split
        ("m = MatMul(x, a) q = Add(m, d) k = MatMul(x, b) v = MatMul(x, f)", ", float[8,4] f",
         ["MatMul", "Split", "Add"]),
    ],
)  # fmt: skip
def test_biases(nodes: str, weights: str, after: list[str]) -> None:
    outputs = ", ".join(f"float[?,?] {name}" for name in "qkv" if f" {name} = " in f" {nodes}")
    text = (
        f"g (float[4,8] x) => ({outputs}) <float[8,4] a, float[8,4] b, float[4] d, float[4] e{weights}> {{ {nodes} }}"
    )
    if "[1,1,4]" in weights:
        text = text.replace("[?,?]", "[?,?,?]")
    assert ops_after(text) == after


@pytest.mark.parametrize(
    "gemms,after",
    [
        ("q = Gemm(x, a) k = Gemm(x, b) v = Gemm(x, c)", ["Gemm", "Split"]),
        ("q = Gemm(x, a) k = Gemm<alpha = 1.0>(x, b) v = Gemm<beta = 1.0, transA = 0>(x, c)", ["Gemm", "Split"]),
        ("q = Gemm(x, a) k = Gemm<alpha = 2.0>(x, b) v = Gemm(x, c)", ["Gemm"] * 3),
        ("q = Gemm(x, a) k = Gemm<transB = 1>(x, b) v = Gemm(x, c)", ["Gemm"] * 3),
        ("q = Gemm(x, a, d) k = Gemm(x, b, d) v = Gemm(x, c, e)", ["Gemm", "Split"]),
        ("q = Gemm(x, a, d) k = Gemm(x, b) v = Gemm(x, c, e)", ["Gemm"] * 3),
        ("q = Gemm(x, a, d) k = Gemm(x, b, f) v = Gemm(x, c, e)", ["Gemm"] * 3),
    ],
)
def test_gemms(gemms: str, after: list[str]) -> None:
    assert ops_after(
        "g (float[8,8] x) => (float[8,8] q, float[8,8] k, float[8,8] v) <float[8,8] a, float[8,8] b, float[8,8] c, "
        f"float[8] d, float e, float[8,1] f> {{ {gemms} }}"
    ) == after  # fmt: skip


def test_a_vector_as_input() -> None:
    assert ops_after(QKV.replace("float[2,5,8]", "float[8]").replace("float[2,5,4]", "float[4]")) == ["MatMul", "Split"]


def test_without_a_rank_there_is_no_axis_before_opset_11() -> None:
    graph = model_of(QKV, 9)
    graph.header.input[0].type.tensor_type.ClearField("shape")
    for info in graph.header.output:
        info.type.tensor_type.ClearField("shape")
    assert apply(graph, {}).matches == []


def test_a_type_without_a_numpy_form() -> None:
    graph = model_of(QKV.replace("float[", "bfloat16["), 17)
    found = apply(graph, {})
    assert [match.where for match in found.matches] == ["MatMul_0"]
    matrix = graph.constant(graph.nodes[0].input[1])
    assert matrix is not None and matrix.dtype == ml_dtypes.bfloat16 and matrix.shape == (8, 16)


def test_annotated_matrices_stay() -> None:
    graph = model_of(QKV, 17)
    graph.header.quantization_annotation.add(tensor_name="b")
    assert ops_after(graph) == ["MatMul"] * 3


def test_matrices_made_by_constants_and_those_that_callers_override() -> None:
    def graph(overridable: bool) -> Graph:
        rng = np.random.default_rng(1)
        made = [numpy_helper.from_array(rng.normal(size=(8, 4)).astype(np.float32), name) for name in "abc"]
        nodes = [helper.make_node("Constant", [], ["c"], "constant", value=made[2])]
        nodes += [helper.make_node("MatMul", ["x", name], [f"{name}_y"], name) for name in "abc"]
        inputs = ["x", "a"] if overridable else ["x"]
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [8, 4] if n == "a" else [3, 8]) for n in inputs]
        outputs = [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [3, 4]) for name in "abc"]
        proto = helper.make_graph(nodes, "g", infos, outputs, made[:2])
        return Graph(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))

    assert ops_after(graph(overridable=False)) == ["MatMul", "Split"]
    assert ops_after(graph(overridable=True)) == ["Constant", "MatMul", "MatMul", "MatMul"]


def test_bodies() -> None:
    graph = graph_of("""
        g (float[4,8] x, bool f) => (float[4,4] y) {
          z = MatMul(x, outer)
          y = If(f) <
            then_branch = t () => (float[4,4] o) {
              p = MatMul(x, outer) q = MatMul(x, b) r = MatMul(x, c) o = Sum(p, q, r) },
            else_branch = e () => (float[4,4] s) {
              p = MatMul(x, b) q = MatMul(x, c) r = MatMul(x, d) s = Sum(p, q, r) }
          >
        }""")
    rng = np.random.default_rng(2)
    for level, names in zip(graph.levels(), (["outer"], ["b", "c"], ["b", "c", "d"]), strict=True):
        for name in names:
            level.put_initializer(name, rng.normal(size=(8, 4)).astype(np.float32))
    before = graph.copy()
    assert len(apply(graph, {}).matches) == 1  # a matrix from outside is not this body's to change
    for flag in (True, False):
        feed = {"x": rng.normal(size=(4, 8)).astype(np.float32), "f": np.array(flag)}
        np.testing.assert_allclose(run(graph, feed)["y"], run(before, feed)["y"], rtol=1e-4)


def test_each_match_can_be_held_against_double_precision() -> None:
    graph = model_of(
        "g (float[5,8] x) => (float[5,8] q, float[5,8] k) <float[8,8] a, float[8,8] b, float[8] c, float[8] d> "
        "{ m = MatMul(x, a) q = Add(m, c) n = MatMul(x, b) k = Add(n, d) }", 17)  # fmt: skip
    before, feed = graph.copy(), dict(draw(graph).arrays)
    inner = apply_stage(graph, parse_pipeline("merge_sibling_matmuls", CATALOG)[0], CATALOG).inner[0]
    truths = judge_matches(inner, before, graph, feed)
    assert [truth.where for truth in truths] == ["MatMul_0"] and truths[0].ok and truths[0].allowed > 0
