"""What a pattern can say beyond one shape: several roots, any number of inputs, chains, families of ops, bodies."""

from __future__ import annotations

import pytest
from conftest import graph_of
from rewriting import apply, lines, names, reasons, rule_of, run

from graphtool.graph import Graph, check
from graphtool.rewrite.rule import MAX_AROUND

# -- several roots

PAIR = rule_of("a = Neg(x)  b = Exp(x)", "a, b = t.Both(x)")


def test_two_roots_become_one_node_with_two_outputs() -> None:
    graph, found = apply(
        PAIR, "g (float[2] x) => (float[2] y, float[2] z) { n = Neg(x) e = Exp(x) y = Abs(n) z = Abs(e) }"
    )
    assert lines(graph) == ["n, e = t.Both(x)", "y = Abs(n)", "z = Abs(e)"]
    assert found.matches[0].outputs == ("n", "e") and names(graph)[0] == "Neg_0"


def test_a_root_is_found_behind_other_statements() -> None:
    spec = rule_of("a = Neg(x)  c = Abs(a)  b = Exp(x)", "b, c = t.Both(x)")
    graph, _ = apply(spec, "g (float[2] x) => (float[2] y, float[2] z) { z = Exp(x) n = Neg(x) y = Abs(n) }")
    assert lines(graph) == ["z, y = t.Both(x)"]


def test_roots_share_operands_that_are_nowhere_else() -> None:
    spec = rule_of("q = MatMul(x, a)  k = MatMul(x, b)", "q, k = t.Pair(x, a, b)", "where = ['const(a) and const(b)']")
    text = (
        "g (float[2,2] x, float[2,2] u) "
        "=> (float[2,2] y) <float[2,2] v, float[2,2] w> {{ q = MatMul(x, v) k = MatMul({}, w) y = Add(q, k) }}"
    )
    assert lines(apply(spec, text.format("x"))[0])[0] in ("q, k = t.Pair(x, v, w)", "k, q = t.Pair(x, w, v)")
    assert not apply(spec, text.format("u"))[1].matches


def test_a_way_from_one_root_to_the_other_would_be_a_cycle() -> None:
    spec = rule_of("a = Neg(x)  b = Add(x, z)", "a, b = t.Both(x, z)")
    text = "g (float[2] x) => (float[2] y) { n = Neg(x) m = Abs(n) y = Add(x, m) }"
    graph, found = apply(spec, text)
    assert not found.matches and "made out of another" in reasons(found)[0]
    assert len(graph.nodes) == 3


def test_a_long_way_between_the_roots_is_not_followed_to_its_end() -> None:
    spec = rule_of("a = Neg(x)  b = Exp(x)", "a, b = t.Both(x)")
    chain = "".join(f" c{i + 1} = Abs(c{i})" for i in range(MAX_AROUND + 10))
    before = f"c0 = Neg(x) {chain}"
    text = f"{before} y = Exp(x) z = Abs(c{MAX_AROUND + 10})"
    graph = graph_of("g (float[2] x) => (float[2] y, float[2] z) { y = Exp(x) z = Neg(x) }").full_proto()
    del graph.graph.node[:]
    for statement in text.split(") "):
        made, _, call = statement.partition(" = ")
        op, _, read = call.rstrip(")").partition("(")
        graph.graph.node.add(op_type=op, input=[read], output=[made.strip()], name=made.strip())
    assert "nodes apart" in reasons(apply(spec, Graph.from_proto(graph))[1])[0]


def test_readers_before_the_new_node_are_put_behind_it() -> None:
    graph, _ = apply(PAIR, "g (float[2] x) => (float[2] y, float[2] z) { n = Neg(x) y = Abs(n) z = Exp(x) }")
    assert lines(graph) == ["n, z = t.Both(x)", "y = Abs(n)"]
    assert not check(graph)


# -- any number of inputs

NESTED = rule_of("a = Concat<axis = @k>(*xs)  y = Concat<axis = @k>(*b, a, *c)", "y = Concat<axis = @k>(*b, *xs, *c)")


