"""Constant folding: what is folded and what is not, what the model may grow by, and what a child process may die of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import TensorProto, helper, numpy_helper
from rewriting import apply, lines, names, places, reasons, run

from graphtool.cases import model_of
from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.growth import file_bytes
from graphtool.natives import _folding, _kernels
from graphtool.rewrite import Applied, Catalog

CATALOG = Catalog()
FOLD = CATALOG.get("fold_constants")


def fold(graph: Graph | str, opset: int = 17, **params: object) -> tuple[Graph, Applied]:
    """Fold; what is left is left in a second application too, also to the written model."""
    graph, found = apply(FOLD, graph, opset, **params)
    for again in (graph, Graph.from_proto(graph.full_proto())):
        assert places(apply(FOLD, again, opset, **params)[1]) == []
    return graph, found


def same(text: str, opset: int = 17, **params: object) -> Graph:
    """Fold, and hold the outputs to those before."""
    before = model_of(text, opset)
    was = run(before)
    graph, _ = fold(before.copy(), opset, **params)
    now = run(graph)
    assert all(was[name].tobytes() == now[name].tobytes() for name in was)
    return graph


# -- what is folded


@pytest.mark.parametrize("opset,node", [(6, "Dropout<is_test=1>(w)"), (7, "Dropout(w)"), (17, "Dropout(w, , f)")])
def test_dropout_at_inference(opset: int, node: str) -> None:
    text = f"g (float[2] x) => (float[2] y) <float[2] w = {{1, 2}}, bool f = {{0}}> {{ a = {node} y = Mul(x, a) }}"
    assert lines(fold(text, opset)[0]) == ["y = Mul(x, a)"]


@pytest.mark.parametrize(
    "opset,node", [(13, "a, m, c, d, e = BatchNormalization"), (17, "a, m, c = BatchNormalization<training_mode=1>")]
)
def test_a_weight_is_standardized_by_its_own_statistics(opset: int, node: str) -> None:
    text = (
        "g (float[1,2,2] x) => (float[1,2,2] y) <float[1,2,2] w = {1, 2, 3, 5}, float[2] s = {1, 2}> "
        f"{{ {node}(w, s, s, s, s) y = Mul(x, a) }}"
    )
    assert lines(same(text, opset)) == ["y = Mul(x, a)"]


@pytest.mark.parametrize(
    "opset,node",
    [
        (6, "a = Dropout(w)"),
        (17, "a = Dropout(w, r, t)"),
        (17, "a = RandomUniformLike(w)"),
        (17, "a = Bernoulli(w)"),
        (17, "t2 = Multinomial(w) a = Cast<to=1>(t2)"),
        (17, "q = SequenceConstruct(w, w) a = SequenceAt(q, z)"),
        (17, "q = Optional(w) a = OptionalGetElement(q)"),
        (17, "a = my.dom.Exp(w)"),
        (17, "a = Exp(b)"),
    ],
)  # fmt: skip
def test_what_is_no_function_of_constants_stays(opset: int, node: str) -> None:
    text = (
        f"g (float[1,2] x, float[1,2] b) => (float[1,2] y) <float[1,2] w = {{1, 2}}, float[2] s = {{1, 1}}, "
        f"float r = {{0.5}}, bool t = {{1}}, int64 z = {{0}}> {{ {node} y = Mul(x, a) }}"
    )
    graph = model_of(text, opset)
    graph.header.initializer.append(numpy_helper.from_array(np.ones((1, 2), np.float32), "b"))  # b has a default
    before = graph.proto.SerializeToString(deterministic=True)
    graph, found = fold(Graph.from_proto(graph.full_proto()), opset)
    assert found.matches == [] and graph.full_proto().SerializeToString(deterministic=True) == before


def test_a_chain_through_both_machines() -> None:
    graph = same(
        """g (float[3,2] x) => (float[3,2] y, float[2,3] z) <float[2,3] w = {1, -2, 3, -4, 5, -6}, int64[1] a = {1}> {
        [p] n = Neg(w) [q] e = Exp(n) [r] t = Transpose(e) [s] m = ReduceSum<keepdims=1>(e, a) [u] k = Div(e, m)
        [v] y = Mul(x, t) [o] l = Log(k) [i] z = Identity(l) }"""
    )
    assert [node.op_type for node in graph.nodes] == ["Mul", "Constant"] and names(graph) == ["v", "i"]
    assert list(graph.initializers) == ["t"], "what only folded nodes read is gone"


def test_special_numbers_are_kept_as_they_are() -> None:
    graph = same(
        """g (float[4] x) => (float[4] y) <float[4] a = {0, 1, -1, 0}, float[4] b = {0, 0, 0, -1}> {
        q = Div(a, b) m = Mul(a, b) r = Div(b, m) s = Sum(q, r) n = IsNaN(x) y = Where(n, x, s) }"""
    )
    assert [node.op_type for node in graph.nodes] == ["IsNaN", "Where"]


def test_shared_weights_and_captures() -> None:
    graph = same(
        """g (float[2] x, bool c) => (float[2] y, float[2] z) <float[2] w = {4, 9}> { r = Sqrt(w) z = Add(x, w)
        y = If(c) <then_branch = a () => (float[2] p) { q = Neg(r) p = Mul(q, x) },
                   else_branch = b () => (float[2] p2) { q2 = Sqrt(w) p2 = Neg(q2) }> }"""
    )
    then, otherwise = (attribute.g for attribute in sorted(graph.nodes[1].attribute, key=lambda a: a.name)[::-1])
    assert [node.op_type for node in graph.nodes] == ["Add", "If"]
    assert [node.op_type for node in then.node] == ["Mul"] and [t.name for t in then.initializer] == ["q"]
    assert [node.op_type for node in otherwise.node] == ["Constant"], "a body's output is made by a node"
    assert list(graph.initializers) == ["w"]


def test_constants_of_the_main_graph_go_when_a_body_was_their_last_reader() -> None:
    graph = same(
        """g (float[2] x, bool c) => (float[2] y) <float[2] w = {4, 9}> { k = Constant<value = float[2] {1, 2}>()
        y = If(c) <then_branch = a () => (float[2] p) { q = Add(w, k) p = Mul(q, x) },
                   else_branch = b () => (float[2] p2) { p2 = Neg(x) }> }"""
    )
    assert [node.op_type for node in graph.nodes] == ["If"] and list(graph.initializers) == []


def test_the_default_of_an_input_is_no_constant() -> None:
    text = "g (float[2] x, float[2] b = {1, 2}) => (float[2] y) { n = Neg(b) y = Mul(x, n) }"
    assert lines(fold(graph_of(text))[0]) == ["n = Neg(b)", "y = Mul(x, n)"]


def test_before_ir_4_an_initializer_is_an_input_and_constant() -> None:
    text = """<ir_version: 3, opset_import: ["": 8]>
    g (float[2] x, float[2] b = {1, 2}, bool c) => (float[2] y) { n = Neg(b) y = If(c) <
      then_branch = a () => (float[2] p) { q = Exp(n) p = Mul(x, q) },
      else_branch = e () => (float[2] r) { r = Neg(x) }> }"""
    graph, _ = fold(graph_of(text), 8)
    (node,) = graph.nodes
    then = next(a.g for a in node.attribute if a.name == "then_branch")
    assert [inner.op_type for inner in then.node] == ["Constant", "Mul"] and not then.initializer
    assert [info.name for info in graph.header.input] == ["x", "c"]


def test_documentation_and_names_move_to_the_constant() -> None:
    graph = model_of("g (float[2] x) => (float[2] y, float[2] z) <float[2] w> { y = Neg(x) [here] z = Exp(w) }", 21)
    graph.nodes[1].doc_string = "why"
    graph.nodes[1].metadata_props.add(key="layer", value="7")
    graph, found = fold(graph, 21)
    node = graph.nodes[1]
    assert (node.op_type, node.name, node.doc_string) == ("Constant", "here", "why") and places(found) == ["here"]
    assert [(entry.key, entry.value) for entry in node.metadata_props] == [("layer", "7")]


def test_an_annotated_scale_stays() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) <float s = {0.5}> { t = Neg(s) y = Mul(x, t) }", 17)
    note = graph.header.quantization_annotation.add(tensor_name="y")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    assert sorted(fold(graph)[0].initializers) == ["s", "t"]


@pytest.mark.parametrize(
    "dtype,values",
    [
        (TensorProto.INT4, [1, -2, 3, -4, 5, -6]),
        (TensorProto.BFLOAT16, [1, 2, 3, 4, 5, 6]),
        (TensorProto.FLOAT8E4M3FN, [1, 2, 3, 4, 5, 6]),
        (TensorProto.STRING, [b"\xff", b"b", "ü".encode(), b"", b"e", b"f"]),
    ],
    ids=["int4", "bfloat16", "float8", "text"],
)
def test_types_without_a_numpy_form_are_moved_as_they_are(dtype: int, values: list[object]) -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], "n"),
        helper.make_node("Shape", ["t"], ["y"], "m"),
        helper.make_node("Identity", ["t"], ["z"], "o"),
    ]
    weight = helper.make_tensor("w", dtype, [2, 3], values)
    outputs = [helper.make_tensor_value_info("y", 7, [2]), helper.make_tensor_value_info("z", dtype, [3, 2])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [], outputs, [weight]), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    graph, _ = fold(Graph.from_proto(model), 21)
    made = {node.output[0]: node.attribute[0].t for node in graph.nodes}
    expected = helper.make_tensor("", dtype, [3, 2], [values[i] for i in (0, 3, 1, 4, 2, 5)])
    found = made["z"]
    if dtype == TensorProto.STRING:
        assert list(found.string_data) == list(expected.string_data)
    else:
        assert np.array_equal(numpy_helper.to_array(found), numpy_helper.to_array(expected))
    assert (found.data_type, list(found.dims)) == (dtype, [3, 2]) and list(numpy_helper.to_array(made["y"])) == [3, 2]


def test_a_weight_that_is_quantized_and_back_keeps_its_second_half() -> None:
    graph = same(
        """g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}, float s = {0.5}, int8 z = {0}> {
        q = QuantizeLinear(w, s, z) d = DequantizeLinear(q, s, z) y = MatMul(x, d) }"""
    )
    assert [node.op_type for node in graph.nodes] == ["DequantizeLinear", "MatMul"]
    assert graph.initializers["q"].data_type == TensorProto.INT8


def test_float16_moves_but_does_not_round() -> None:
    text = """g (float16[2] x) => (float16[2] y, float[2] z)
    <float16[2] w = {1, 2}, float[2] v = {3, 4}, int64[1] i = {1}, int64[1] j = {3}> {
    r = Concat<axis=0>(w, w) s = Slice(r, i, j) n = Neg(s) h = Cast<to=10>(v)
    a = Add(x, n) y = Mul(a, h) z = Cast<to=1>(w) }"""
    graph, found = fold(text)
    assert [node.op_type for node in graph.nodes] == ["Neg", "Cast", "Add", "Mul", "Constant"]
    assert {reason.split(",")[0] for reason in reasons(found)} == {
        "onnxruntime computes float16 in float32 and leaves roundings out"
    }
    graph, _ = apply(CATALOG.get("fold_constants_float16"), text)
    assert [node.op_type for node in graph.nodes] == ["Add", "Mul", "Constant"]


# -- growth


def growing(count: int, size: int) -> Graph:
    """Return a graph of ``count`` constants that each could be folded to ``size`` floats."""
    nodes = " ".join(f"c{k} = ConstantOfShape(n) d{k} = Add(c{k}, o) y{k} = Mul(x, d{k})" for k in range(count))
    outputs = ", ".join(f"float[{size}] y{k}" for k in range(count))
    return model_of(f"g (float[{size}] x) => ({outputs}) <int64[1] n = {{{size}}}, float o = {{1}}> {{ {nodes} }}", 17)


@pytest.mark.parametrize("slack,folded", [(100_000, True), (10_000, False), (0, False)])
def test_all_that_grows_fits_or_nothing_that_grows_is_folded(slack: int, folded: bool) -> None:
    graph = growing(10, 1000)
    before = file_bytes(graph)
    graph, found = fold(graph, slack=slack)
    assert bool(found.matches) == folded
    assert file_bytes(graph) <= 1.1 * before + slack
    assert all("grow the model" in reason for reason in reasons(found))


def test_what_is_too_large_by_itself_does_not_hold_up_the_rest() -> None:
    graph = model_of(
        """g (float[400,400] x, float[9] v) => (float[400,400] y, float[9] u)
        <int64[2] n = {400, 400}, int64[1] m = {9}, float o = {1}> {
        z = ConstantOfShape(n) k = Add(z, o) y = Mul(x, k) c = ConstantOfShape(m) d = Add(c, o) u = Mul(v, d) }""",
        17,
    )
    graph, found = fold(graph)
    assert [node.op_type for node in graph.nodes] == ["ConstantOfShape", "Add", "Mul", "Mul"]
    assert places(found) == ["ConstantOfShape_3", "Add_4"] and len(reasons(found)) == 2


@pytest.mark.parametrize("weights,folded", [(8, ["v"]), (3, ["v"]), (2, ["c0", "c1", "v"])])
def test_what_is_small_is_folded_beside_weights_that_are_far_too_much(weights: int, folded: list[str]) -> None:
    nodes = " ".join(f"c{k} = ConstantOfShape(n) y{k} = Mul(x, c{k})" for k in range(weights))
    outputs = "".join(f", float[7000] y{k}" for k in range(weights))
    text = f"""g (float[7000] x, float[99] p) => (float[99] q{outputs}) <int64[1] n = {{7000}}, int64[1] m = {{99}}> {{
    v = ConstantOfShape(m) q = Mul(p, v) {nodes} }}"""
    graph, found = fold(model_of(text, 17))
    assert sorted(graph.initializers.keys() - {"n", "m"}) == folded
    assert len(found.misses) == weights + 1 - len(folded)
    assert not fold(graph)[1].matches


@pytest.mark.parametrize("slack,folded", [(70_000, 1), (83_000, 0), (90_000, 3)])
def test_what_is_small_stays_where_the_rest_would_fit_the_next_time(slack: int, folded: int) -> None:
    graph = model_of(
        """g (float[9000] x, float[3000] p) => (float[9000] y, float[9000] z, float[3000] q)
        <int64[1] n = {9000}, int64[1] m = {3000}, float o = {1}> {
        v = ConstantOfShape(m) q = Mul(p, v) a = ConstantOfShape(n) y = Mul(x, a) b = Sub(a, o) z = Mul(x, b) }""",
        17,
    )
    assert len(fold(graph, slack=slack, growth=0)[1].matches) == folded
    again = graph.copy()  # as another process would
    assert not fold(again, slack=slack, growth=0)[1].matches


def test_what_other_passes_freed_may_be_used() -> None:
    graph = growing(3, 9000)
    graph.put_initializer("unread", np.zeros(30_000, np.float32))
    assert not fold(graph)[1].matches
    graph.drop_initializers(["unread"])
    assert len(fold(graph)[1].matches) == 6


def test_a_large_value_in_between_is_no_growth() -> None:
    graph = same(
        """g (float x) => (float y) <int64[2] n = {600, 600}, float o = {1}> {
        z = ConstantOfShape(n) k = Add(z, o) r = ReduceSum<keepdims=0>(k) y = Mul(x, r) }""",
        slack=0,
        growth=0,
    )
    assert [node.op_type for node in graph.nodes] == ["Mul"]


def test_a_weight_that_pays_for_another_of_its_size() -> None:
    text = """g (float[64,64] x) => (float[64,64] y%s) <float[64,64] w> {
    t = Transpose(w) e = Exp(t) y = MatMul(x, e) %s }"""
    graph, _ = fold(text % ("", ""), slack=0, growth=0)
    assert [node.op_type for node in graph.nodes] == ["MatMul"] and list(graph.initializers) == ["e"]
    graph, found = fold(text % (", float[64,64] z", "z = MatMul(x, w)"), slack=0, growth=0)
    assert [node.op_type for node in graph.nodes] == ["Transpose", "Exp", "MatMul", "MatMul"] and not found.matches


def test_growth_without_a_limit() -> None:
    graph, _ = fold(growing(3, 100_000), growth=float("inf"))
    assert [node.op_type for node in graph.nodes] == ["Mul"] * 3


def test_one_budget_for_all_applications_in_a_pipeline() -> None:
    graph = growing(1, 1000)
    apply(FOLD, graph, slack=5000)
    node = helper.make_node("Expand", ["o", "n2"], ["e"], "n1")
    graph.put_initializer("n2", np.array([1000]))
    graph.append_node(node)
    graph.append_node(helper.make_node("Mul", ["y0", "e"], ["m"], "n3"))
    graph.header.output.append(helper.make_tensor_value_info("m", 1, [1000]))
    graph.put_initializer("o", np.array(1, np.float32))
    assert places(apply(FOLD, graph, slack=5000)[1]) == []
    assert places(apply(FOLD, Graph.from_proto(graph.full_proto()), slack=5000)[1]) == ["n1"]


def test_results_of_more_than_the_most_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folding, "_MOST", 1 << 20)
    text = """g (float x) => (float y) <int64[2] n = {600, 600}, float o = {1}> {
    z = ConstantOfShape(n) k = Add(z, o) r = ReduceSum<keepdims=0>(k) y = Mul(x, r) }"""
    graph, found = fold(text)
    assert [node.op_type for node in graph.nodes] == ["ConstantOfShape", "Add", "ReduceSum", "Mul"]
    assert reasons(found)[0] == "its result has more than 256 MiB"


def test_weights_that_nothing_folds_are_not_read(tmp_path: Path) -> None:
    model = model_of(
        "g (float[64,64] x) => (float[64,64] y) <float[64,64] w, float[2] a> { y = MatMul(x, w) z = Neg(a) }", 17
    )
    onnx.save(
        model.full_proto(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=100
    )
    graph, found = apply(FOLD, Graph.load(tmp_path / "m.onnx"))
    assert len(found.matches) == 1 and not graph.weights._mapped


@pytest.mark.parametrize("params", [{"growth": -1.0}, {"growth": float("nan")}, {"slack": -1}, {"seconds": 0}])
def test_parameters_that_make_no_sense(params: dict[str, object]) -> None:
    with pytest.raises(PassError, match="growth and slack are at least 0, and seconds at least 1"):
        apply(FOLD, growing(1, 2), **params)


# -- the child process

BOTH = """g (float[2] x, uint32[2] u) => (float[2] y, uint32[2] z, float[2] v)
    <float[2] w = {1, 2}, uint32[2] a = {3, 4}> { [exp] e = Exp(w) [log] l = Log(e) y = Mul(x, l)
    [max] m = ReduceMax(a) z = Add(u, m) [sin] s = Sin(w) v = Mul(x, s) }"""
PATCH = """
import sys, os, time; sys.path.insert(0, sys.argv[1])
import graphtool.natives._worker as worker
real = worker._session
def session(model):
    if b"Sin" in model: {fault}
    return real(model)
