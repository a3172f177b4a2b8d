"""The ``edit`` body: which nodes it selects, what it makes of their attributes, and when it is no match."""

from __future__ import annotations

import pytest
from conftest import graph_of
from onnx import AttributeProto, helper
from rewriting import apply, lines, pass_of, places, reasons

from graphtool.graph import Graph
from graphtool.graph.bodies import walk
from graphtool.rewrite import Pass


def edit(change: str, select: str = 'op = "LeakyRelu"', more: str = "") -> Pass:
    return pass_of(f"{more}\n[[edit]]\nselect = {{ {select} }}\n{change}\n")


LEAKY = "g (float[2] x) => (float[2] y) { y = LeakyRelu%s(x) }"


# -- what it changes


def test_an_attribute_is_set_in_the_type_of_the_schema() -> None:
    graph, found = apply(edit("set = { alpha = 2 }"), LEAKY % "<alpha=0.5>")
    assert lines(graph) == ["y = LeakyRelu<alpha=2.0>(x)"] and places(found) == ["LeakyRelu_0"]
    assert graph.nodes[0].attribute[0].type == AttributeProto.FLOAT


def test_an_attribute_that_is_not_there_is_added() -> None:
    graph, _ = apply(edit("set = { alpha = 0.5 }"), LEAKY % "")
    assert lines(graph) == ["y = LeakyRelu<alpha=0.5>(x)"]


def test_an_attribute_is_unset() -> None:
    graph, found = apply(edit('unset = ["alpha"]'), LEAKY % "<alpha=0.5>")
    assert lines(graph) == ["y = LeakyRelu(x)"]
    graph, found = apply(edit('unset = ["alpha"]'), graph)
    assert reasons(found) == ["it already is as wanted"]


@pytest.mark.parametrize("alpha", ["<alpha=0.1>", ""])
def test_a_node_that_is_as_wanted_is_no_match(alpha: str) -> None:
    wanted = 0.1 if alpha else 0.01  # 0.01 is the default; neither is a float32
    graph, found = apply(edit(f"set = {{ alpha = {wanted} }}"), LEAKY % alpha)
    assert reasons(found) == ["it already is as wanted"] and lines(graph) == [f"y = LeakyRelu{alpha}(x)"]


def test_setting_twice_changes_once() -> None:
    spec = edit("set = { alpha = 0.1 }")
    graph, first = apply(spec, LEAKY % "")
    _, second = apply(spec, graph)
    assert (len(first.matches), len(second.matches)) == (1, 0)


def test_some_attributes_set_some_unset() -> None:
    spec = edit(
        'set = { mode = "cubic", cubic_coeff_a = -0.5 }\nunset = ["nearest_mode", "exclude_outside"]', 'op = "Resize"'
    )
    text = "g (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] s = {1,1,2,2}> { y = Resize<%s>(x, , s) }"
    graph, _ = apply(spec, text % 'mode="linear", nearest_mode="ceil"')
    assert lines(graph) == ['y = Resize<cubic_coeff_a=-0.5, mode="cubic">(x, , s)']


@pytest.mark.parametrize(
    "change,reason",
    [
        ("{ slope = 1 }", "LeakyRelu of opset 16 has no attribute 'slope'"),
        ("{ alpha = 'steep' }", "attribute 'alpha' of LeakyRelu takes float, not 'steep'"),
        ("{ alpha = [1, 2] }", "attribute 'alpha' of LeakyRelu"),
    ],
)
def test_what_the_op_does_not_take_is_a_miss(change: str, reason: str) -> None:
    graph, found = apply(edit(f"set = {change}"), LEAKY % "")
    assert reasons(found)[0].startswith(reason) and lines(graph) == ["y = LeakyRelu(x)"]


