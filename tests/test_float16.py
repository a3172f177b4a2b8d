"""float16_model: what becomes float16, what stays, and one Cast where the two meet."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import TensorProto, numpy_helper
from rewriting import lines

from graphtool.api import run
from graphtool.cases import model_of
from graphtool.errors import PassError, PromiseError
from graphtool.graph import Graph
from graphtool.graph.bodies import walk
from graphtool.natives._half_types import slots_of
from graphtool.parity.budget import parse_budget
from graphtool.step import Step

HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT
HEAD = '<ir_version: 8, opset_import: ["": 17]> '


def halved(text: str | Graph, params: str = "", opset: int = 17) -> tuple[Graph, Step]:
    """Convert a graph, check that it is valid and that a second conversion finds nothing to do."""
    graph = model_of(text, opset) if isinstance(text, str) else text
    state = run(graph, f"float16_model{params}")
    assert state.steps[0].status == "applied", state.steps[0].reason
    onnx.checker.check_model(state.graph.full_proto(), full_check=True)
    again = run(state.graph, f"float16_model{params}", checked=False).steps[0]
    assert again.status == "unmatched", again.matches
    return state.graph, state.steps[0]


def casts(graph: Graph) -> list[tuple[str, int]]:
    """Return what each Cast reads, bodies included, and the type it makes."""
    nodes = (node for node in walk(graph.proto.graph) if node.op_type == "Cast")
    return [(node.input[0], node.attribute[0].i) for node in nodes]


# -- where Casts go


HALVED = (
    "g (float[2,3] x) => (float[2,3] y, int64[2] n) { e = Exp(x) y = Neg(e) n = ArgMax<axis = 1, keepdims = 0>(y) }"
)


def test_its_own_budget_holds_where_the_user_gives_none() -> None:
    graph = model_of(HALVED, 17)
    large = {"x": np.array([[12, 1, 2], [3, 4, 5]], np.float32)}  # e^12 is no float16
    with pytest.raises(
        PromiseError, match=r"cosine 0 is below the budget 0.99 of the pass; --min cosine=X sets another"
    ):
        run(graph, "float16_model", feed=large)
    assert run(graph, "float16_model", feed={"x": large["x"] / 4}).ok
    looser = [parse_budget("cosine=-1", "min"), parse_budget("max_abs=1", "max")]
    with pytest.raises(PromiseError, match=r"max_abs inf is above the budget 1$"):
        run(graph, "float16_model", feed=large, budgets=looser)
    near = {"x": np.full((2, 3), 2.0, np.float32)}
    strict = [parse_budget("y:cosine=1", "min"), parse_budget("y:max_abs=0", "max")]
    with pytest.raises(PromiseError, match="max_abs"):
        run(graph, "float16_model", feed=near, budgets=strict)


def test_one_cast_for_all_readers_of_an_input_and_none_between_nodes() -> None:
    graph, _ = halved("g (float[2,4] x) => (float[2,4] y) { a = Exp(x) b = Neg(x) c = Add(a, b) y = Tanh(c) }")
    assert casts(graph) == [("x", HALF), ("y/float16", FULL)]


def test_an_output_that_is_read_inside_is_cast_once() -> None:
    graph, _ = halved("g (float[2,4] x) => (float[2,4] y, float[2,4] a) { a = Exp(x) b = Neg(a) y = Tanh(b) }")
    assert lines(graph)[1:3] == ["a/float16 = Exp(x/float16)", "b = Neg(a/float16)"]
    assert casts(graph)[1:] == [("y/float16", FULL), ("a/float16", FULL)]


def test_casts_that_were_there_go_where_they_do_nothing_any_more() -> None:
    text = """g (float[2,4] x) => (float[2,4] y) {
      h = Cast<to=10>(x)  f = Cast<to=1>(h)  a = Exp(f)  i = Cast<to=10>(a)  j = Cast<to=1>(i)  y = Neg(j) }"""
    graph, _ = halved(text)
    assert lines(graph) == ["h = Cast<to=10>(x)", "a = Exp(h)", "y/float16 = Neg(a)", "y = Cast<to=1>(y/float16)"]


def test_what_only_moves_numbers_between_float32_stays() -> None:
    text = """g (float[2,4] x) => (float[4,2] y, float[2,4] z) {
      s = Softmax(x) r = Identity(s) q = Softmax<axis=0>(r) y = Transpose<perm=[1,0]>(q) i = Identity(s) z = Neg(i) }"""
    graph, step = halved(text, ":block=Softmax")
    assert [match.where for match in step.matches] == ["Identity_4", "Neg_5"]
    assert casts(graph) == [("s", HALF), ("z/float16", FULL)]


def test_a_cast_of_integers_is_one_to_float16_only_where_that_is_read() -> None:
    text = """g (int64[2,4] i) => (float[2,4] y, float[2,4] z) {
      a = Cast<to=1>(i)  y = Softmax(a)  b = Cast<to=1>(i)  z = Exp(b) }"""
    graph, _ = halved(text, ":block=Softmax")
    assert casts(graph) == [("i", FULL), ("i", HALF), ("z/float16", FULL)]


# -- constants


def test_a_weight_of_both_kinds_has_two_copies() -> None:
    text = """g (float[2,4] x) => (float[2,4] y, float[2,4] z) <float[4] w = {1, 2, 3, 4}> {
      a = Mul(x, w)  y = Neg(a)  b = Pow(x, w)  z = Softmax(b) }"""
    graph, _ = halved(text, ":block=Pow")
    types = {name: tensor.data_type for name, tensor in graph.initializers.items()}
    assert types == {"w": FULL, "w/float16": HALF}


def test_constants_in_nodes_and_fills() -> None:
    graph = graph_of(
        HEAD
        + """g (float[2,4] x) => (float[2,4] y) <int64[1] n = {4}> { c = Constant<value_float = 0.5>()
        d = Constant<value = float[2,1] {1, 2}>()  z = ConstantOfShape(n)  o = ConstantOfShape<value = float[1] {2}>(n)
        a = Mul(x, c)  b = Mul(a, d)  e = Add(b, z)  y = Mul(e, o) }"""
    )
    found, _ = halved(graph)
    tensors = [a.t for node in found.nodes for a in node.attribute if a.type == a.TENSOR]
    assert [tensor.data_type for tensor in tensors] == [HALF] * 4
    assert sorted(float(numpy_helper.to_array(tensor).ravel()[0]) for tensor in tensors) == [0.0, 0.5, 1.0, 2.0]


def test_large_weights_and_their_notes_survive() -> None:
    graph = model_of("g (float[2,40] x) => (float[2,40] y) <float[40,40] w> { y = MatMul(x, w) }", 17)
    graph.header.initializer[0].doc_string = "note"
    before = graph.constant("w")
    found, _ = halved(Graph.from_proto(graph.full_proto()))
    after = found.constant("w")
    assert before is not None and after is not None and np.array_equal(after, before.astype(np.float16))
    assert found.header.initializer[0].doc_string == "note"


def test_the_default_of_an_input_is_no_constant() -> None:
    graph = graph_of(
        HEAD + "g (float[2,4] x, float[4] w = {1, 2, 3, 4}) => (float[2,4] y) { a = Mul(x, w) y = Neg(a) }"
    )
    kept, _ = halved(graph)
    assert kept.initializers["w"].data_type == FULL and casts(kept)[:2] == [("x", HALF), ("w", HALF)]
    changed, _ = halved(graph, ":keep_io=false")
    assert changed.initializers["w"].data_type == HALF and casts(changed) == []


LARGE = "g (float[2,2] x) => (float[2,2] y) <float[2] w = {{{values}}}> {{ [big] a = Mul(x, w) y = Tanh(a) }}"


@pytest.mark.parametrize("values", ["1, 65520", "-1e9, 1", "3e38, 2"])
def test_a_number_that_float16_does_not_hold_is_refused(values: str) -> None:
    with pytest.raises(
        PassError, match=r"float16_model: constant 'w' has 1 of 2 values beyond 65504, the largest number"
    ):
        run(model_of(LARGE.format(values=values), 17), "float16_model")


def test_numbers_that_round_to_the_largest_are_held() -> None:
    graph, step = halved(LARGE.format(values="65519, -65504"))
    assert step.misses == () and graph.constant("w").tolist() == [65504, -65504]  # type: ignore[union-attr]


def test_large_numbers_are_clamped_or_their_reader_stays() -> None:
    clamped, _ = halved(LARGE.format(values="1e9, -1e9"), ":overflow=clamp")
    assert clamped.constant("w").tolist() == [65504, -65504]  # type: ignore[union-attr]
    kept, step = halved(LARGE.format(values="1e9, -1e9"), ":overflow=keep")
    assert [match.where for match in step.matches] == ["Tanh_1"] and kept.initializers["w"].data_type == FULL


def test_an_infinity_stays_one() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { a = Where(m, x, i) y = Softmax(a) }", 17)
    graph.put_initializer("m", np.array([True, False]))
    graph.put_initializer("i", np.array([-np.inf, np.nan], np.float32))
    graph.reindex()
    found = run(graph, "float16_model", checked=False).graph
    values = found.constant("i")
    assert values is not None and values.dtype == np.float16 and values[0] == -np.inf and np.isnan(values[1])


def test_numbers_that_vanish_are_counted() -> None:
    _, step = halved(LARGE.format(values="1e-9, 1"))
    assert [(miss.where, miss.reason) for miss in step.misses] == [
        ("w", "1 of 2 values are too small for float16 and become 0")
    ]


def test_a_guard_of_a_division_does_not_vanish() -> None:
    """SwinV2 divides by norms that are clipped to 1e-12 or more: zero by zero, where that becomes 0."""
    graph = model_of(
        "g (float[2,4] x) => (float[2,4] y, float[2,4] z) "
        "<float k = {1e-12}, float[1] m = {1e-12}, float f = {1e-12}> {"
        "  n = Abs(x)  c = Clip(n, k)  d = Div(x, c)  e = Add(d, m)  y = Max(e, k)  z = Mul(x, f) }",
        17,
    )
    state = run(graph, "float16_model", feed={"x": np.array([[0, 1, -2, 3], [4, 5, 6, 0]], np.float32)}, checked=False)
    values = {name: state.graph.constant(name) for name in "kmf"}
    assert all(value is not None and value.dtype == np.float16 for value in values.values())
    assert [float(value.flat[0]) for value in values.values() if value is not None] == [2.0**-24, 2.0**-24, 0]
    assert [miss.reason for miss in state.steps[0].misses] == [
        "1e-12 is too small for float16 and becomes 6e-08",
        "1e-12 is too small for float16 and becomes 6e-08",
        "1 of 1 values are too small for float16 and become 0",
    ]


# -- what stays


@pytest.mark.parametrize(
    "text,op,inputs,outputs",
    [
        ('y = Resize<mode="linear">(x, r, s)', "Resize", (0,), (0,)),
        ("y = Conv(x, r)", "Conv", (0, 1), (0,)),
        ("y, m, v = LayerNormalization(x, r)", "LayerNormalization", (0, 1), (0,)),
        ("y = Pow(x, r)", "Pow", (0, 1), (0,)),
        ("y = QuantizeLinear(x, r)", "QuantizeLinear", None, None),
        ("y = NonMaxSuppression(x, r)", "NonMaxSuppression", None, None),
        ("y = RandomNormalLike(x)", "RandomNormalLike", None, None),
        ("y = d.F(x)", "F", None, None),
    ],
)
def test_types_by_schema(text: str, op: str, inputs: tuple[int, ...] | None, outputs: tuple[int, ...] | None) -> None:
    node = onnx.parser.parse_node(text)
    found = slots_of(node, 17, range(len(node.input)), range(len(node.output)))
    assert node.op_type == op
    assert (None if found is None else (found.inputs, found.outputs)) == (None if inputs is None else (inputs, outputs))


def test_blocked_by_name() -> None:
    text = "g (float[2,4] x) => (float[2,4] y) { [head_a] a = Exp(x) [head_b] b = Neg(a) [tail] y = Tanh(b) }"
    _, step = halved(text, ":block_nodes=head_*")
    assert [match.where for match in step.matches] == ["tail"]


def test_an_unknown_operator_to_block() -> None:
    with pytest.raises(PassError, match="float16_model: no operator 'Softmacks'"):
        run(model_of("g (float[2] x) => (float[2] y) { y = Softmax(x) }", 17), "float16_model:block=Softmacks")


def test_sequences_keep_their_type() -> None:
    graph = graph_of(HEAD + """g (float[2] x) => (float[2] y) <int64 i = {0}> {
      a = Exp(x)  q = SequenceConstruct(a, a)  b = SequenceAt(q, i)  y = Neg(b) }""")  # fmt: skip
    found, step = halved(graph)
    assert {match.where for match in step.matches} == {"Exp(a)", "Neg(y)"}
    assert ("a", FULL) in casts(found) and ("b", HALF) in casts(found)


def test_inputs_and_outputs_of_other_types_are_left_alone() -> None:
    graph, _ = halved(
        """g (float[2,4] x, double[2] d, int64[2] i) => (float[2,4] y, double[2] e, int64[2] j) {
           y = Exp(x)  e = Neg(d)  j = Neg(i) }""",
        ":keep_io=false",
    )
    assert [value.type_text() for value in (*graph.inputs, *graph.outputs)] == [
        "float16[2,4]", "float64[2]", "int64[2]", "float16[2,4]", "float64[2]", "int64[2]"
    ]  # fmt: skip


def test_a_weight_that_is_an_output_keeps_its_type() -> None:
    graph, _ = halved("g (float[2,2] x) => (float[2,2] y, float[2] w) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    assert graph.initializers["w"].data_type == FULL and graph.outputs[1].dtype == FULL


# -- bodies

BRANCHES = """g (float[2,4] x, bool c) => (float[2,4] y) <float[4] w = {1, 2, 3, 4}> { k = Exp(x)  z = If(c) <
  then_branch = a () => (float[2,4] t) <float[4] q = {1, 2, 3, 4}> { u = Softmax(k) s = Add(u, q) t = Add(s, w) },
  else_branch = b () => (float[2,4] e) { v = Constant<value = float {2}>() f = Mul(k, v) e = Softmax(f) }>
  y = Neg(z) }"""
LOOP = """g (float[3] x) => (float[3] y, float[4,3] z) <int64 n = {4}, bool c = {1}, float[3] w = {0.1, 0.2, 0.3}> {
  p, z = Loop(n, c, x) <body = b (int64 i, bool k, float[3] s) => (bool l, float[3] t, float[3] o) {
    l = Identity(k)  f = Cast<to=1>(i)  a = Add(s, f)  t = Mul(a, w)  o = Tanh(t) }>  y = Neg(p) }"""
SCAN = """g (float[3] x, float[5,3] q) => (float[3] y, float[5,3] z) <float[3] w = {0.1, 0.2, 0.3}> {
  p, z = Scan<num_scan_inputs = 1, body = b (float[3] s, float[3] e) => (float[3] t, float[3] o) {
    a = Add(s, e)  t = Mul(a, w)  o = Tanh(t) }>(x, q)  y = Neg(p) }"""


@pytest.mark.parametrize("text", [BRANCHES, LOOP, SCAN], ids=["If", "Loop", "Scan"])
@pytest.mark.parametrize("params", ["", ":keep_io=false", ":block=Softmax+Tanh", ":block_nodes=Add(*"])
def test_bodies_are_converted_with_what_holds_them(text: str, params: str) -> None:
    """Both branches of an If, states of a Loop and slices of a Scan have one type; onnxruntime takes the result."""
    graph, step = halved(graph_of(HEAD + text), params)
    holder = next(node for node in graph.nodes if node.op_type in ("If", "Loop", "Scan"))
    value = graph.value(holder.output[0])
    assert value is not None and value.dtype == HALF and len(step.matches) > 1


@pytest.mark.parametrize("text,op", [(BRANCHES, "If"), (LOOP, "Loop"), (SCAN, "Scan")])
def test_a_blocked_holder_keeps_all_that_is_in_it(text: str, op: str) -> None:
    graph = graph_of(HEAD + text)
    found, _ = halved(graph, f":block={op}")
    inner = [node for body in found.body_graphs() for node in walk(body)]
    assert all(node.op_type != "Cast" or node.attribute[0].i != HALF for node in inner)
    tensors = [tensor for body in found.body_graphs() for tensor in body.initializer]
    assert all(tensor.data_type == FULL for tensor in tensors)


def test_the_cast_of_a_captured_value_stands_outside() -> None:
    text = BRANCHES.replace("k = Exp(x)", "k = Softmax<axis=0>(x)")
    found, _ = halved(graph_of(HEAD + text), ":block_nodes=Softmax(k)")
    inner = [node.op_type for body in found.body_graphs() for node in body.node]
    assert "Cast" not in inner and ("k", HALF) in casts(found)


def test_nothing_but_float16_is_no_match() -> None:
    graph = model_of("g (float16[2] x) => (float16[2] y) { y = Exp(x) }", 17)
    assert run(graph, "float16_model").steps[0].status == "unmatched"