@pytest.mark.parametrize(
    ("reads", "after"),
    [("a, u", "x, u, u"), ("u, a", "u, x, u"), ("a", "x, u"), ("u, a, x, x", "u, x, u, x, x")],
)
def test_any_number_of_inputs_before_and_behind(reads: str, after: str) -> None:
    text = f"g (float[2] x, float[2] u) => (float[?] y) {{ a = Concat<axis = 0>(x, u) y = Concat<axis = 0>({reads}) }}"
    assert lines(apply(NESTED, text.replace("[?]", "[n]"))[0]) == [f"y = Concat<axis=0>({after})"]


def test_attributes_still_decide() -> None:
    text = "g (float[2,2] x) => (float[4,4] y) { a = Concat<axis = 0>(x, x) y = Concat<axis = 1>(a, a) }"
    assert not apply(NESTED, text)[1].matches


def test_conditions_over_any_number_of_inputs() -> None:
    spec = rule_of(
        "y = Concat<axis = @k>(*xs)",
        "y = z",
        "where = ['const(xs) and len(xs) > 1 and static(xs)', 'extents(xs, 0)[1] == shape(xs[1])[0]']\n"
        "let = { z = 'join(xs, k)' }",
    )
    text = (
        "g (float[2] x) "
        "=> (float[4] y) <float[2] a = {1,2}, float[2] b = {3,4}> { c = "
        "Concat<axis = 0>(a, b) d = Concat<axis = 0>(x, x) y = Add(c, d) }"
    )
    graph, found = apply(spec, text)
    assert len(found.matches) == 1 and len(graph.nodes) == 2
    assert graph.constant(graph.nodes[1].input[0]).tolist() == [1, 2, 3, 4]  # type: ignore[union-attr]


# -- chains

CHAIN = rule_of("y = Relu+(x)", "y = t.Relus(x)")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_chain_of_one_or_more(count: int) -> None:
    inner = " ".join(f"r{i + 1} = Relu(r{i})" for i in range(count))
    graph, found = apply(CHAIN, f"g (float[2] r0) => (float[2] y) {{ {inner} y = Neg(r{count}) }}")
    assert lines(graph)[0] == f"r{count} = t.Relus(r0)" and len(found.matches[0].old) == count


def test_a_chain_ends_where_a_value_is_read_elsewhere() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Relu(x) z = Neg(a) b = Relu(a) y = Relu(b) }"
    graph, _ = apply(CHAIN, text)
    assert lines(graph) == ["a = t.Relus(x)", "z = Neg(a)", "y = t.Relus(a)"]


def test_the_links_of_a_chain_have_one_set_of_attributes_and_operands() -> None:
    spec = rule_of("y = Transpose+<perm = @p>(x)", "y = t.Turns<perm = @p>(x)", "where = ['len(p) == 2']")
    text = (
        "g (float[2,2] x) "
        "=> (float[2,2] y) { a = Transpose<perm = [1,0]>(x) b = "
        "Transpose<perm = [0,1]>(a) y = Transpose<perm = [0,1]>(b) }"
    )
    assert lines(apply(spec, text)[0]) == ["a = t.Turns<perm=[1, 0]>(x)", "y = t.Turns<perm=[0, 1]>(a)"]
    add = rule_of("y = Mul+(x, c)", "y = t.Muls(x, c)")
    text = "g (float x) => (float y) <float p = {1}, float q = {2}> { a = Mul(x, p) b = Mul(a, p) y = Mul(b, q) }"
    assert lines(apply(add, text)[0]) == ["b = t.Muls(x, p)", "y = t.Muls(b, q)"]


def test_a_chain_within_a_pattern() -> None:
    spec = rule_of("a = Neg(x)  b = Relu+(a)  y = Exp(b)", "y = t.All(x)")
    text = "g (float[2] x) => (float[2] y) { n = Neg(x) a = Relu(n) b = Relu(a) y = Exp(b) }"
    assert lines(apply(spec, text)[0]) == ["y = t.All(x)"]


# -- families of ops


