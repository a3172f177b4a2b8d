"""Equal nodes become one; what only looks equal, or may not be joined, stays."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from rewriting import lines, run
from work import work

from graphtool import api
from graphtool.cases import model_of
from graphtool.graph import Graph, check
from graphtool.natives.merge_equal_nodes import apply
from graphtool.parity.metrics import equal


def merged(graph: Graph | str, opset: int = 17) -> tuple[Graph, list[str]]:
    """Return the graph after the pass, and the nodes dropped; a second run drops nothing."""
    graph = model_of(graph, opset) if isinstance(graph, str) else graph
    check(graph)
    gone = [match.where for match in apply(graph, {}).matches]
    assert not check(graph)
    assert apply(graph, {}).matches == []
    return graph, gone


@pytest.mark.parametrize(
    "text,opset",
    [
        # training: another mask each time
        ("g (float[64] x, bool t) => (float[64] y) <float r = {0.5}> "
         "{ a = Dropout(x, r, t) b = Dropout(x, r, t) y = Sub(a, b) }", 17),
        ("g (float[2] x) => (float[2] y) { a = Bernoulli(x) b = Bernoulli(x) y = Sub(a, b) }", 17),
        ("g (float[2,3] x) => (int32[2,4] y) "
         "{ a = Multinomial<sample_size = 4>(x) b = Multinomial<sample_size = 4>(x) y = Sub(a, b) }", 17),
        ("g () => (float[2] y) { a = RandomNormal<shape = [2]>() b = RandomNormal<shape = [2]>() y = Sub(a, b) }", 17),
        # the mode is an attribute that defaults to something else
        ("g (float[2,3] x) => (float[2,3] y) { a = Softmax(x) b = Softmax<axis = 0>(x) y = Sub(a, b) }", 17),
        ("g (int64[2] x) => (int32[2] y) { a = Cast<to = 6>(x) b = Cast<to = 7>(x) c = Cast<to = 6>(b) y = Sub(a, c) }",
         17),
        # an input that the other leaves out
        ("g (float[2] x, float m) => (float[2] y) { a = Clip(x, m) b = Clip(x, , m) y = Sub(a, b) }", 17),
        ("g (float[2] x, float[2] z) => (float[2] y) { a = Div(x, z) b = Div(z, x) y = Sub(a, b) }", 17),
        # floating-point addition of three depends on the order
        ("g (float[2] x, float[2] z, float[2] w) => (float[2] y) { a = Sum(x, z, w) b = Sum(w, x, z) y = Sub(a, b) }",
         17),
        ("g (float[2,4] x) => (float[2,4] y) { a = com.microsoft.BiasDropout(x, x) b = com.microsoft.BiasDropout(x, x) "
         "y = Sub(a, b) }", 17),
    ],
)  # fmt: skip
def test_what_stays(text: str, opset: int) -> None:
    graph = model_of(text, opset)
    before = graph.proto.SerializeToString(deterministic=True)
    assert merged(graph)[1] == []
    assert graph.proto.SerializeToString(deterministic=True) == before


def test_a_default_is_that_of_the_opset() -> None:
    text = "g (float[2,3] x) => (float[2,3] y) { a = Softmax(x) b = Softmax<axis = 1>(x) y = Sub(a, b) }"
    assert merged(text, 11)[1] == ["Softmax_1"]
    assert merged(text, 13)[1] == []


def test_documentation_and_order_of_attributes_do_not_count() -> None:
    graph = model_of(
        "g (float[1,1,4,4] x) => (float[1,1,2,2] y) { a = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x) "
        "b = MaxPool<strides = [2,2], kernel_shape = [2,2], storage_order = 0>(x) y = Sub(a, b) }", 17)  # fmt: skip
    graph.nodes[0].attribute[0].doc_string = "what it is"
    assert merged(graph)[1] == ["MaxPool_1"]


def test_tensors_in_attributes_are_compared_by_what_they_hold() -> None:
    raw = helper.make_tensor("a", TensorProto.FLOAT, [1], np.float32([2]).tobytes(), raw=True)
    typed = helper.make_tensor("b", TensorProto.FLOAT, [1], [2.0])
    other = helper.make_tensor("c", TensorProto.FLOAT, [1], [3.0])
    graph = model_of(
        "g (int64[1] n) => (float[N] y) { a = ConstantOfShape(n) b = ConstantOfShape(n) c = ConstantOfShape(n) "
        "y = Sum(a, b, c) }", 17)  # fmt: skip
    for node, tensor in zip(graph.nodes, (raw, typed, other), strict=False):
        node.attribute.append(helper.make_attribute("value", tensor))
    assert merged(graph)[1] == ["ConstantOfShape_1"]


def test_operators_of_onnxruntime_are_merged_unless_a_local_function_has_the_name() -> None:
    text = "g (float[2] x) => (float[2] y) { a = com.microsoft.Gelu(x) b = com.microsoft.Gelu(x) y = Sub(a, b) }"
    assert merged(text)[1] == ["Gelu_1"]
    graph = model_of(text, 17)
    own = graph.proto.functions.add(name="Gelu", domain="com.microsoft", input=["x"], output=["y"])
    own.node.append(helper.make_node("RandomNormalLike", ["x"], ["y"]))
    assert apply(Graph(graph.proto), {}).matches == []


def test_names_of_outputs_stay_and_what_reads_them_follows() -> None:
    graph, gone = merged(
        "g (float[2] x) => (float[2] y, float[2] z, float[2] u) "
        "{ a = Exp(x) b = Neg(a) y = Exp(x) c = Neg(y) z = Add(b, c) d = Neg(y) u = Mul(a, d) }"
    )
    assert gone == ["Exp_2", "Neg_3", "Neg_5"]
    assert lines(graph) == ["y = Exp(x)", "b = Neg(y)", "z = Add(b, b)", "u = Mul(y, b)"]


def test_readers_before_the_second_node_count_too() -> None:
    # c reads only a at first, and comes before the b that equals a
    graph, gone = merged("g (float[2] x) => (float[2] y) { a = Exp(x) c = Neg(a) b = Exp(x) d = Neg(b) y = Sub(c, d) }")
    assert gone == ["Exp_2", "Neg_3"] and lines(graph) == ["a = Exp(x)", "c = Neg(a)", "y = Sub(c, c)"]


def test_three_outputs_of_one_value() -> None:
    graph, gone = merged(
        "g (float[2] x) => (float[2] y, float[2] z, float[2] u) "
        "{ y = Exp(x) a = Exp(x) z = Exp(x) u = Neg(a) v = Neg(z) }"
    )
    assert gone == ["Exp_1", "Neg_4"]
    assert lines(graph) == ["y = Exp(x)", "z = Exp(x)", "u = Neg(y)"]


def test_absent_outputs_are_taken_over() -> None:
    graph = model_of(
        "g (float[1,1,4,4] x) => (float[1,1,2,2] y, int64[1,1,2,2] i) { a, p = MaxPool<kernel_shape = [2,2], "
        "strides = [2,2]>(x) b, i = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x) y = Add(a, b) }", 17)  # fmt: skip
    graph.nodes[0].output[1] = ""
    graph.reindex()
    assert merged(graph)[1] == ["MaxPool_1"]
    assert lines(graph)[0].startswith("a, i = MaxPool")


# -- quantization annotations

NOTED = "g (float[2] x) => (float[2] y) <float s = {1}, float t = {2}> { a = Exp(x) b = Exp(x) y = Sub(a, b) }"


@pytest.mark.parametrize(
    "notes,gone,left",
    [
        ({"a": "s", "b": "t"}, [], ["a", "b"]),
        ({"b": "s"}, [], ["b"]),
        ({"a": "s", "b": "s"}, ["Exp_1"], ["a"]),
        ({"x": "s"}, ["Exp_1"], ["x"]),
    ],
)
def test_annotations(notes: dict[str, str], gone: list[str], left: list[str]) -> None:
    graph = model_of(NOTED, 17)
    for name, scale in notes.items():
        note = graph.header.quantization_annotation.add(tensor_name=name)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=scale)
    assert merged(graph)[1] == gone
    assert [note.tensor_name for note in graph.header.quantization_annotation] == left


def test_a_scale_that_an_annotation_points_to_keeps_its_name() -> None:
    graph = model_of("g (float[2] x, float c) => (float[2] y, float z) "
                     "{ y = Exp(x) b = Neg(c) a = Neg(c) z = Neg(c) }", 17)  # fmt: skip
    note = graph.header.quantization_annotation.add(tensor_name="y")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="a")
    assert merged(graph)[1] == ["Neg_2"]
    assert lines(graph)[1:] == ["a = Neg(c)", "z = Neg(c)"]
    assert note.quant_parameter_tensor_names[0].value == "a"


def test_a_weight_that_an_annotation_points_to_keeps_its_name() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) <float s = {2}, float t = {2}, float u = {2}> "
                     "{ a = Mul(x, s) b = Mul(a, t) y = Mul(b, u) }", 17)  # fmt: skip
    note = graph.header.quantization_annotation.add(tensor_name="y")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="t")
    graph = api.run(graph, "share_equal_weights", checked=False).graph
    assert list(graph.initializers) == ["t"]
    assert graph.header.quantization_annotation[0] == note


# -- bodies

BODIES = """
g (float[2] x, bool c) => (float[2] y) {
  a = Exp(x)
  b = Exp(x)
  y = If(c) <
    then_branch = t () => (float[2] o) { n = Neg(b) m = Neg(b) o = Sub(n, m) },
    else_branch = e () => (float[2] p) { a = Abs(x) q = Add(a, b) p = Neg(q) }
  >
}
"""


def test_bodies_are_merged_and_hide_names() -> None:
    graph, gone = merged(graph_of(BODIES))
    # in the else branch 'a' is another value: what reads b there cannot read a
    assert gone == ["Neg(m)"]
    assert [node.op_type for node in graph.nodes] == ["Exp", "Exp", "If"]
    free, gone = merged(graph_of(BODIES.replace("a = Abs(x) q = Add(a, b)", "r = Abs(x) q = Add(r, b)")))
    assert gone == ["Exp(b)", "Neg(m)"]
    feed = {"x": np.float32([1, 2]), "c": np.array(False)}
    assert equal(
        run(free, feed)["y"], run(graph_of(BODIES.replace("a = Abs", "r = Abs").replace("(a, b)", "(r, b)")), feed)["y"]
    )


def test_nodes_that_hold_bodies_are_left_alone() -> None:
    branches = (
        "then_branch = t () => (float[2] o) { o = RandomNormalLike(x) }, "
        "else_branch = e () => (float[2] p) { p = Neg(x) }"
    )
    text = f"g (float[2] x, bool c) => (float[2] y) {{ a = If(c) <{branches}> b = If(c) <{branches}> y = Sub(a, b) }}"
    assert merged(graph_of(text))[1] == []


def test_a_local_function_is_not_known() -> None:
    graph = graph_of("""<ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[2] x) => (float[2] y) { a = f.draw(x) b = f.draw(x) y = Sub(a, b) }
        <domain: "f", opset_import: ["": 17]> draw (x) => (y) { y = RandomNormalLike(x) }""")
    assert merged(graph)[1] == []


# -- at large


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["Neg", "Add", "Sub", "Mul", "Max"]), st.integers(0, 40), st.integers(0, 40)),
             min_size=2, max_size=14),
    st.sets(st.integers(0, 13), min_size=1, max_size=4),
)  # fmt: skip
def test_random_graphs_keep_their_numbers(steps: list[tuple[str, int, int]], outputs: set[int]) -> None:
    values, nodes = ["x", "z"], []
    for number, (op, a, b) in enumerate(steps):
        inputs = [values[a % len(values)], values[b % len(values)]][: 1 if op == "Neg" else 2]
        nodes.append(helper.make_node(op, inputs, [f"v{number}"], f"n{number}"))
        values.append(f"v{number}")
    shown = sorted({f"v{number % len(steps)}" for number in outputs})
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in names] for names in (("x", "z"), shown)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", *infos), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    before = Graph.from_proto(model)
    feed = {"x": np.float32([1, -2, 0.5]), "z": np.float32([3, 0, -0.25])}
    after, gone = merged(before.copy())
    assert len(after.nodes) == len(steps) - len(gone)
    keys = {(n.op_type, tuple(sorted(n.input) if n.op_type in ("Add", "Mul", "Max") else n.input)) for n in after.nodes}
    assert len(after.nodes) - len(keys) <= len(shown)  # only outputs are made twice
    one, two = run(before, feed), run(after, feed)
    assert all(equal(one[name], two[name]) for name in shown)


def chain(length: int) -> Graph:
    """A chain in which every step is written twice."""
    nodes = []
    for k in range(length):
        for side in "ab":
            nodes.append(helper.make_node("Exp", [f"d{k}"], [f"{side}{k}"], f"{side}{k}"))
        nodes.append(helper.make_node("Mul", [f"a{k}", f"b{k}"], [f"d{k + 1}"], f"d{k}"))
    infos = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [3])] for name in ("d0", f"d{length}")]
    model = helper.make_model(helper.make_graph(nodes, "g", *infos), opset_imports=[helper.make_opsetid("", 17)])
    return Graph(model)


def test_the_cost_is_linear() -> None:
    def steps(length: int) -> int:
        graph = chain(length)

        def merge() -> None:
            assert len(apply(graph, {}).matches) == length

        return work(merge)

    assert steps(1000) < 11 * steps(100)
