"""What takes a match's place: nodes, their names and attributes, constants, and forwarded values."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import NodeProto, helper
from rewriting import apply, lines, names, ops, pass_of, places, reasons, rule_of, run

from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.graph.bodies import walk

IDENTITY = rule_of("y = Identity(x)", "y = x")
SPLIT = rule_of("y = Relu(x)", "a = Neg(x)  b = Exp(a)  y = Neg(b)")


def unique_names(graph: Graph) -> None:
    """Check that no two nodes share a name, those in bodies included."""
    every = [node.name for node in walk(graph.proto.graph) if node.name]
    assert len(every) == len(set(every))


# -- names


def test_the_node_that_makes_the_old_value_keeps_name_and_documentation() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { [act] y = Relu(x) }")
    node = graph.nodes[0]
    node.doc_string = "why"
    node.metadata_props.add(key="layer", value="3")
    graph, found = apply(SPLIT, graph)
    assert names(graph) == ["act/a", "act/b", "act"] and places(found) == ["act"]
    assert lines(graph) == ["act/a = Neg(x)", "act/b = Exp(act/a)", "y = Neg(act/b)"]
    last = graph.nodes[-1]
    assert last.doc_string == "why" and [(p.key, p.value) for p in last.metadata_props] == [("layer", "3")]
    assert not any(node.HasField("doc_string") or node.metadata_props for node in graph.nodes[:-1])


def test_a_node_without_a_name_lends_its_output() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert not graph.nodes[0].name
    graph, found = apply(SPLIT, graph)
    assert names(graph) == ["y/a", "y/b", "y"] and places(found) == ["Relu(y)"]


def test_one_name_is_not_given_to_two_nodes() -> None:
    spec = rule_of("y, i = TopK(x, k)", "y = t.Values(x, k)  i = t.Indices(x, k)")
    text = "g (float[5] x) => (float[2] y, int64[2] i) <int64[1] k = {2}> { y, i = TopK(x, k) }"
    graph, _ = apply(spec, text)
    assert names(graph) == ["TopK_0", "TopK_0/i"]


def test_new_names_avoid_all_there_are() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y, float[2] z) <float[2] "act/b" = {1, 2}> {
          ["act/a"] "act/a" = Add(x, "act/b")  [act] y = Relu("act/a")
          z = If(c) <then_branch = a () => (float[2] t) { ["act/b"] "act/a_2" = Neg(x) t = Neg("act/a_2") },
                     else_branch = b () => (float[2] e) { e = Relu(x) }>
        }"""
    )
    graph, _ = apply(SPLIT, graph)
    unique_names(graph)
    assert lines(graph)[1:4] == [
        "act/a_3 = Neg(act/a)",
        "act/b_2 = Exp(act/a_3)",
        "y = Neg(act/b_2)",
    ]
    assert names(graph)[:4] == ["act/a", "act/a_2", "act/b_2", "act"]


def test_many_matches_get_many_names() -> None:
    graph, found = apply(SPLIT, "g (float[2] x) => (float[2] z) { a = Relu(x) b = Relu(a) z = Relu(b) }")
    unique_names(graph)
    assert places(found) == ["Relu_0", "Relu_1", "Relu_2"] and len(names(graph)) == 9


def test_awkward_names_are_kept() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    graph.nodes[0].name = "/head/Relu:0 名\x1b"
    graph.reindex()
    assert names(apply(SPLIT, graph)[0])[-1] == "/head/Relu:0 名\x1b"


# -- order


def test_the_replacement_stands_where_the_last_matched_node_stood() -> None:
    spec = rule_of("a = Neg(x)  y = Exp(a)", "b = Relu(x)  c = Abs(b)  y = Exp(c)")
    text = "g (float[2] x) => (float[2] y, float[2] z) { n = Neg(x) p = Sin(x) y = Exp(n) q = Cos(p) z = Add(q, y) }"
    graph, _ = apply(spec, text)
    assert [node.op_type for node in graph.nodes] == ["Sin", "Relu", "Abs", "Exp", "Cos", "Add"]