def test_one_of_several_ops_and_the_same_in_the_replacement() -> None:
    spec = rule_of("a = Identity(x)  y = Relu|Neg|Exp(a)", "y = @y(x)")
    text = (
        "g (float[2] x) "
        "=> (float[2] y, float[2] z, float[2] u) { a = Identity(x) y = Neg(a) b "
        "= Identity(x) z = Exp(b) c = Identity(x) u = Abs(c) }"
    )
    assert lines(apply(spec, text)[0]) == ["y = Neg(x)", "z = Exp(x)", "c = Identity(x)", "u = Abs(c)"]


def test_attributes_of_a_family_are_carried_over() -> None:
    spec = rule_of("a = Neg(x)  y = Softmax|LogSoftmax(a)", "y = @y<like = @y>(x)")
    graph, _ = apply(spec, "g (float[2,3] x) => (float[2,3] y) { a = Neg(x) y = LogSoftmax<axis = 0>(a) }")
    assert lines(graph) == ["y = LogSoftmax<axis=0>(x)"]


# -- values inside a match that others read

SHARED = rule_of("a = Neg(x)  b = Neg(a)  y = Exp(b)", "y = Exp(x)", "shared = ['a', 'b']")


def test_a_shared_value_stays_with_what_it_is_made_of() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Neg(x) b = Neg(a) y = Exp(b) z = Abs(b) }"
    assert lines(apply(SHARED, text)[0]) == ["a = Neg(x)", "b = Neg(a)", "y = Exp(x)", "z = Abs(b)"]
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Neg(x) b = Neg(a) y = Exp(b) z = Abs(a) }"
    assert lines(apply(SHARED, text)[0]) == ["a = Neg(x)", "y = Exp(x)", "z = Abs(a)"]


def test_a_shared_value_may_be_an_output_and_may_be_read_by_the_replacement() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] a) { a = Neg(x) b = Neg(a) y = Exp(b) }"
    assert lines(apply(SHARED, text)[0]) == ["a = Neg(x)", "y = Exp(x)"]
    spec = rule_of("a = Relu(x)  y = Relu(a)", "y = a", "shared = ['a']")
    assert lines(apply(spec, "g (float[2] x) => (float[2] y) { a = Relu(x) y = Relu(a) }")[0]) == ["y = Relu(x)"]


# -- one form for what is an attribute in old opsets


@pytest.mark.parametrize(
    ("opset", "before", "after"),
    [
        (13, "s = Squeeze(x, a)", "y = Relu(x)"),
        (11, "s = Squeeze<axes = [0]>(x)", "y = Relu(x)"),
    ],
)
def test_a_pattern_reads_every_form(opset: int, before: str, after: str) -> None:
    spec = rule_of(
        "s = Squeeze(x, axes)  y = Relu(s)", "r = Relu(x)  y = Squeeze(r, axes)", "where = ['ints(axes) == [0]']"
    )
    declared = "<int64[1] a = {0}>" if opset == 13 else ""
    graph, _ = apply(spec, f"g (float[1,3] x) => (float[3] y) {declared} {{ {before} y = Relu(s) }}", opset)
    wanted = "y = Squeeze(y/r, a)" if opset == 13 else "y = Squeeze<axes=[0]>(y/r)"
    assert [line.replace("Relu_1", "y") for line in lines(graph)] == ["y/r = Relu(x)", wanted] and after
    assert run(graph)["y"].shape == (3,)


def test_what_an_old_opset_cannot_say_is_refused_with_the_reason() -> None:
    spec = rule_of("y = Neg(x)", "y = Squeeze(x, axes)", "let = { axes = 'int64([0])' }")
    assert lines(apply(spec, "g (float[1,3] x) => (float[3] y) { y = Neg(x) }", 11)[0]) == ["y = Squeeze<axes=[0]>(x)"]
    spec = rule_of("y = Add(x, axes)", "y = Squeeze(x, axes)")
    found = apply(spec, "g (float[1,3] x, float[3] u) => (float[3] y) { y = Add(x, u) }", 11)[1]
    assert reasons(found) == ["axes of Squeeze is an attribute before opset 13 and must be constant"]


