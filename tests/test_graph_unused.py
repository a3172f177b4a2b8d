"""What nothing needs goes; what something needs stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from conftest import graph_of
from onnx import TensorProto, helper, numpy_helper

from graphtool.graph import Graph, check
from graphtool.graph.calls import Library
from graphtool.graph.sort import drop_unread, remove_nodes, remove_unused

ONE = np.ones(2, np.float32)


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def test_what_leads_to_no_output_goes() -> None:
    graph = graph_of("""
        g (float[2] x, float[2] not_used) => (float[2] y)
        <float[2] w1 = {1, 2}, float[2] w2 = {1, 2}, float[2] w3 = {1, 2}> {
            a = Add(x, w1)
            y = Neg(a)
            b = Add(a, w2)
            c = Exp(b)
            d, e = Split(c)
        }
    """)
    assert remove_unused(graph) == 3
    assert ops(graph) == ["Add", "Neg"]
    assert list(graph.initializers) == ["w1"]
    assert [t.name for t in graph.proto.graph.initializer] == ["w1"]
    assert [v.name for v in graph.inputs] == ["x", "not_used"]  # the interface stays
    assert remove_unused(graph) == 0


def test_one_used_output_keeps_a_node() -> None:
    graph = graph_of("g (float[4] x) => (float[2] y) { a, y = Split(x) m = Neg(a) }")
    assert remove_unused(graph) == 1
    assert ops(graph) == ["Split"]


def test_what_a_body_reads_stays() -> None:
    graph = graph_of("""
        g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {1, 2}> {
            a = Neg(x)
            b = Exp(x)
            y = If(c) <
                then_branch = t () => (float[2] o) { o = If(c) <
                    then_branch = tt () => (float[2] p) { p = Add(a, w) },
                    else_branch = te () => (float[2] v) { v = Identity(x) }
                > },
                else_branch = e () => (float[2] a) {}
            >
        }
    """)
    assert remove_unused(graph) == 1
    assert ops(graph) == ["Neg", "If"]
    assert list(graph.initializers) == ["w"]
    check(graph)


def test_an_unused_node_with_a_body_frees_what_it_captured() -> None:
    graph = graph_of("""
        g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
            y = Neg(x)
            a = Exp(x)
            z = If(c) <
                then_branch = t () => (float[2] o) { o = Add(a, w) },
                else_branch = e () => (float[2] o) { o = Identity(a) }
            >
        }
    """)
    freed: set[str] = set()
    assert remove_nodes(graph, [2], freed) == 2
    assert ops(graph) == ["Neg"]
    assert freed == {"c", "w", "x"}


def test_weights_that_are_outputs_or_inputs_stay() -> None:
    graph = graph_of("g (float[2] x, float[2] d) => (float[2] y, float[2] w) <float[2] w = {1, 2}> { y = Neg(x) }")
    graph.proto.graph.initializer.append(numpy_helper.from_array(ONE, "d"))  # a default of input d
    assert remove_unused(graph) == 0
    assert sorted(t.name for t in graph.proto.graph.initializer) == ["d", "w"]


def test_below_ir_4_an_unused_weight_takes_its_input_along() -> None:
    graph = graph_of(
        '<ir_version: 3, opset_import: ["": 10]> g (float[2] x, float[2] w) => (float[2] y) { y = Neg(x) }'
    )
    graph.proto.graph.initializer.append(numpy_helper.from_array(ONE, "w"))
    remove_unused(graph)
    assert [info.name for info in graph.proto.graph.input] == ["x"]
    assert not graph.proto.graph.initializer


def test_below_ir_4_a_new_weight_gets_an_input() -> None:
    graph = graph_of('<ir_version: 3, opset_import: ["": 10]> g (float[2] x) => (float[2] y) { y = Neg(x) }')
    name = graph.add_initializer("w", ONE)
    assert graph.is_constant(name)
    assert [info.name for info in graph.proto.graph.input] == ["x", "w"]
    assert [value.name for value in graph.inputs] == ["x"]
    graph.set_input(0, 0, name)
    onnx.checker.check_model(graph.full_proto())


def test_sparse_weights() -> None:
    graph = graph_of("g (float[3] x) => (float[3] y) { y = Add(x, s1) }")
    for name in ("s1", "s2"):
        sparse = helper.make_sparse_tensor(
            numpy_helper.from_array(ONE[:1], name), numpy_helper.from_array(np.array([1]), ""), [3]
        )
        graph.proto.graph.sparse_initializer.append(sparse)
    remove_unused(graph)
    assert [t.values.name for t in graph.proto.graph.sparse_initializer] == ["s1"]
    assert [v.name for v in graph.inputs] == ["x"]


def test_notes_go_with_their_value_and_keep_what_they_point_to() -> None:
    graph = graph_of("""
        g (float[2] x) => (float[2] y)
        <float s1 = {1.0}, float s2 = {2.0}> { a = Neg(x) y = Abs(a) b = Exp(x) }
    """)
    top = graph.proto.graph
    for value, scale in (("a", "s1"), ("b", "s2")):
        note = top.quantization_annotation.add(tensor_name=value)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=scale)
        top.value_info.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, [2]))
    remove_unused(graph)
    assert [note.tensor_name for note in top.quantization_annotation] == ["a"]
    assert [info.name for info in top.value_info] == ["a"]
    assert list(graph.initializers) == ["s1"]


def test_drop_initializers_takes_the_order_of_the_others_into_account() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    names = [graph.add_initializer(f"w{number}", ONE * number) for number in range(6)]
    held = graph.initializers["w3"]
    graph.drop_initializers([names[0], names[4]])
    assert [t.name for t in graph.proto.graph.initializer] == ["w1", "w2", "w3", "w5"]
    assert graph.initializers["w3"] is held
    np.testing.assert_array_equal(graph.constant("w5"), ONE * 5)
    assert graph.constant("w4") is None


def test_functions() -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]

    def function(name: str, *called: str) -> onnx.FunctionProto:
        """One whose last call is in a body."""
        nodes = [helper.make_node(f, ["a"], [f"{f}_out"], domain="d") for f in called[:-1]]
        if called:
            result = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
            body = helper.make_graph([helper.make_node(called[-1], ["a"], ["o"], domain="d")], "b", [], [result])
            nodes.append(helper.make_node("If", ["c"], ["i"], then_branch=body, else_branch=body))
        nodes.append(helper.make_node("Identity", ["a"], ["b"]))
        return helper.make_function("d", name, ["a", "c"], ["b"], nodes, opsets)

    graph = graph_of("g (float[2] x, bool c) => (float[2] y) { y = Neg(x) }")
    body = helper.make_graph(
        [helper.make_node("InBody", ["x", "c"], ["o"], domain="d")],
        "b",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
    )
    graph.append_node(helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body))
    graph.append_node(helper.make_node("Dead", ["x", "c"], ["dead"], domain="d"))
    graph.proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    made = [
        function("InBody", "Second", "Third"),
        function("Second"),
        function("Third", "Third"),
        function("Dead", "OfDead"),
        function("OfDead"),
        function("Neg"),  # the model's Neg is of another domain
    ]
    graph.proto.functions.extend(made)
    remove_unused(graph)
    assert [f.name for f in graph.proto.functions] == ["InBody", "Second", "Third"]


def test_only_candidates_and_what_they_read() -> None:
    graph = graph_of("""
        g (float[2] x) => (float[2] y) <float[2] w1 = {1, 2}, float[2] w2 = {1, 2}, float[2] w3 = {1, 2}> {
            a = Add(x, w1)
            b = Add(a, w2)
            other = Add(x, w3)
            y = Neg(x)
        }
    """)
    freed: set[str] = set()
    assert remove_nodes(graph, [1], freed) == 2
    assert ops(graph) == ["Add", "Neg"]
    assert freed == {"x", "w1", "w2"}
    drop_unread(graph, freed)
    assert list(graph.initializers) == ["w3"]


def test_a_long_chain_goes_without_recursion() -> None:
    count = 20_000
    nodes = [helper.make_node("Neg", [f"v{n}"], [f"v{n + 1}"]) for n in range(count)]
    nodes.append(helper.make_node("Abs", ["v0"], ["y"]))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("v0", "y")]
    graph = Graph.from_proto(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])))
    assert remove_nodes(graph, [count - 1], set()) == count
    assert ops(graph) == ["Abs"]


def test_a_pruned_model_runs_the_same() -> None:
    graph = graph_of("""
        g (float[2] x) => (float[2] y, float[2] z) <float[2] w = {1, 2}, float[2] v = {3, 4}> {
            a = Add(x, w)
            y = Mul(a, a)
            z = Mul(a, v)
        }
    """)
    before = ort.InferenceSession(graph.full_proto().SerializeToString()).run(["y"], {"x": ONE})[0]
    del graph.proto.graph.output[1]
    assert remove_unused(graph) == 1
    assert list(graph.initializers) == ["w"]
    after = ort.InferenceSession(graph.full_proto().SerializeToString()).run(None, {"x": ONE})
    np.testing.assert_array_equal(after, [before])


def test_a_library_gives_what_nodes_call_in_the_order_of_the_model() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "l" : 1]>
        agraph (float[2] x, bool c) => (float[2] y) {
            a = l.A(x)
            b = Relu(a)
            y = If(c) <
                then_branch = t () => (float[2] p) { p = l.C(b) },
                else_branch = e () => (float[2] q) { q = Abs(b) }
            >
        }
        <opset_import: ["" : 17], domain: "l"> D (u) => (v) { v = Neg(u) }
        <opset_import: ["" : 17, "l" : 1], domain: "l"> A (u) => (v) { w = l.B(u) v = Neg(w) }
        <opset_import: ["" : 17], domain: "l"> B (u) => (v) { v = Exp(u) }
        <opset_import: ["" : 17], domain: "l"> C (u) => (v) { v = Abs(u) }
        """)
    library = Library(model.functions)
    first, relu, last = model.graph.node
    assert [function.name for function in library.called([first])] == ["A", "B"]
    assert library.called([relu]) == []
    assert [function.name for function in library.called([last, first])] == ["A", "B", "C"]
    assert Library([]).called([first]) == []