def test_replacements_of_replacements_stay_in_order() -> None:
    spec = pass_of(
        "[[rewrite]]\nmatch = 'y = Relu(x)'\nreplace = 'a = Tanh(x)  y = Tanh(a)'\n"
        "[[rewrite]]\nmatch = 'y = Tanh(x)'\nreplace = 'a = Sin(x)  b = Sin(a)  y = Sin(b)'\n"
    )
    graph, found = apply(spec, "g (float[2] x) => (float[2] z) { a = Relu(x) b = Relu(a) z = Neg(b) }")
    assert [node.op_type for node in graph.nodes] == ["Sin"] * 12 + ["Neg"]
    assert [match.where for match in found.matches][:2] == ["Relu_0", "Relu_1"]


# -- attributes


def test_attributes_are_written_in_the_type_of_the_schema() -> None:
    spec = rule_of("y = Relu(x)", "y = LeakyRelu<alpha = @a>(x)", "let = { a = '1' }")
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert graph.nodes[0].attribute[0].type == onnx.AttributeProto.FLOAT


def test_an_attribute_that_the_op_does_not_take_is_a_miss() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    spec = rule_of("y = Relu(x)", "y = LeakyRelu<slope = 1>(x)")
    assert reasons(apply(spec, text)[1]) == ["LeakyRelu of opset 16 has no attribute 'slope'"]
    spec = rule_of("y = Relu(x)", "y = LeakyRelu<alpha = @a>(x)", "let = { a = \"'steep'\" }")
    assert reasons(apply(spec, text)[1]) == ["attribute 'alpha' of LeakyRelu takes float, not 'steep'"]
    for value in ("[1, 'a']", "x", "[]"):  # of an op that onnx does not know
        spec = rule_of("y = Relu(x)", "y = t.F<a = @a>(x)", f'let = {{ a = "{value}" }}')
        graph, found = apply(spec, text)
        assert found.matches == [] and len(reasons(found)) == 1 and lines(graph) == ["y = Relu(x)"]


def test_none_is_no_attribute() -> None:
    spec = rule_of("y = Softmax<axis = @axis>(x)", "y = t.F<axis = @axis, other = @none>(x)", "let = { none = 'None' }")
    graph, _ = apply(spec, "g (float[2,2] x) => (float[2,2] y) { y = Softmax(x) }")
    assert lines(graph) == ["y = t.F<axis=-1>(x)"]


def test_like_copies_what_the_pattern_did_not_bind() -> None:
    spec = rule_of("c = Conv<group = @g>(x, w)  y = Relu(c)", "y = Conv<like = @c, dilations = [1, 1]>(x, w)")
    text = """g (float[1,2,8,8] x) => (float[1,2,8,8] y) <float[2,1,3,3] w> {
      c = Conv<group=2, pads=[1,1,1,1], dilations=[2,2], strides=[1,1]>(x, w) y = Relu(c) }"""
    graph, _ = apply(spec, text)
    assert lines(graph) == ["y = Conv<dilations=[1, 1], pads=[1, 1, 1, 1], strides=[1, 1]>(x, w)"]


def test_like_copies_only_attributes_that_the_new_op_has() -> None:
    spec = rule_of("y = Conv(x, w)", "y = MaxPool<like = @y>(x)")
    text = """g (float[1,2,8,8] x) => (float[1,2,8,8] y) <float[2,1,3,3] w> {
      y = Conv<group=2, kernel_shape=[3,3], pads=[1,1,1,1]>(x, w) }"""
    assert lines(apply(spec, text)[0]) == ["y = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x)"]


# -- constants


def test_equal_constants_are_made_once() -> None:
    spec = rule_of(
        "y = Relu(x)",
        "a = Max(x, zero)  y = Min(a, also_zero)",
        "let = { zero = 'float32(0)', also_zero = 'float32(0)' }",
    )
    text = "g (float[2] x) => (float[2] z) { a = Relu(x) b = Relu(a) z = Neg(b) }"
    graph, found = apply(spec, text)
    assert len(found.matches) == 2 and list(graph.initializers) == ["Relu_0/zero"]


