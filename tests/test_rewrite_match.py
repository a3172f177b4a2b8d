"""Where a pattern applies, where it does not, and the reason that is given."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from conftest import graph_of
from onnx import helper
from rewriting import apply, lines, pass_of, places, reasons, rule_of

from graphtool.errors import PassError
from graphtool.graph import Graph, nodes
from graphtool.graph.fields import arrange
from graphtool.rewrite import Pass
from graphtool.rewrite.matcher import MAX_LOOKS, Matcher

SUB = rule_of("a = Neg(p)  y = Add(a, q)", "y = Sub(q, p)")
FUSE = rule_of("a = Neg(x)  y = Exp(a)", "y = t.NegExp(x)")
IDENTITY = rule_of("y = Identity(x)", "y = x")


def matches(spec: Pass, graph: Graph | str, opset: int = 17) -> bool:
    return bool(apply(spec, graph, opset)[1].matches)


# -- operands


@pytest.mark.parametrize("reads", ["n, u", "u, n"])
def test_a_commutative_op_matches_in_both_orders(reads: str) -> None:
    graph, found = apply(SUB, f"g (float[2] x, float[2] u) => (float[2] y) {{ n = Neg(x) y = Add({reads}) }}")
    assert lines(graph) == ["y = Sub(u, x)"] and len(found.matches) == 1


def test_another_op_matches_in_one_order_only() -> None:
    spec = rule_of("a = Neg(p)  y = Sub(a, q)", "y = Neg(p)")
    assert matches(spec, "g (float[2] x, float[2] u) => (float[2] y) { n = Neg(x) y = Sub(n, u) }")
    assert not matches(spec, "g (float[2] x, float[2] u) => (float[2] y) { n = Neg(x) y = Sub(u, n) }")


def test_both_operands_may_fit_and_the_first_way_that_holds_is_taken() -> None:
    spec = rule_of("a = Neg(p)  y = Add(a, q)", "y = Sub(q, p)", "where = ['uses(q) == 2']")
    text = "g (float[2] x, float[2] u) => (float[2] y, float[2] z) { n = Neg(x) m = Neg(u) y = Add(n, m) z = Exp(n) }"
    graph, _ = apply(spec, text)
    assert lines(graph)[-2] == "y = Sub(n, u)"  # n has a second reader, m has not


def test_a_custom_op_of_the_same_name_does_not_commute() -> None:
    spec = rule_of("a = Neg(p)  y = t.Add(a, q)", "y = t.Sub(q, p)")
    assert matches(spec, "g (float[2] x, float[2] u) => (float[2] y) { n = Neg(x) y = t.Add(n, u) }")
    assert not matches(spec, "g (float[2] x, float[2] u) => (float[2] y) { n = Neg(x) y = t.Add(u, n) }")


def test_one_name_is_one_value() -> None:
    spec = rule_of("y = Mul(x, x)", "y = t.Square(x)")
    assert matches(spec, "g (float[2] x) => (float[2] y) { y = Mul(x, x) }")
    _, found = apply(spec, "g (float[2] x, float[2] u) => (float[2] y) { y = Mul(x, u) }")
    assert reasons(found) == ["x is 'x' in one place, 'u' in another"]


def test_two_names_may_be_one_value() -> None:
    graph, _ = apply(rule_of("a = Neg(p)  y = Mul(a, q)", "y = t.F(p, q)"),
                     "g (float[2] x) => (float[2] y) { n = Neg(x) y = Mul(n, x) }")  # fmt: skip
    assert lines(graph) == ["y = t.F(x, x)"]


def test_one_node_stands_for_one_statement() -> None:
    spec = rule_of("a = Neg(p)  b = Neg(q)  y = Add(a, b)", "y = t.F(p, q)")
    assert not matches(spec, "g (float[2] x) => (float[2] y) { n = Neg(x) y = Add(n, n) }")
    assert matches(spec, "g (float[2] x) => (float[2] y) { n = Neg(x) m = Neg(x) y = Add(n, m) }")


def test_domains_are_told_apart_and_the_default_one_has_two_spellings() -> None:
    assert not matches(rule_of("y = Relu(x)", "y = Neg(x)"), "g (float[2] x) => (float[2] y) { y = t.Relu(x) }")
    alias = graph_of("g (float[2] x) => (float[2] y) { y = ai.onnx.Relu(x) }")
    assert matches(rule_of("y = Relu(x)", "y = Neg(x)"), alias)


# -- absent inputs


def test_an_absent_input_matches_where_it_has_a_default() -> None:
    plain = rule_of("y = Clip(x, low, high)", "y = t.Clip3(x, low, high)")
    text = "g (float[2] x) => (float[2] y) <float h = {1}> { y = Clip(x, , h) }"
    assert reasons(apply(plain, text)[1]) == ["input low is absent"]
    with_default = rule_of("y = Clip(x, low, high)", "y = t.Clip3(x, low, high)", "default = { low = 'float32(-1)' }")
    graph, _ = apply(with_default, text)
    assert lines(graph) == ["y = t.Clip3(x, Clip_0/low, h)"]
    assert graph.constant("Clip_0/low") == -1


def test_a_trailing_input_may_be_left_out_or_empty() -> None:
    spec = rule_of("y = Clip(x, low, high)", "y = t.F(x, low, high)", "default = { low = '[]', high = 'None' }")
    for reads in ("x", "x, ", "x, , "):
        graph, _ = apply(spec, f"g (float[2] x) => (float[2] y) {{ y = Clip({reads}) }}")
        assert lines(graph) == ["y = t.F(x, Clip_0/low)"], "None stays absent"


def test_an_input_that_the_pattern_leaves_out_must_be_absent() -> None:
    spec = rule_of("y = Clip(x, , high)", "y = Min(x, high)")
    assert matches(spec, "g (float[2] x) => (float[2] y) <float h = {1}> { y = Clip(x, , h) }")
    text = "g (float[2] x) => (float[2] y) <float l = {0}, float h = {1}> { y = Clip(x, l, h) }"
    assert reasons(apply(spec, text)[1]) == ["input 'l' is there where none is wanted"]
    _, found = apply(rule_of("y = Clip(x)", "y = Identity(x)"), text)
    assert reasons(found) == ["3 inputs where at most 1 are wanted (at 'Clip_0')"]


def test_what_a_default_stands_for_is_still_absent() -> None:
    spec = rule_of(
        "y = Clip(x, low)", "y = Clip(x, l)",
        "default = { low = '0' }\nlet = { l = 'like(low, x)' }\nwhere = ['not present(low)']",
    )  # fmt: skip
    graph, found = apply(
        spec, "g (float[2] x) => (float[2] y, float[2] z) <float m = {1}> { y = Clip(x) z = Clip(x, m) }"
    )
    assert places(found) == ["Clip_0"] and lines(graph) == ["y = Clip(x, Clip_0/l)", "z = Clip(x, m)"]


@pytest.mark.parametrize(
    ("match", "nodes", "reason"),
    [
        (
            "a = Neg(x)  b = Neg(z)  y = Add(a, b)",
            "a = Neg(x) y = Add(a, a)",
            "one node cannot be two statements of the match (at 'Neg_0')",
        ),
        ("a = Neg(x)  y = Exp(x)", "y = Neg(x)", "no other Exp reads 'x'"),
        (
            "a, b = TopK(x, k)  y = Neg(b)",
            "a, b = TopK(x, k) y = Neg(a)",
            "b is to be output 1, but 'a' is another (at 'TopK_0')",
        ),
        (
            "y = Concat<axis = 0>(p, *q, r)",
            "y = Concat<axis = 0>(x)",
            "1 inputs where at least 2 are wanted (at 'Concat_0')",
        ),
    ],
)
def test_no_near_miss_is_without_a_reason(match: str, nodes: str, reason: str) -> None:
    made = "a, y" if match.startswith("a = Neg(x)  y") else "y"
    text = f"g (float[2] x) => (float[2] y) <int64[1] k = {{2}}> {{ {nodes} }}"
    assert reasons(apply(rule_of(match, f"{made} = t.Nothing()"), text)[1]) == [reason]


def test_absent_can_be_asked_for() -> None:
    spec = rule_of("y = Clip(x, low)", "y = Relu(x)", "default = { low = 'None' }\nwhere = ['not present(low)']")
    assert matches(spec, "g (float[2] x) => (float[2] y) { y = Clip(x) }")
    assert not matches(spec, "g (float[2] x) => (float[2] y) <float l = {0}> { y = Clip(x, l) }")


# -- outputs

TOPK = rule_of("y, i = TopK(x, k)", "y, i = t.TopK(x, k)")


@pytest.mark.parametrize("outputs,wanted", [("y, i", "y, i"), ("y", "y"), ('"", i', ", i"), ('y, ""', "y, ")])
def test_several_outputs_of_one_op(outputs: str, wanted: str) -> None:
    made = [name for name in ("y", "i") if name in outputs]
    types = {"y": "float[2] y", "i": "int64[2] i"}
    declared = ", ".join(types[name] for name in made)
    graph, _ = apply(TOPK, f"g (float[5] x) => ({declared}) <int64[1] k = {{2}}> {{ {outputs} = TopK(x, k) }}")
    assert lines(graph)[0].split(" = t.TopK")[0].rstrip(", ") == wanted.rstrip(", ")


def test_an_output_that_the_pattern_does_not_name_must_be_unread() -> None:
    spec = rule_of("y = TopK(x, k)", "y = t.Largest(x, k)")
    assert matches(spec, "g (float[5] x) => (float[2] y) <int64[1] k = {2}> { y, i = TopK(x, k) }")
    read = "g (float[5] x) => (float[2] y, int64[2] j) <int64[1] k = {2}> { y, i = TopK(x, k) j = Neg(i) }"
    assert reasons(apply(spec, read)[1]) == ["output 'i' is read, but the pattern does not name it (at 'TopK_0')"]
    output = "g (float[5] x) => (float[2] y, int64[2] i) <int64[1] k = {2}> { y, i = TopK(x, k) }"
    assert not matches(spec, output)


def test_the_pattern_says_which_output_is_read() -> None:
    spec = rule_of("v, i = TopK(x, k)  y = Neg(i)", "y = t.NegIndex(x, k)")
    text = "g (float[5] x) => (int64[2] y) <int64[1] k = {2}> { v, i = TopK(x, k) y = Neg(i) }"
    assert matches(spec, text)
    assert not matches(spec, text.replace("Neg(i)", "Neg(v)").replace("int64[2] y", "float[2] y"))
    both = text.replace("(int64[2] y)", "(int64[2] y, float[2] v)")
    assert reasons(apply(spec, both)[1]) == ["'v' is a graph output too"]


# -- inner values


def test_an_inner_value_with_a_second_reader_blocks() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { n = Neg(x) y = Exp(n) z = Relu(n) }"
    assert reasons(apply(FUSE, text)[1]) == ["'n' is also read by 'Relu_2'"]


def test_an_inner_value_that_is_an_output_blocks() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] n) { n = Neg(x) y = Exp(n) }"
    assert reasons(apply(FUSE, text)[1]) == ["'n' is a graph output too"]


def test_an_inner_value_read_twice_within_the_match_does_not_block() -> None:
    spec = rule_of("a = Neg(x)  y = Mul(a, a)", "y = Mul(x, x)")
    assert matches(spec, "g (float[2] x) => (float[2] y) { n = Neg(x) y = Mul(n, n) }")


def test_an_inner_value_captured_by_a_body_blocks() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y, float[2] z) {
          n = Neg(x)  y = Exp(n)
          [branch] z = If(c) <then_branch = a () => (float[2] t) { t = Identity(n) },
                     else_branch = b () => (float[2] e) { i = If(c) <then_branch = d () => (float[2] q) { q = Neg(x) },
                                                         else_branch = f () => (float[2] r) { r = Neg(x) }>
                                                          e = Relu(i) }>
        }"""
    )
    assert reasons(apply(FUSE, graph)[1]) == ["'n' is also read by 'branch'"]


