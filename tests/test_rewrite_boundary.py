"""The ``boundary`` body: outputs kept or dropped, inputs and outputs cast."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import helper
from rewriting import apply, lines, names, places, reasons, run

from graphtool.cases import model_of
from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.rewrite import Catalog

CATALOG = Catalog()
PRUNE = CATALOG.get("prune_outputs")
FP16 = CATALOG.get("output_fp16")
OUTPUT_CAST = CATALOG.get("output_cast")
INPUT_CAST = CATALOG.get("input_cast")

THREE = """g (float[4] x) => (float[4] y, float[2] a, float[4] z) <int64[2] s = {2,2}> {
  y = Relu(x)  a, b = Split<axis=0>(x, s)  n = Neg(x)  z = Exp(n) }"""


def outputs(graph: Graph) -> list[str]:
    return [value.name for value in graph.outputs]


# -- keep


@pytest.mark.parametrize(
    "keep,wanted",
    [
        ([], ["y"]),  # the first output
        (["z"], ["z"]),
        (["Exp_3"], ["z"]),  # a node
        (["Exp_3", "z"], ["z"]),  # the same twice
        (["z", "y"], ["y", "z"]),  # the graph's order
        (["Split_1"], ["a"]),  # of a node with an output that is one, that one
        (["b"], ["b"]),  # an inner tensor
        (["Neg_2"], ["n"]),  # an inner node
        (["n", "y"], ["n", "y"]),  # with a new one the order is that asked for
        (["y", "a", "z"], ["y", "a", "z"]),
    ],
)
def test_outputs_are_kept_by_the_name_of_a_tensor_or_a_node(keep: list[str], wanted: list[str]) -> None:
    graph, found = apply(PRUNE, THREE, keep=keep)
    assert outputs(graph) == wanted
    made = [name for node in graph.nodes for name in node.output]
    assert set(wanted) <= set(made) and run(graph).keys() == set(wanted)
    assert bool(found.matches) == (wanted != ["y", "a", "z"])


def test_what_a_match_is_called() -> None:
    assert places(apply(PRUNE, THREE, keep=["y"])[1]) == ["a", "z"]  # what went
    graph = "g (float[2] x) => (float[2] y) { n = Neg(x) y = Exp(n) }"
    assert places(apply(PRUNE, graph, keep=["y", "n"])[1]) == ["n"]  # what came
    assert reasons(apply(PRUNE, graph, keep=["y"])[1]) == ["it is kept"]


def test_a_node_of_which_several_outputs_are_graph_outputs() -> None:
    text = (
        "g (float[4] x) => (float[2] a, float[2] b, float[4] y) <int64[2] s = {2,2}> { a, b = Split(x, s) y = Neg(x) }"
    )
    assert outputs(apply(PRUNE, text, keep=["Split_0"])[0]) == ["a", "b"]


def test_a_tensors_name_goes_before_a_nodes() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y, float[2] z) { [z] y = Relu(x) [y] z = Neg(x) }")
    assert lines(apply(PRUNE, graph, keep=["z"])[0]) == ["z = Neg(x)"]


def test_an_output_that_is_listed_twice() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] y, float[2] z) { y = Relu(x) z = Neg(x) }"
    graph, found = apply(PRUNE, text, keep=["y"])
    assert outputs(graph) == ["y", "y"] and places(found) == ["z"]
    graph, found = apply(PRUNE, graph, keep=["y"])
    assert outputs(graph) == ["y", "y"] and found.matches == []


@pytest.mark.parametrize(
    "keep,reason",
    [
        ("Rely_0", "no node or tensor named 'Rely_0'; did you mean 'Relu_0'?"),
        ("qqqqqqqq", "no node or tensor named 'qqqqqqqq'; graphtool inspect lists the outputs"),
        ("\x1b[31m", r"no node or tensor named '\x1b[31m'; graphtool inspect lists the outputs"),
        ("x", "'x' is an input or a weight; an output is made by a node"),
        ("s", "'s' is an input or a weight; an output is made by a node"),
    ],
)
def test_a_name_that_is_not_there(keep: str, reason: str) -> None:
    graph = model_of(THREE, 13)
    before = graph.proto.SerializeToString(deterministic=True)
    with pytest.raises(PassError) as error:
        apply(PRUNE, graph, keep=["y", keep])
    assert str(error.value) == f"prune_outputs: {reason}"
    assert graph.proto.SerializeToString(deterministic=True) == before


def test_a_long_list_of_nodes_still_names_the_nearest() -> None:
    nodes = " ".join(f"v{k + 1} = Neg(v{k})" for k in range(60))
    with pytest.raises(PassError, match="no node or tensor named 'Neg_5O'; did you mean 'Neg_5"):
        apply(PRUNE, f"g (float[2] v0) => (float[2] v60) {{ {nodes} }}", keep=["Neg_5O"])


def test_an_inner_tensor_of_unknown_type_is_refused() -> None:
    text = "g (float[2] x) => (float[2] y) { a = my.dom.Foo(x) y = my.dom.Bar(a) }"
    with pytest.raises(PassError) as error:
        apply(PRUNE, text, keep=["a"])
    assert str(error.value) == "prune_outputs: the type of 'a' is unknown, so it cannot become an output"
    sequence = "g (float[2] x) => (float[2] y) <int64 k = {0}> { s = SequenceConstruct(x, x) y = SequenceAt(s, k) }"
    with pytest.raises(PassError, match="the type of 's' is unknown"):
        apply(PRUNE, sequence, keep=["s"])


def test_an_inner_tensor_gets_its_inferred_type() -> None:
    text = "g (float[N,3] x) => (float[N] y) { a = ArgMax<axis=1, keepdims=0>(x) b = Cast<to=1>(a) y = Neg(b) }"
    graph, _ = apply(PRUNE, text, keep=["a"])
    assert graph.outputs[0].type_text() == "int64[N]"
    unknown = "g (float[2] x, int64[R] s) => (float[R] y) { a = Reshape(x, s) y = my.dom.Foo(a) }"
    assert apply(PRUNE, unknown, keep=["a"])[0].outputs[0].dtype == 1


def test_a_kept_output_keeps_its_declaration() -> None:
    graph = model_of(THREE, 13)
    graph.proto.graph.output[0].type.denotation = "IMAGE"
    graph.proto.graph.output[0].doc_string = "class scores"
    graph, _ = apply(PRUNE, graph, keep=["y"])
    info = graph.proto.graph.output[0]
    assert (info.type.denotation, info.doc_string) == ("IMAGE", "class scores")


def test_what_nothing_needs_goes_and_inputs_stay() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "d": 1]>
        g (float[2] x, float[2] u) => (float[2] y, float[2] z) <float[2] w = {1, 2}, float[2] v = {3, 4}> {
          a = Add(x, w) y = d.F(a) b = Add(u, v) z = d.G(b) }
        <domain: "d", opset_import: ["": 17]> F (p) => (q) { q = d.H(p) }
        <domain: "d", opset_import: ["": 17]> G (p) => (q) { q = Relu(p) }
        <domain: "d", opset_import: ["": 17]> H (p) => (q) { q = Neg(p) }"""
    )
    graph, _ = apply(PRUNE, Graph.from_proto(model), keep=["y"])
    assert lines(graph) == ["a = Add(x, w)", "y = d.F(a)"] and list(graph.initializers) == ["w"]
    assert [function.name for function in graph.proto.functions] == ["F", "H"]
    assert [value.name for value in graph.inputs] == ["x", "u"]