def test_constants_that_differ_in_type_or_sign_of_zero_are_two() -> None:
    spec = rule_of(
        "y = Relu(x)",
        "y = t.F(x, a, b, c, d)",
        "let = { a = 'float32(0)', b = 'int32(0)', c = 'float32([0])', d = 'float32(0.0) * -1' }",
    )
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert len(graph.initializers) == 4
    assert np.signbit(graph.constant("Relu_0/d"))  # type: ignore[call-overload]


def test_numbers_and_lists_become_constants_of_the_usual_types() -> None:
    more = "let = { a = '1', b = '0.5', c = '[1, 2]', d = '[1, 0.5]', e = '1.0 * 1' }"
    spec = rule_of("y = Relu(x)", "y = t.F(x, a, b, c, d, e)", more)
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    found = {name: graph.constant(f"Relu_0/{name}") for name in "abcde"}
    assert {name: (str(v.dtype), v.shape) for name, v in found.items() if v is not None} == {
        "a": ("int64", ()), "b": ("float32", ()), "c": ("int64", (2,)), "d": ("float32", (2,)), "e": ("float32", ()),
    }  # fmt: skip


def test_a_parameter_can_be_an_input() -> None:
    spec = pass_of(
        "params.low = { type = 'float', default = 0.5, help = 'h' }\n"
        "[[rewrite]]\nmatch = 'y = Relu(x)'\nreplace = 'y = Max(x, low)'\n"
    )
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }", low=2)
    assert graph.constant("Relu_0/low") == np.float32(2)


@pytest.mark.parametrize("value", ["'text'", "['a']", "[None]", "x"])
def test_what_is_no_constant_is_a_miss(value: str) -> None:
    spec = rule_of("y = Relu(x)", "y = Max(x, w)", f'let = {{ w = "{value}" }}')
    _, found = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert found.matches == [] and "is not a constant" in reasons(found)[0]


def test_a_shared_initializer_is_not_edited() -> None:
    spec = rule_of("y = Mul(x, w)", "y = Add(x, twice)", "where = ['const(w)']\nlet = { twice = 'w * 2' }")
    text = "g (float[2] x) => (float[2] y, float[2] z) <float[2] w = {1, 2}> { y = Mul(x, w) z = Add(x, w) }"
    graph, _ = apply(spec, text)
    assert graph.constant("w").tolist() == [1, 2]  # type: ignore[union-attr]
    assert lines(graph) == ["y = Add(x, Mul_0/twice)", "z = Add(x, w)"]


def test_a_weight_that_nothing_reads_any_more_goes() -> None:
    spec = rule_of("y = Mul(x, w)", "y = Neg(x)")
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y) <float[2] w, float[2] u> { y = Mul(x, w) }")
    assert list(graph.initializers) == ["u"], "u was unused before, which is not this pass's business"


def test_a_weight_that_is_an_output_stays() -> None:
    spec = rule_of("y = Mul(x, w)", "y = Neg(x)")
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y, float[2] w) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    assert list(graph.initializers) == ["w"]


def test_nodes_that_only_the_match_read_go_too() -> None:
    spec = rule_of("y = Mul(x, w)", "y = Neg(x)")
    text = """g (float[2] x) => (float[2] y) <float[2] k> {
      a = Constant<value_floats=[1.0, 2.0]>() b = Add(a, k) w = Exp(b) y = Mul(x, w) }"""
    graph, found = apply(spec, text)
    assert lines(graph) == ["y = Neg(x)"] and list(graph.initializers) == [] and len(found.matches) == 1


def test_before_ir_4_a_new_weight_is_an_input_too_and_an_old_one_goes_with_its_input() -> None:
    graph = graph_of(
        """<ir_version: 3, opset_import: ["": 8]>
        g (float[2] x, float[2] w = {1, 2}) => (float[2] y) { y = Mul(x, w) }"""
    )
    spec = rule_of("y = Mul(x, w)", "y = Add(x, v)", "let = { v = 'w + 1' }")
    graph, _ = apply(spec, graph)
    assert [info.name for info in graph.proto.graph.input] == ["x", "y/v"]
    assert [value.name for value in graph.inputs] == ["x"] and graph.constant("y/v").tolist() == [2, 3]  # type: ignore[union-attr]