worker._session = session
worker.main(sys.argv[2])
"""


def test_a_node_that_onnxruntime_lacks_does_not_hold_up_the_others() -> None:
    graph, found = fold(BOTH)
    assert [node.op_type for node in graph.nodes] == ["Mul", "ReduceMax", "Add", "Mul"]
    assert sorted(places(found)) == ["exp", "log", "sin"]
    (reason,) = reasons(found)
    assert reason.startswith("onnxruntime cannot compute it: Could not find an implementation for ReduceMax")


@pytest.mark.parametrize(
    "fault,reason",
    [
        ("os.abort()", "onnxruntime crashed (SIGABRT)"),
        ("os.kill(os.getpid(), 11)", "onnxruntime crashed (SIGSEGV)"),
        ("time.sleep(60)", "onnxruntime was stopped after 6 seconds"),
        ("bytearray(1 << 50)", "onnxruntime cannot compute it: "),
        ("raise ValueError('no\\x1b')", r"onnxruntime cannot compute it: no\x1b"),
    ],
)  # fmt: skip
def test_a_node_that_kills_the_child_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    monkeypatch.setattr(_kernels, "_SCRIPT", PATCH.format(fault=fault))
    graph, found = apply(FOLD, BOTH, seconds=6)  # a child starts in a third of one, unless the machine is busy
    assert [node.op_type for node in graph.nodes] == ["Mul", "ReduceMax", "Add", "Sin", "Mul"]
    assert sorted(places(found)) == ["exp", "log"]
    assert dict(zip([miss.where for miss in found.misses], reasons(found), strict=True))["sin"] == reason
    monkeypatch.setattr(_kernels, "_SCRIPT", "raise SystemExit('not asked again')")
    assert apply(FOLD, graph)[1].matches == []


def test_a_child_that_never_works_leaves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "_SCRIPT", "raise SystemExit('no luck')")
    graph, found = apply(FOLD, BOTH)
    assert len(graph.nodes) == 7 and not found.matches
    assert set(reasons(found)) == {"onnxruntime cannot compute it: no luck"}


def test_many_nodes_that_kill_the_child_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "_SCRIPT", PATCH.format(fault="os.abort()"))
    nodes = " ".join(f"s{k} = Sin(w) y{k} = Mul(x, s{k})" for k in range(8))
    outputs = ", ".join(f"float[2] y{k}" for k in range(8))
    _, found = apply(FOLD, f"g (float[2] x) => ({outputs}) <float[2] w = {{1, 2}}> {{ {nodes} }}")
    assert not found.matches and set(reasons(found)) == {"onnxruntime crashed (SIGABRT)"}


def test_constants_too_large_for_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "_LARGEST", 4)
    _, found = apply(FOLD, BOTH)
    assert not found.matches and "its constants and those folded with it have more than" in reasons(found)[0]


def test_no_child_is_asked_where_numpy_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "_SCRIPT", "raise SystemExit('asked')")
    text = "g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { n = Neg(w) m = Mul(n, n) y = Mul(x, m) }"
    assert lines(fold(text)[0]) == ["y = Mul(x, m)"]