def test_an_op_that_onnx_does_not_know_takes_anything() -> None:
    text = "g (float[2] x) => (float[2] y) { y = my.dom.Foo(x) }"
    select = 'op = "Foo", domain = "my.dom"'
    graph, _ = apply(edit("set = { a = 1, b = [0.5], c = 'text', d = true }", select), text)
    assert lines(graph) == ['y = my.dom.Foo<a=1, b=[0.5], c="text", d=1>(x)']
    assert apply(edit("set = { a = 1, b = [0.5], c = 'text', d = true }", select), graph)[1].matches == []
    for odd in ("[1, 'a']", "[]"):
        _, found = apply(edit(f"set = {{ a = {odd} }}", select), text)
        assert found.matches == [] and len(reasons(found)) == 1


def test_parameters_fill_in() -> None:
    params = (
        "params.alpha = { type = 'float', default = 0.5, help = 'h' }\n"
        "params.glob = { type = 'string', default = '*', help = 'h' }\n"
    )
    spec = edit("set = { alpha = '$alpha' }", "op = 'LeakyRelu', name = '$glob'", params)
    text = "g (float[2] x) => (float[2] y) { a = LeakyRelu(x) y = LeakyRelu(a) }"
    graph, found = apply(spec, text, alpha=0.25, glob="*_1")
    assert lines(graph) == ["a = LeakyRelu(x)", "y = LeakyRelu<alpha=0.25>(a)"]
    assert reasons(found) == ["its name does not match *_1"]


# -- what it selects


def test_by_op_name_and_attributes() -> None:
    select = 'op = ["LeakyRelu", "Elu"], name = "*_[13]", attrs = { alpha = 0.01 }'
    text = """g (float[2] x) => (float[2] y) {
      a = LeakyRelu(x) b = LeakyRelu<alpha=0.01>(a) c = LeakyRelu(b) d = Elu<alpha=0.01>(c) e = Relu(d) y = Elu(e) }"""
    _, found = apply(edit("set = { alpha = 3 }", select), text)
    assert places(found) == ["LeakyRelu_1", "Elu_3"]
    assert reasons(found) == ["its name does not match *_[13]"] * 2 + ["its name does not match *_[13]"]
    _, found = apply(edit("set = { alpha = 3 }", 'op = "Elu", attrs = { alpha = 0.01 }'), text)
    assert reasons(found) == ["alpha is 1.0, not 0.01"]


def test_by_the_default_of_the_models_opset() -> None:
    spec = edit("set = { axis = 0 }", 'op = "Softmax", attrs = { axis = -1 }')
    text = "g (float[2,2] x) => (float[2,2] y) { y = Softmax(x) }"
    assert len(apply(spec, text, 13)[1].matches) == 1 and not apply(spec, text, 11)[1].matches


def test_by_domain() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { a = my.dom.Elu(x) b = ai.onnx.Elu(a) y = Elu(b) }")
    graph, found = apply(edit("set = { alpha = 3 }", 'op = "Elu"'), graph)
    assert places(found) == ["Elu(b)", "Elu(y)"]
    graph, found = apply(edit("set = { alpha = 3 }", 'op = "Elu", domain = "my.dom"'), graph)
    assert places(found) == ["Elu(a)"]


def test_conditions_see_values_attributes_op_and_name() -> None:
    text = """g (float[2,3] x) => (float[2,3] y) <float[3] w> { a = LeakyRelu(x) b = Mul(a, w) y = Elu(b) }"""
    for where in (
        "rank(input0) == 2 and shape(output0) == [2, 3]",
        "@alpha > 0.5",
        "op == 'Elu'",
        "glob(name, 'Elu_*')",
        "not present(input1)",
        "uses(output0) == 1",
    ):
        _, found = apply(edit(f'where = ["{where}"]\nset = {{ alpha = 3 }}', 'op = "Elu"'), text)
        assert places(found) == ["Elu_2"], where
        _, found = apply(edit(f'where = ["not ({where})"]\nset = {{ alpha = 3 }}', 'op = "Elu"'), text)
        assert reasons(found) == [f"where[0] does not hold: not ({where})"]