def test_a_new_domain_is_imported() -> None:
    spec = rule_of("y = Relu(x)", "y = ai.onnx.ml.Scaler(x)")
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert graph.opset("ai.onnx.ml") == 1 and graph.opset() == 17
    graph, _ = apply(
        rule_of("y = Exp(x)", "y = com.microsoft.Gelu(x)"), "g (float[2] x) => (float[2] y) { y = Exp(x) }"
    )
    assert [(entry.domain, entry.version) for entry in graph.proto.opset_import] == [("", 17), ("com.microsoft", 1)]
    run(graph)


# -- the record of a match


def test_a_match_records_what_parity_needs() -> None:
    spec = rule_of("a = Neg(x)  y = Add(a, w)", "y = Sub(w, x)", "where = ['const(w)']")
    text = "g (float[2] x) => (float[2] z) <float[2] w> { i = Exp(x) n = Neg(i) y = Add(w, n) z = Relu(y) }"
    graph, found = apply(spec, text)
    match = found.matches[0]
    assert (match.where, match.body) == ("Add_2", "rewrite[0]")
    assert ops(match.old) == ["Neg", "Add"] and ops(match.new) == ["Sub"]
    assert set(match.inputs) == {"i", "w"} and match.outputs == ("y",)
    # copies: later edits do not reach them
    graph.nodes[1].op_type = "Mul"
    assert ops(match.new) == ["Sub"]


def test_a_forward_is_recorded_as_an_identity() -> None:
    _, found = apply(IDENTITY, "g (float[2] x) => (float[2] z) { i = Identity(x) z = Relu(i) }")
    match = found.matches[0]
    assert ops(match.old) == ["Identity"] and ops(match.new) == ["Identity"]
    assert list(match.new[0].input) == ["x"] and list(match.new[0].output) == ["i"]


# -- forwarding

FORWARDS = {
    "inside": ("(float[2] z)", "i = Identity(x) z = Relu(i)", ["z = Relu(x)"]),
    "a chain": ("(float[2] z)", "i = Identity(x) j = Identity(i) k = Identity(j) z = Relu(k)", ["z = Relu(x)"]),
    "two readers": ("(float[2] z)", "r = Exp(x) i = Identity(r) z = Add(i, i)", ["r = Exp(x)", "z = Add(r, r)"]),
    "at the output": ("(float[2] z)", "r = Exp(x) z = Identity(r)", ["z = Exp(x)"]),
    "a chain to the output": ("(float[2] z)", "r = Exp(x) i = Identity(r) z = Identity(i)", ["z = Exp(x)"]),
    "output with readers of the source": (
        "(float[2] z, float[2] u)",
        "r = Exp(x) z = Identity(r) u = Neg(r)",
        ["z = Exp(x)", "u = Neg(z)"],
    ),
    "output with readers of the output": (
        "(float[2] z, float[2] u)",
        "r = Exp(x) z = Identity(r) u = Neg(z)",
        ["z = Exp(x)", "u = Neg(z)"],
    ),
    "source is an output": (
        "(float[2] r, float[2] u)",
        "r = Exp(x) i = Identity(r) u = Neg(i)",
        ["r = Exp(x)", "u = Neg(r)"],
    ),
    "an output twice": ("(float[2] z, float[2] z)", "r = Exp(x) z = Identity(r)", ["z = Exp(x)"]),
    "second output of a node": (
        "(float[1] z, float[1] u)",
        "a, b = Split<axis=0>(x) z = Identity(b) u = Neg(a)",
        ["a, z = Split<axis=0>(x)", "u = Neg(a)"],
    ),
    "of a weight": ("(float[2] z)", "i = Identity(w) z = Add(x, i)", ["z = Add(x, w)"]),
    "of a Constant to the output": (
        "(float[2] z)",
        "c = Constant<value_floats=[1.0, 2.0]>() z = Identity(c)",
        ["z = Constant<value_floats=[1.0, 2.0]>()"],
    ),
    "before its reader's own output": (
        "(float[2] z)",
        "i = Identity(x) j = Identity(x) z = Add(i, j)",
        ["z = Add(x, x)"],
    ),
}  # fmt: skip
STAYS = {
    "input to output": ("(float[2] z)", "z = Identity(x)", "join graph output 'z' with input or constant 'x'"),
    "input to output by a chain": (
        "(float[2] z)",
        "i = Identity(x) z = Identity(i)",
        "it would join graph output 'z' with input or constant 'x'",
    ),
    "weight to output": ("(float[2] z)", "z = Identity(w)", "join graph output 'z' with input or constant 'w'"),
    "two outputs": (
        "(float[2] r, float[2] z)",
        "r = Exp(x) z = Identity(r)",
        "it would join two graph outputs, 'z' and 'r'",
    ),
}