def test_what_a_body_needs_stays() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y, float[2] z) { k = Exp(x) z = Neg(k)
          y = If(c) <then_branch = a () => (float[2] t) { t = Neg(k) },
                     else_branch = b () => (float[2] e) { e = Relu(x) }> }"""
    )
    graph, _ = apply(PRUNE, graph, keep=["y"])
    assert [node.op_type for node in graph.nodes] == ["Exp", "If"]


# -- casts of outputs


def test_a_cast_takes_the_outputs_name_and_a_name_of_its_own() -> None:
    graph, found = apply(FP16, graph_of("g (float[2] x) => (float[2] y) { [head] y = Relu(x) }"))
    assert lines(graph) == ["y/float32 = Relu(x)", "y = Cast<to=10>(y/float32)"]
    assert names(graph) == ["head", "head/cast_float16"] and places(found) == ["y"]
    assert graph.outputs[0].type_text() == "float16[2]"


def test_a_cast_of_a_node_without_a_name_is_named_after_the_output() -> None:
    graph, _ = apply(FP16, graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    assert names(graph) == ["", "y/cast_float16"]


def test_inner_readers_keep_the_old_type() -> None:
    text = "g (float[2] x) => (float[2] y, double[2] z) { y = Relu(x) z = Cast<to=11>(y) }"
    graph, _ = apply(FP16, text)
    assert lines(graph) == ["y/float32 = Relu(x)", "z = Cast<to=11>(y/float32)", "y = Cast<to=10>(y/float32)"]


def test_bodies_that_capture_an_output_keep_the_old_type() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y, double[2] z) { y = Exp(x)
          z = If(c) <then_branch = a () => (double[2] t) { t = Cast<to=11>(y) },
                     else_branch = b () => (double[2] e) { y2 = Neg(y) e = Cast<to=11>(y2) }> }"""
    )
    feed = {"x": np.array([1, 2], np.float32), "c": np.array(True)}
    before = run(graph.copy(), feed)
    graph, _ = apply(FP16, graph)
    after = run(graph, feed)
    assert np.array_equal(after["z"], before["z"])
    assert np.array_equal(after["y"], before["y"].astype(np.float16))


def test_an_output_listed_twice_is_cast_once_and_declared_twice() -> None:
    graph, found = apply(FP16, "g (float[2] x) => (float[2] y, float[2] y) { y = Relu(x) }")
    assert len(found.matches) == 1 and len(graph.nodes) == 2
    assert [value.type_text() for value in graph.outputs] == ["float16[2]", "float16[2]"]