def test_a_condition_without_a_value_is_a_miss() -> None:
    _, found = apply(edit('where = ["shape(input0)[5] == 1"]\nset = { alpha = 3 }'), LEAKY % "")
    assert reasons(found) == ["where[0]: 'shape(input0)[5]': list index out of range"]


def test_shapes_are_asked_for_only_where_a_condition_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "value", lambda *_: pytest.fail("a shape was asked for"))
    assert apply(edit("where = [\"@alpha == 1 or op == 'LeakyRelu'\"]\nset = { alpha = 3 }"), LEAKY % "")[1].matches


# -- bodies of If and Loop


def nested() -> Graph:
    """An If in the body of a Loop, LeakyRelu at each level."""
    then = helper.make_graph([helper.make_node("LeakyRelu", ["s"], ["t"], "deep")], "t", [], [_float("t")])
    other = helper.make_graph([helper.make_node("Neg", ["s"], ["e"])], "e", [], [_float("e")])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c2"]),
            helper.make_node("If", ["c"], ["b"], "if", then_branch=then, else_branch=other),
            helper.make_node("LeakyRelu", ["b"], ["s2"], "inner", alpha=0.5),
        ],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("c", 9, []), _float("s")],
        [helper.make_tensor_value_info("c2", 9, []), _float("s2")],
    )
    nodes = [
        helper.make_node("LeakyRelu", ["x"], ["s0"], "outer"),
        helper.make_node("Loop", ["n", "", "s0"], ["y"], "loop", body=body),
    ]
    count = helper.make_tensor("n", 7, [], [2])
    graph = helper.make_graph(nodes, "g", [_float("x")], [_float("y")], [count])
    return Graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def _float(name: str):  # type: ignore[no-untyped-def]
    return helper.make_tensor_value_info(name, 1, [2])


def test_nodes_in_bodies_are_edited_too() -> None:
    graph, found = apply(edit("set = { alpha = 3 }"), nested())
    assert places(found) == ["outer", "deep", "inner"]
    leaky = [node for node in walk(graph.proto.graph) if node.op_type == "LeakyRelu"]
    assert [node.attribute[0].f for node in leaky] == [3, 3, 3]
    assert apply(edit("set = { alpha = 3 }"), graph)[1].matches == []


def test_shapes_in_bodies_are_unknown() -> None:
    _, found = apply(edit('where = ["rank(input0) == 1"]\nset = { alpha = 3 }'), nested())
    assert places(found) == ["outer"]
    assert reasons(found)[0] == "where[0]: 'rank(input0)': the rank of 's' is unknown"


def test_an_inner_name_that_an_outer_value_has_too_is_not_taken_for_it() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y) { k = Neg(x) y = If(c) <
          then_branch = a () => (float[1,2] t) { k = Unsqueeze(x, zero) t = LeakyRelu(k) },
          else_branch = b () => (float[2] e) { e = Neg(k) }> }"""
    )
    _, found = apply(edit('where = ["rank(input0) == 1"]\nset = { alpha = 3 }'), _with_zero(graph))
    assert places(found) == []


def _with_zero(graph: Graph) -> Graph:
    graph.proto.graph.initializer.append(helper.make_tensor("zero", 7, [1], [0]))
    graph.reindex()
    return graph


def test_several_edits_and_opsets() -> None:
    spec = pass_of(
        '[[edit]]\nopset = ">=15"\nselect = { op = "LeakyRelu" }\nset = { alpha = 3 }\n'
        '[[edit]]\nopset = "<15"\nselect = { op = "LeakyRelu" }\nset = { alpha = 4 }\n'
    )
    assert lines(apply(spec, LEAKY % "", 17)[0]) == ["y = LeakyRelu<alpha=3.0>(x)"]
    assert lines(apply(spec, LEAKY % "", 13)[0]) == ["y = LeakyRelu<alpha=4.0>(x)"]