def test_an_inner_value_captured_two_bodies_down_blocks() -> None:
    deep = helper.make_graph([helper.make_node("Exp", ["n"], ["q"])], "d", [], [_float("q")])
    inner = helper.make_node("If", ["c"], ["t"], then_branch=deep, else_branch=deep)
    body = helper.make_graph([inner], "b", [], [_float("t")])
    graph = graph_of("g (float[2] x, bool c) => (float[2] y, float[2] z) { n = Neg(x) y = Exp(n) }").full_proto()
    graph.graph.node.append(helper.make_node("If", ["c"], ["z"], "outer", then_branch=body, else_branch=body))
    found = apply(FUSE, Graph.from_proto(graph))[1]
    assert not found.matches and reasons(found)[0] == "'n' is also read by 'outer'"
    # in the bodies themselves the values made outside are not looked into
    assert set(reasons(found)[1:]) == {"a is to come from Neg, but 'n' is an input or a constant"}


def test_a_body_value_of_the_same_name_does_not_block() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y, float[2] z) {
          n = Neg(x)  y = Exp(n)
          z = If(c) <then_branch = a () => (float[2] t) { n = Relu(x) t = Neg(n) },
                     else_branch = b () => (float[2] e) { e = Relu(x) }>
        }"""
    )
    assert matches(FUSE, graph)


# -- attributes


def test_an_attribute_that_is_not_mentioned_matches_anything() -> None:
    spec = rule_of("y = Softmax(x)", "y = t.Softmax(x)")
    for attribute in ("", "<axis = 0>", "<axis = 1>"):
        assert matches(spec, f"g (float[2,2] x) => (float[2,2] y) {{ y = Softmax{attribute}(x) }}")


@pytest.mark.parametrize("opset,default", [(11, 1), (13, -1)])
def test_an_attribute_left_out_has_the_default_of_the_models_opset(opset: int, default: int) -> None:
    text = "g (float[2,2] x) => (float[2,2] y) { y = Softmax(x) }"
    for wanted in (1, -1):
        spec = rule_of(f"y = Softmax<axis = {wanted}>(x)", "y = t.Softmax(x)")
        assert matches(spec, text, opset) == (wanted == default)
    graph, _ = apply(rule_of("y = Softmax<axis = @a>(x)", "y = t.Softmax<axis = @a>(x)"), text, opset)
    assert lines(graph) == [f"y = t.Softmax<axis={default}>(x)"]


def test_the_default_is_that_of_the_ops_own_domain() -> None:
    graph = graph_of(
        """<ir_version: 8, opset_import: ["": 1, "ai.onnx.ml": 2]>
        g (string[2] x) => (int64[2] y) { y = ai.onnx.ml.LabelEncoder<keys_strings = ["a"], values_int64s = [1]>(x) }"""
    )
    spec = rule_of("y = ai.onnx.ml.LabelEncoder<default_float = 0.0>(x)", "y = t.Encode(x)")  # since version 2
    assert matches(spec, graph)


def test_no_value_and_no_default_can_be_asked_for() -> None:
    spec = rule_of("y = Clip<min = @low>(x)", "y = Relu(x)", "where = ['not has(@low)']")
    assert matches(spec, "g (float[2] x) => (float[2] y) { y = Clip(x) }", 13)
    assert not matches(spec, "g (float[2] x) => (float[2] y) { y = Clip<min=0.0>(x) }", 13)


def test_floats_are_compared_as_the_file_holds_them() -> None:
    spec = rule_of("y = LeakyRelu<alpha = 0.1>(x)", "y = t.F(x)")
    assert matches(spec, "g (float[2] x) => (float[2] y) { y = LeakyRelu<alpha=0.1>(x) }")
    assert not matches(spec, "g (float[2] x) => (float[2] y) { y = LeakyRelu<alpha=0.1001>(x) }")
    assert matches(rule_of("y = LeakyRelu<alpha = 1>(x)", "y = t.F(x)"),
                   "g (float[2] x) => (float[2] y) { y = LeakyRelu<alpha=1.0>(x) }")  # fmt: skip
    _, found = apply(spec, "g (float[2] x) => (float[2] y) { y = LeakyRelu(x) }")
    assert reasons(found) == ["alpha is 0.009999999776482582, 0.10000000149011612 is wanted (at 'LeakyRelu_0')"]


def test_lists_and_texts_are_compared_whole() -> None:
    spec = rule_of("y = Transpose<perm = [1, 0]>(x)", "y = t.F(x)")
    assert matches(spec, "g (float[2,3] x) => (float[3,2] y) { y = Transpose<perm=[1,0]>(x) }")
    assert not matches(spec, "g (float[2,3,1] x) => (float[3,2,1] y) { y = Transpose<perm=[1,0,2]>(x) }")
    assert not matches(rule_of('y = t.F<mode = "linear">(x)', "y = t.G(x)"),
                       'g (float[2] x) => (float[2] y) { y = t.F<mode="linea">(x) }')  # fmt: skip


def test_a_variable_stands_for_one_value() -> None:
    spec = rule_of("a = t.A<k = @k>(x)  y = t.B<k = @k>(a)", "y = t.C<k = @k>(x)")
    text = "g (float[2] x) => (float[2] y) { a = t.A<k=1>(x) y = t.B<k=%d>(a) }"
    assert matches(spec, text % 1)
    assert reasons(apply(spec, text % 2)[1]) == ["k is 1, 2 is wanted (at 'A_0')"]


def test_a_parameter_can_be_read_in_a_match() -> None:
    spec = pass_of(
        "params.k = { type = 'int', default = 1, help = 'h' }\n"
        "[[rewrite]]\nmatch = 'y = t.A<k = @k>(x)'\nreplace = 'y = t.B<k = @k>(x)'\n"
    )
    text = "g (float[2] x) => (float[2] y) { y = t.A<k=2>(x) }"
    assert apply(spec, text)[1].matches == []
    assert lines(apply(spec, text, k=2)[0]) == ["y = t.B<k=2>(x)"]


# -- alternatives and conditions


def test_alternatives_are_tried_in_order() -> None:
    spec = pass_of(
        "[[rewrite]]\nmatch = ['a = Neg(x)  y = Exp(a)', 'y = Exp(x)']\nreplace = 'y = t.F(x)'\n"
        "where = ['const(x) == false']\n"
    )
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y, float[2] z) { n = Neg(x) y = Exp(n) z = Exp(x) }")
    assert lines(graph) == ["y = t.F(x)", "z = t.F(x)"]


def test_a_condition_that_does_not_hold_is_named() -> None:
    spec = rule_of("y = Relu(x)", "y = Neg(x)", "where = ['rank(x) > 0', 'rank(x) == 3']")
    _, found = apply(spec, "g (float[2,2] x) => (float[2,2] y) { [act] y = Relu(x) }")
    assert reasons(found) == ["where[1] does not hold: rank(x) == 3"]
    assert found.misses[0].where in ("act", "Relu_0")


def test_a_condition_that_has_no_value_is_a_miss_with_its_reason() -> None:
    spec = rule_of("y = Relu(x)", "y = Neg(x)", "where = ['shape(x)[2] == 3']")
    _, found = apply(spec, "g (float[2,2] x) => (float[2,2] y) { y = Relu(x) }")
    assert reasons(found) == ["'shape(x)[2]': list index out of range"]


def test_a_body_or_tensor_as_attribute_is_bound_whole() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { c = Constant<value = float[2] {1, 2}>() y = Add(x, c) }")
    spec = rule_of("y = Constant<value = @v>()", "y = t.Held<value = @v>()", "where = ['has(@v)']")
    result, _ = apply(spec, graph)
    assert lines(result)[0] == "c = t.Held<value=float32[2] {1.0, 2.0}>()"


# -- what is constant

CONST = rule_of("y = Add(x, w)", "y = t.F(x)", "where = ['const(w)']")


def test_initializers_and_constant_nodes_are_constants() -> None:
    assert matches(CONST, "g (float[2] x) => (float[2] y) <float[2] w> { y = Add(x, w) }")
    assert matches(CONST, "g (float[2] x) => (float[2] y) { w = Constant<value_floats=[1.0, 2.0]>() y = Add(x, w) }")
    assert not matches(CONST, "g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }")


@pytest.mark.parametrize("ir,constant", [(3, True), (4, False), (8, False)])
def test_an_initializer_that_is_an_input_is_a_constant_before_ir_4_only(ir: int, constant: bool) -> None:
    graph = graph_of(
        f'<ir_version: {ir}, opset_import: ["": 8]>'
        "g (float[2] x, float[2] w = {1, 2}) => (float[2] y) { y = Add(w, x) }"
    )
    assert [info.name for info in graph.proto.graph.input] == ["x", "w"]
    assert matches(CONST, graph) == constant


# -- the amount of work


def chain(op: str, count: int) -> Graph:
    """A chain of nodes, and a Neg at its end."""
    nodes = [
        helper.make_node(op, [f"v{k}"], [f"v{k + 1}"], f"{op}_{k}", **({"perm": [1, 0]} if op == "Transpose" else {}))
        for k in range(count)
    ]
    nodes.append(helper.make_node("Neg", [f"v{count}"], ["y"], "end"))
    graph = helper.make_graph(nodes, "g", [_float("v0", [2, 2])], [_float("y", [2, 2])])
    return Graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def looks(monkeypatch: pytest.MonkeyPatch, spec: Pass, graph: Graph) -> int:
    """Return how many times a node was held against a statement while ``spec`` was applied."""
    count = 0
    original = Matcher._node

    def counted(self, *args):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        return original(self, *args)

    monkeypatch.setattr(Matcher, "_node", counted)
    apply(spec, graph)
    return count


@pytest.mark.parametrize("op", ["Identity", "Transpose", "Neg"])
def test_work_grows_with_the_graph_not_with_its_square(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    spec = {
        "Identity": IDENTITY,
        "Transpose": rule_of(
            "a = Transpose<perm = @p>(x)  y = Transpose<perm = @q>(a)",
            "y = Transpose<perm = @pq>(x)",
            "let = { pq = 'compose(p, q)' }",
        ),
        "Neg": rule_of("a = Neg(x)  y = Neg(a)", "y = x"),
    }[op]
    small, large = (looks(monkeypatch, spec, chain(op, count)) for count in (100, 800))
    assert small >= 100 and large <= 8.5 * small
    graph, found = apply(spec, chain(op, 800))
    assert len(found.matches) == {"Identity": 800, "Transpose": 799, "Neg": 400}[op]
    assert len(graph.nodes) == {"Identity": 1, "Transpose": 2, "Neg": 1}[op]


def test_a_rule_without_conditions_on_tensors_infers_no_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "value", lambda *_: pytest.fail("a shape was asked for"))
    assert len(apply(IDENTITY, chain("Identity", 5))[1].matches) == 5


def test_the_node_list_is_sorted_by_the_pass_not_by_the_match(monkeypatch: pytest.MonkeyPatch) -> None:
    # reading graph.proto between edits costs a sort of all nodes: a condition on a tensor must do without
    spec = rule_of("a = Neg(x)  y = Exp(a)", "y = Tanh(x)", "where = ['rank(x) == 2 and uses(y) == 1']")
    pairs = " ".join(f"a{k} = Neg(v{k}) v{k + 1} = Exp(a{k})" for k in range(30))
    sorts = []
    monkeypatch.setattr(nodes, "arrange", lambda *args: sorts.append(arrange(*args)))
    _, found = apply(spec, f"g (float[2,2] v0) => (float[2,2] v30) {{ {pairs} }}")
    assert len(found.matches) == 30 and len(sorts) <= 5


def test_a_search_without_end_is_given_up() -> None:
    # two ways down at every other Add, and no Relu at the bottom: 2^25 paths
    depth = 25
    adds = " ".join(f"a{k} = Add(t{k}, p) b{k} = Add(t{k}, q) t{k + 1} = Add(a{k}, b{k})" for k in range(depth))
    graph = graph_of(f"g (float[2] t0, float[2] p, float[2] q) => (float[2] t{depth}) {{ {adds} }}")
    steps = " ".join(f"m{k + 1} = Add(m{k}, w{k})" for k in range(2 * depth))
    _, found = apply(rule_of(f"m0 = Relu(x) {steps}", f"m{2 * depth} = Relu(x)"), graph)
    assert found.matches == []
    assert found.misses[-1].reason == f"given up after a look at {MAX_LOOKS} nodes"


def test_a_rule_that_matches_its_own_result_is_stopped() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    before = graph.proto.SerializeToString(deterministic=True)
    with pytest.raises(PassError) as error:
        apply(rule_of("y = Relu(x)", "t = Relu(x)  y = Relu(t)"), graph)
    assert str(error.value) == "x: rewrite[0] matches its own result without end; it was stopped"
    assert graph.proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("match", "replace", "more", "text"),
    [
        ("y = Relu(x)", "y = Relu(x)", "", "y = Relu(x)"),
        ("a = Relu+(x)  y = Sigmoid(a)", "r = Relu(x)  y = Sigmoid(r)", "", "a = Relu(x) y = Sigmoid(a)"),
        ("y = Squeeze(x, axes)", "y = Squeeze(x, one)", "let = { one = 'int64([1])' }", "y = Squeeze<axes = [1]>(x)"),
        (
            "y = Clip(x, low, high)",
            "y = Clip(x, l, h)",
            "let = { l = 'like(0, x)', h = 'like(6, x)' }",
            "y = Clip(x, l, h)",
        ),
    ],
)
@pytest.mark.parametrize("opset", [9, 17])
def test_what_is_there_already_is_no_match(match: str, replace: str, more: str, text: str, opset: int) -> None:
    if opset == 9:
        text = text.replace("Clip(x, l, h)", "Clip<min = 0.0, max = 6.0>(x)")
    elif "axes" in text:
        text = "y = Squeeze(x, axes)"
    _, found = apply(
        rule_of(match, replace, more),
        f"g (float[2,1] x) => (float[2] y) <int64[1] axes = {{1}}, float l = {{0}}, float h = {{6}}> {{ {text} }}",
        opset,
    )
    assert not found.matches and reasons(found)[-1] == "it would change nothing"


def test_constants_of_one_match_do_not_outlive_it() -> None:
    spec = rule_of("y = Relu(x)", "y = Add(x, c)", "let = { c = 'full([1000000], 1.0)' }")
    nodes = " ".join(f"v{k + 1} = Relu(v{k})" for k in range(30))
    graph = graph_of(f"g (float[2] v0) => (float[2] v30) {{ {nodes} }}")
    gc.disable()  # as a run does: what is in a circle stays
    tracemalloc.start()
    apply(spec, graph)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gc.enable()
    assert peak < 100e6


def test_a_chain_becomes_one_link() -> None:
    graph, found = apply(
        rule_of("y = Relu+(x)", "y = Relu(x)"),
        "g (float[2] x) => (float[2] y) { a = Relu(x) b = Relu(a) y = Relu(b) }",
    )
    assert lines(graph) == ["y = Relu(x)"] and len(found.matches) == 1


@pytest.mark.parametrize(("count", "where"), [(990, ""), (150, "where = ['rank(x) == 2']")])
def test_long_chains_need_no_stack(count: int, where: str) -> None:
    nodes = " ".join(f"v{k + 1} = Relu(v{k})" for k in range(count))
    graph = graph_of(f"g (float[2] v0) => (float[2] v{count}) {{ {nodes} }}")
    graph, _ = apply(rule_of("y = Relu+(x)", "y = Relu(x)", where), graph)
    assert graph.node_count == (count if where else 1)


def test_a_chain_ends_where_a_link_is_read_elsewhere() -> None:
    graph, _ = apply(
        rule_of("y = Relu+(x)", "y = Relu(x)"),
        "g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) b = Relu(a) c = Relu(b) y = Relu(c) z = Neg(b) }",
    )
    assert lines(graph) == ["b = Relu(x)", "y = Relu(b)", "z = Neg(b)"]


def test_an_output_that_a_node_does_not_have_is_not_made() -> None:
    more = "let = { ones = 'full(shape(x), 1)' }"
    rule = rule_of("y, m = Dropout(x)", "y = Neg(x)  t = Abs(ones)  m = Cast<to = 9>(t)", more)
    text = "g (float[2] x) => ({}) {{ {} }}"
    assert lines(apply(rule, text.format("float[2] y", "y = Dropout(x)"))[0]) == ["y = Neg(x)"]
    both = text.format("float[2] y, bool[2] m", "y, m = Dropout(x)")
    assert len(lines(apply(rule, both)[0])) == 3
    for present, count in (("present(m)", 0), ("not present(m)", 1)):
        asked = rule_of("y, m = Dropout(x)", "y = Neg(x)  m = Cast<to = 9>(x)", f"where = ['{present}']")
        assert len(apply(asked, text.format("float[2] y", "y = Dropout(x)"))[1].matches) == count
    split = rule_of("y, z = Split<axis = @a>(x, s)", "y, z = Split<axis = @a>(x, s)  ", "where = ['rank(x) == 1']")
    graph, _ = apply(split, "g (float[2] x) => (float[2] y) { y = Split<axis = 0>(x) }")
    assert lines(graph) == ["y = Split<axis=0>(x)"]


@pytest.mark.parametrize(
    ("match", "text", "opset", "fault"),
    [
        ("y = TopK(x, k)", "y, i = TopK<largest = 0>(x, k)", 17, "largest is 0, 1 is wanted"),
        ("y = TopK(x, k)", "y, i = TopK<axis = -1, sorted = 1>(x, k)", 17, ""),
        ("y = TopK<largest = @l>(x, k)", "y, i = TopK<largest = 0>(x, k)", 17, ""),
        ("y = Transpose(x)", "y = Transpose<perm = [1, 0]>(x)", 17, "perm is [1, 0], nothing is wanted"),
        ("a = Exp(x)  y = Softmax(a)", "a = Exp(x) y = Softmax<axis = 0>(a)", 17, "axis is 0, -1 is wanted"),
        # what is an input today is no attribute that a statement leaves out
        ("y = Squeeze(x, k)", "y = Squeeze<axes = [0]>(x)", 11, ""),
    ],
)
def test_attributes_that_are_not_mentioned(match: str, text: str, opset: int, fault: str) -> None:
    for plain in (False, True):
        rule = rule_of(match, "y = Abs(x)", f"plain = {str(plain).lower()}")
        _, found = apply(rule, f"g (float[1,4] x) => (float[1,4] y) <int64[1] k = {{0}}> {{ {text} }}", opset)
        assert len(found.matches) == (not (plain and fault))
        if plain and fault:
            assert reasons(found)[0].startswith(fault)


def test_what_the_nearest_miss_lacks_is_said_with_the_values() -> None:
    text = "g (float[2,3] x) => (float[2,3] y, float[2,3] z) { a = Exp(x) y = Relu(a) r = Relu(x) z = Relu(r) }"
    rule = rule_of("a = Exp(x)  y = Relu(a)", "y = Relu(x)", "where = ['shape(x) == [4]']")
    _, found = apply(rule, text)
    nearest = max(found.misses, key=lambda miss: miss.reach)
    assert nearest.where == "Relu_1"
    assert nearest.text() == "where[0] does not hold: shape(x) == [4] (x float32[2,3])"
    _, found = apply(
        rule_of("y = com.microsoft.Gelu(x)", "y = Relu(x)"), "g (float[2] x) => (float[2] y) { y = Gelu(x) }", 20
    )
    assert reasons(found) == ["com.microsoft.Gelu is wanted where Gelu is (at 'Gelu_0')"]


def test_what_is_alike_is_found_in_the_order_of_the_graph() -> None:
    text = " ".join(f"y{k} = MatMul(x, w{k})" for k in range(6))
    weights = ", ".join(f"float[2,{k + 1}] w{k}" for k in range(6))
    graph, _ = apply(
        rule_of(
            "q = MatMul(x, a)  k = MatMul(x, b)  v = MatMul(x, c)",
            "q, k, v = t.Three(x, a, b, c)",
        ),
        f"g (float[3,2] x) => ({', '.join(f'float[3,{k + 1}] y{k}' for k in range(6))}) <{weights}> {{ {text} }}",
    )
    assert lines(graph) == ["y0, y1, y2 = t.Three(x, w0, w1, w2)", "y3, y4, y5 = t.Three(x, w3, w4, w5)"]


def test_rules_that_undo_each_other_are_stopped() -> None:
    spec = pass_of(
        "[[rewrite]]\nmatch = 'y = Relu(x)'\nreplace = 'y = Neg(x)'\n"
        "[[rewrite]]\nmatch = 'y = Neg(x)'\nreplace = 'y = Relu(x)'\n"
    )
    with pytest.raises(PassError) as error:
        apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert str(error.value) == "x: it matches its own results without end; it was stopped"


def test_a_rule_that_doubles_each_round_is_stopped_early() -> None:
    # y is known to the shapes of this round, a and b only to those of the next
    spec = rule_of("y = Relu(x)", "a = Relu(x)  b = Relu(x)  y = Add(a, b)", "where = ['rank(y) == 1']")
    with pytest.raises(PassError, match="without end"):
        apply(spec, "g (float[2] x) => (float[2] y) { y = Relu(x) }")


def test_a_match_that_an_earlier_one_makes_possible_is_found() -> None:
    # the second reader of n, an Identity, goes first
    spec = pass_of(
        "[[rewrite]]\nmatch = 'a = Neg(x)  y = Exp(a)'\nreplace = 'y = t.NegExp(x)'\n"
        "[[rewrite]]\nmatch = 'b = Identity(p)  y = Mul(q, b)'\nreplace = 'y = Exp(q)'\n"
    )
    text = (
        "g (float[2] x, float[2] u) => (float[2] y, float[2] z) { n = Neg(x) y = Exp(n) i = Identity(n) z = Mul(u, i) }"
    )
    graph, found = apply(spec, text)
    assert lines(graph) == ["y = t.NegExp(x)", "z = Exp(u)"] and len(found.matches) == 2
    # the misses are those of the last look: y is no longer among them
    assert [(miss.where, miss.reason) for miss in found.misses] == [
        ("Mul_3", "a is to come from Neg, but 'u' is an input or a constant")
    ]


def _float(name: str, shape: list[int] | None = None):  # type: ignore[no-untyped-def]
    return helper.make_tensor_value_info(name, 1, shape or [2])


@pytest.mark.parametrize("spec", [FUSE, IDENTITY, rule_of("a = Neg(x)  y = Relu|Exp(a)", "y = @y(x)")])
def test_a_node_that_names_none_of_its_outputs_stays(spec: Pass) -> None:
    graph = graph_of("g (float[2] x) => (float[2] z) { n = Neg(x) e = Exp(n) i = Identity(x) z = Abs(x) }")
    proto = graph.full_proto()
    for node in proto.graph.node[1:3]:
        node.output[0] = ""
    graph = Graph.from_proto(proto)
    before = lines(graph)
    assert "it makes nothing that has a name" in reasons(apply(spec, graph)[1])
    assert lines(graph) == before