@pytest.mark.parametrize("what", FORWARDS)
def test_forward(what: str) -> None:
    outputs, nodes, wanted = FORWARDS[what]
    text = f"g (float[2] x) => {outputs} <float[2] w = {{1, 2}}> {{ {nodes} }}"
    before = model_of(text, 17)
    feed = {"x": np.array([0.5, -1.0], np.float32)}
    expected = run(before, feed)
    graph, _ = apply(IDENTITY, text)
    assert lines(graph) == wanted
    assert [v.name for v in graph.outputs] == [v.name for v in before.outputs]
    for name, array in run(graph, feed).items():
        assert np.array_equal(array, expected[name])


@pytest.mark.parametrize("what", STAYS)
def test_a_forward_that_would_join_names_stays(what: str) -> None:
    outputs, nodes, reason = STAYS[what]
    graph, found = apply(IDENTITY, f"g (float[2] x) => {outputs} <float[2] w = {{1, 2}}> {{ {nodes} }}")
    assert lines(graph)[-1].startswith("z = Identity") and reason in reasons(found)[-1]


def test_three_names_for_one_value_keep_two_identities() -> None:
    nodes = "r = Exp(x) a = Identity(r) b = Identity(r) c = Identity(r)"
    graph, found = apply(IDENTITY, f"g (float[2] x) => (float[2] a, float[2] b, float[2] c) {{ {nodes} }}")
    assert lines(graph) == ["a = Exp(x)", "b = Identity(a)", "c = Identity(a)"]
    assert len(found.matches) == 1 and len(found.misses) == 2


def test_a_forward_to_an_output_renames_at_the_maker_and_keeps_its_node_name() -> None:
    graph, found = apply(IDENTITY, graph_of("g (float[2] x) => (float[2] z) { [e] r = Exp(x) [i] z = Identity(r) }"))
    assert names(graph) == ["e"] and places(found) == ["i"]


def if_graph(then: str, outer: str, outputs: str = "float[2] y") -> Graph:
    return graph_of(
        f"""g (float[2] x, bool c) => ({outputs}) {{ {outer}
          y = If(c) <then_branch = a () => (float[2] t) {{ {then} }},
                     else_branch = b () => (float[2] e) {{ e = Relu(x) }}>
        }}"""
    )


def branch(graph: Graph, name: str = "then_branch") -> list[str]:
    node = next(node for node in graph.nodes if node.op_type == "If")
    body = next(a.g for a in node.attribute if a.name == name)
    return [f"{', '.join(n.output)} = {n.op_type}({', '.join(n.input)})" for n in body.node]


def test_a_forward_reaches_captures_in_bodies() -> None:
    graph, _ = apply(IDENTITY, if_graph("t = Neg(i)", "i = Identity(x)"))
    assert branch(graph) == ["t = Neg(x)"] and len(graph.nodes) == 1


def test_a_source_renamed_to_an_output_is_renamed_in_bodies() -> None:
    graph, _ = apply(IDENTITY, if_graph("t = Neg(r)", "r = Exp(x) z = Identity(r)", "float[2] y, float[2] z"))
    assert branch(graph) == ["t = Neg(z)"] and lines(graph)[0] == "z = Exp(x)"