def test_second_output_of_a_node() -> None:
    text = "g (float[4] x) => (float[2] b) <int64[2] s = {2,2}> { a, b = Split(x, s) }"
    assert lines(apply(FP16, text)[0]) == ["a, b/float32 = Split(x, s)", "b = Cast<to=10>(b/float32)"]


def test_what_is_not_cast_says_why() -> None:
    graph = model_of(
        """g (float[2] x, int64[2] i) => (float[2] x, int64[2] j, float[2] w, float[2] y) <float[2] w = {1, 2}> {
          j = Neg(i) y = Relu(x) }""",
        17,
    )
    graph.proto.graph.output.append(helper.make_tensor_sequence_value_info("q", 1, [2]))
    graph.proto.graph.node.append(helper.make_node("SequenceConstruct", ["x"], ["q"], "seq"))
    graph.reindex()
    graph, found = apply(FP16, graph)
    assert places(found) == ["y"]
    assert {miss.where: miss.reason for miss in found.misses} == {
        "x": "it is an input or a constant, not made by a node",
        "j": "its type is int64[2], not float32",
        "w": "it is an input or a constant, not made by a node",
        "q": "its type is sequence, not float32",
    }


def test_a_name_glob() -> None:
    text = "g (int64[2] x) => (int64[2] labels, int64[2] y) { labels = Neg(x) y = Abs(x) }"
    graph, found = apply(OUTPUT_CAST, text, names="label*")
    assert [value.type_text() for value in graph.outputs] == ["int32[2]", "int64[2]"]
    assert reasons(found) == ["its name does not match label*"]


@pytest.mark.parametrize(
    "types,reason",
    [
        (("half", "float32"), "'half' is not an element type; use one such as float16"),
        (("float32", "single"), "'single' is not an element type; use one such as float16"),
        (("float32", "float"), "a cast from float32 to itself changes nothing"),
    ],
)
def test_types_that_are_none(types: tuple[str, str], reason: str) -> None:
    with pytest.raises(PassError) as error:
        apply(OUTPUT_CAST, "g (float[2] x) => (float[2] y) { y = Relu(x) }", **{"from": types[0], "to": types[1]})
    assert str(error.value) == f"output_cast: {reason}"


def test_a_stored_type_does_not_contradict_the_new_one() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { n = Neg(x) y = Relu(n) }", 17)
    for name in ("x", "n", "y"):  # some exporters store the types of inputs and outputs a second time
        graph.proto.graph.value_info.append(helper.make_tensor_value_info(name, 1, [2]))
    graph, _ = apply(FP16, graph)
    graph, _ = apply(INPUT_CAST, graph)
    assert [info.name for info in graph.proto.graph.value_info] == ["n"]
    onnx.checker.check_model(graph.full_proto(), full_check=True)


# -- casts of inputs


def test_an_input_is_cast_for_all_its_readers() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y, float[2] z) { y = Add(x, x)
          z = If(c) <then_branch = a () => (float[2] t) { t = Neg(x) },
                     else_branch = b () => (float[2] e) { x = Relu(y) e = Neg(x) }> }"""
    )
    graph, found = apply(INPUT_CAST, graph)
    assert lines(graph)[:2] == ["x/float32 = Cast<to=1>(x)", "y = Add(x/float32, x/float32)"]
    branches = {a.name: [list(n.input) for n in a.g.node] for a in graph.nodes[-1].attribute}
    assert branches == {"then_branch": [["x/float32"]], "else_branch": [["y"], ["x"]]}
    assert places(found) == ["x"] and [value.type_text() for value in graph.inputs] == ["float16[2]", "bool[]"]


def test_inputs_are_cast_in_their_order_before_all_nodes() -> None:
    graph, _ = apply(INPUT_CAST, "g (float[2] a, float[2] b) => (float[2] y) { y = Sub(b, a) }")
    assert [node.name for node in graph.nodes] == ["a/cast_float32", "b/cast_float32", "Sub_0"]


def test_an_input_that_nobody_reads_is_cast_all_the_same() -> None:
    graph, _ = apply(INPUT_CAST, "g (float[2] x, float[2] u) => (float[2] y) { y = Relu(x) }")
    assert [value.type_text() for value in graph.inputs] == ["float16[2]", "float16[2]"]


def test_what_is_no_input_to_be_given_is_not_cast() -> None:
    graph = graph_of("g (float[2] x, float[2] b = {1, 2}, float[2] p) => (float[2] p, float[2] y) { y = Add(x, b) }")
    graph, found = apply(INPUT_CAST, graph)
    assert places(found) == ["x"]
    assert {miss.where: miss.reason for miss in found.misses} == {
        "b": "it is the default value of an input, not an input that is given",
        "p": "it is a graph output too",
    }


def test_a_symbolic_shape_stays() -> None:
    graph, _ = apply(INPUT_CAST, "g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }")
    assert graph.inputs[0].type_text() == "float16[N,3,H,W]"