# -- bodies

BODY = """g (float[2] x, bool c) => (float[2] y) {{
  n = Neg(x)
  y = If(c) <then_branch = a () => (float[2] t) {{ {} }}, else_branch = b () => (float[2] e) {{ e = Relu(x) }}>
}}"""
UNDO = rule_of("a = Neg(x)  y = Neg(a)", "y = x")


def inside(graph: Graph) -> list[str]:
    return [line for body in graph.bodies() for line in lines(body)]


def test_a_match_in_a_body() -> None:
    graph, found = apply(UNDO, graph_of(BODY.format("p = Neg(x) q = Neg(p) t = Abs(q)")))
    assert inside(graph) == ["t = Abs(x)", "e = Relu(x)"]
    assert len(found.matches) == 1 and not found.matches[0].old  # parity cannot look into a body


def test_no_match_reaches_out_of_a_body() -> None:
    graph, found = apply(UNDO, graph_of(BODY.format("q = Neg(n) t = Abs(q)")))
    assert not found.matches and inside(graph)[0] == "q = Neg(n)"


def test_an_output_of_a_body_keeps_its_name() -> None:
    graph, found = apply(UNDO, graph_of(BODY.format("p = Neg(x) t = Neg(p)")))
    assert len(found.matches) == 1 and inside(graph) == ["t = Identity(x)", "e = Relu(x)"]


# -- a forward between two names that both stay


def test_an_identity_is_left_where_two_names_stay() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Neg(x) y = Neg(a) }"
    graph, found = apply(UNDO, graph_of(text))
    assert lines(graph) == ["y = Identity(x)"] and [node.op_type for node in found.matches[0].new] == ["Identity"]
    assert not apply(UNDO, graph)[1].matches


def test_no_identity_where_one_node_would_take_the_place_of_one() -> None:
    shared = rule_of("a = Neg(x)  y = Neg(a)", "y = x", "shared = ['a']")
    text = "g (float[2] x) => (float[2] y, float[2] z) { a = Neg(x) y = Neg(a) z = Exp(a) }"
    assert any("it would join graph output 'y' with input" in reason for reason in reasons(apply(shared, text)[1]))
    text = "g (float[2] x) => (float[2] y) { y = Neg(x) }"
    assert "it would join graph output 'y'" in reasons(apply(rule_of("y = Neg(x)", "y = x"), text)[1])[0]


def test_two_outputs_of_one_value_are_joined_by_an_identity() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { z = Exp(x) a = Neg(z) y = Neg(a) }"
    assert lines(apply(UNDO, graph_of(text))[0]) == ["z = Exp(x)", "y = Identity(z)"]


def test_what_a_body_captures_no_longer_can_go() -> None:
    spec = rule_of("a = Mul(x, z)  y = Add(a, x)", "y = x")
    text = BODY.format("p = Mul(x, n) q = Add(p, x) t = Abs(q)")
    graph, _ = apply(spec, graph_of(text))
    assert graph.index.uses("n") == 0 and graph.index.uses("x") == 2


def test_a_constant_outside_is_one_inside_too() -> None:
    spec = rule_of("y = Mul(x, k)", "y = x", "where = ['near(k, 1)']")
    text = BODY.format("p = Mul(x, one) t = Abs(p)").replace(
        "=> (float[2] y) {", "=> (float[2] y) <float one = {1}> {", 1
    )
    assert inside(apply(spec, graph_of(text))[0])[0] == "t = Abs(x)"


def test_new_constants_and_names_of_a_body_are_its_own() -> None:
    spec = rule_of("y = Abs(x)", "m = Mul(x, k)  y = Relu(m)", "let = { k = 'like(1, x)' }")
    graph, _ = apply(spec, graph_of(BODY.format("q = Neg(x) t = Abs(q)")))
    body = next(graph.bodies())
    assert [tensor.name for tensor in body.header.initializer] == ["t/k"] or len(body.header.initializer) == 1
    assert not graph.initializers and not check(graph)
    assert run(graph)["y"].shape == (2,)