def test_a_body_that_hides_the_forwarded_name_is_left_alone() -> None:
    graph, found = apply(
        IDENTITY, if_graph("i = Neg(x) t = Relu(i)", "i = Identity(x) u = Exp(i)", "float[2] y, float[2] u")
    )
    assert branch(graph) == ["i = Neg(x)", "t = Relu(i)"] and len(found.matches) == 1


def test_a_body_that_gives_the_new_name_another_meaning_forbids_it() -> None:
    graph, found = apply(IDENTITY, if_graph("x = Neg(i) t = Relu(x)", "i = Identity(x)"))
    assert branch(graph) == ["x = Neg(i)", "t = Relu(x)"] and found.matches == []
    assert reasons(found) == ["'x' has another meaning in a body of 'If(y)'"]


def test_a_value_that_only_a_body_reads_is_not_unused() -> None:
    spec = rule_of("y = Mul(x, w)", "y = Neg(x)")
    graph = if_graph("t = Neg(k)", "k = Exp(x) m = Mul(x, k)", "float[2] y, float[2] m")
    graph, found = apply(spec, graph)
    assert len(found.matches) == 1 and lines(graph)[0] == "k = Exp(x)"


def test_identities_of_sequences_go_too() -> None:
    nodes = "s = SequenceConstruct(x, x) i = Identity(s) y = SequenceAt(i, k)"
    graph = graph_of(f"g (float[2] x) => (float[2] y) <int64 k = {{0}}> {{ {nodes} }}")
    graph, found = apply(IDENTITY, graph)
    assert len(found.matches) == 1 and run(graph)


# two results of one match


@pytest.mark.parametrize("outputs", ["float[2] z", "float[2] y, float[2] z", "float[2] i, float[2] z"])
def test_both_results_may_stand_for_one_value(outputs: str) -> None:
    spec = rule_of("y, i = t.Two(x)", "y = x  i = x")
    graph, found = apply(spec, f"g (float[2] x) => ({outputs}) {{ r = Exp(x) y, i = t.Two(r) z = Add(y, i) }}")
    assert len(found.matches) == 1
    made = outputs.split()[1].strip(",") if "," in outputs else "r"
    assert lines(graph) == [f"{made} = Exp(x)", f"z = Add({made}, {made})"]


def test_two_results_that_are_outputs_cannot_stand_for_one_value() -> None:
    spec = rule_of("y, i = t.Two(x)", "y = x  i = x")
    graph, found = apply(spec, "g (float[2] x) => (float[2] y, float[2] i) { r = Exp(x) y, i = t.Two(r) }")
    assert reasons(found) == ["it would join two graph outputs, 'i' and 'y'"] and len(graph.nodes) == 2


def test_a_forward_and_a_new_node() -> None:
    spec = rule_of("y, i = t.Two(x)", "y = x  i = Neg(y)")
    for outputs in ("float[2] z", "float[2] y, float[2] z", "float[2] i, float[2] z"):
        graph, _ = apply(spec, f"g (float[2] x) => ({outputs}) {{ r = Exp(x) y, i = t.Two(r) z = Add(y, i) }}")
        made = "y" if "y" in outputs else "r"
        assert lines(graph) == [f"{made} = Exp(x)", f"i = Neg({made})", f"z = Add({made}, i)"], outputs


def test_a_forward_of_a_new_value() -> None:
    spec = rule_of("y = Relu(x)", "t = Abs(x)  y = t")
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert lines(graph) == ["y = Abs(x)"]
    graph, _ = apply(spec, "g (float[2] x) => (float[2] z) { y = Relu(x) z = Neg(y) }")
    assert lines(graph) == ["Relu_0/t = Abs(x)", "z = Neg(Relu_0/t)"]


def test_a_forward_of_a_new_constant() -> None:
    spec = rule_of("y = Relu(x)", "y = zero", "let = { zero = 'float32([0, 0])' }")
    graph, _ = apply(spec, "g (float[2] x) => (float[2] z) { y = Relu(x) z = Neg(y) }")
    assert lines(graph) == ["z = Neg(Relu_0/zero)"]
    graph, found = apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert reasons(found) == ["it would join graph output 'y' with input or constant 'Relu_0/zero'"]
    assert list(graph.initializers) == []


def test_a_forward_of_an_absent_input_is_a_miss() -> None:
    spec = rule_of("y = Clip(x, low)", "y = low", "default = { low = 'None' }")
    _, found = apply(spec, "g (float[2] x) => (float[2] z) { y = Clip(x) z = Neg(y) }")
    assert reasons(found) == ["the input to forward is absent"]


# -- quantization annotations and other notes


def note(graph: Graph, tensor: str, scale: str) -> None:
    entry = graph.proto.graph.quantization_annotation.add(tensor_name=tensor)
    entry.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value=scale)


def notes(graph: Graph) -> list[tuple[str, str]]:
    found = graph.proto.graph.quantization_annotation
    return [(n.tensor_name, n.quant_parameter_tensor_names[0].value) for n in found]


def test_an_annotation_follows_its_value() -> None:
    text = (
        "g (float[2] x) => (float[2] z) <float s = {0.5}, float u = {2}> { i = Identity(x) r = Exp(i) z = Identity(r) }"
    )
    graph = model_of(text, 17)
    note(graph, "i", "s")
    note(graph, "r", "u")
    graph, _ = apply(IDENTITY, graph)
    assert notes(graph) == [("x", "s"), ("z", "u")] and set(graph.initializers) == {"s", "u"}


def test_an_annotation_gives_way_to_one_that_is_there() -> None:
    graph = model_of(
        "g (float[2] x) => (float[2] z) <float s = {0.5}, float u = {2}> { i = Identity(x) z = Exp(i) }", 17
    )
    note(graph, "x", "s")
    note(graph, "i", "u")
    graph, _ = apply(IDENTITY, graph)
    assert notes(graph)[0] == ("x", "s") and ("x", "u") not in notes(graph)


def test_a_scale_that_is_forwarded_is_still_the_scale() -> None:
    text = "g (float[2] x) => (float[2] z) <float s = {0.5}> { i = Identity(s) z = Mul(x, i) }"
    graph = model_of(text, 17)
    note(graph, "z", "i")
    graph, found = apply(IDENTITY, graph)
    assert len(found.matches) == 1 and notes(graph) == [("z", "s")]


def test_nodes_of_other_domains_and_functions_are_untouched() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "d": 1]>
        g (float[2] x) => (float[2] y) { a = d.F(x) i = Identity(a) y = Neg(i) }
        <domain: "d", opset_import: ["": 17]> F (p) => (q) { k = Identity(p) q = Relu(k) }"""
    )
    graph, found = apply(IDENTITY, Graph.from_proto(model))
    assert len(found.matches) == 1
    assert [node.op_type for node in graph.proto.functions[0].node] == ["Identity", "Relu"]


def test_an_edit_of_a_node_object_from_before_is_not_lost() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { a = Identity(x) y = Relu(a) }", 17)
    relu: NodeProto = graph.nodes[1]
    apply(IDENTITY, graph)
    relu.op_type = "Neg"
    assert lines(graph) == ["y = Neg(x)"]


def test_an_if_in_a_match() -> None:
    spec = rule_of("y = If(c)  z = Neg(y)", "z = t.NegIf<like = @y>(c)")
    graph = if_graph("t = Neg(k)", "k = Exp(x)", "float[2] z").full_proto()
    graph.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))
    result, found = apply(spec, Graph.from_proto(graph))
    assert len(found.matches) == 1 and [node.op_type for node in result.nodes] == ["Exp", "NegIf"]


@pytest.mark.parametrize(("opset", "left"), [(13, ["SequenceInsert", "SequenceErase"]), (17, ["Identity"])])
def test_two_names_that_stay_are_joined_by_an_identity_that_the_opset_has(opset: int, left: list[str]) -> None:
    rule = rule_of("t = SequenceInsert(s, x)  y = SequenceErase(t)", "y = s")
    graph = model_of(
        "g (seq(float[2]) s, float[2] x) => (seq(float[2]) y) { t = SequenceInsert(s, x) y = SequenceErase(t) }", opset
    )
    assert [node.op_type for node in apply(rule, graph)[0].nodes] == left
