"""The ``region`` body: what belongs to a region, what is put at its border, when it pays, what its reader refuses."""

from __future__ import annotations

import random

import numpy as np
import pytest
from conftest import graph_of
from onnx import TensorProto, helper
from rewriting import apply, lines, names, pass_of, places, reasons, run
from work import work

from graphtool.cases import model_of, run_case
from graphtool.errors import PassError
from graphtool.graph import Graph, check
from graphtool.rewrite import Catalog, Pass
from graphtool.rewrite.bodies import Body
from graphtool.rewrite.region import Region

NARROW = """
values    = "dtype(v) == 'int64'"
dtype     = "int32"
constants = "int32(c)"
enter     = 'int32 = Cast<to = 6>(v)'
leave     = 'v = Cast<to = 7>(int32)'
"""
MEMBERS = '[[region.member]]\nop = ["Add", "Mul", "Neg", "Gather", "Reshape", "Where", "Less", "Identity", "TopK"]\n'
CAST = "[[region.member]]\nop = 'Cast'\nset = { to = '6 if @to == 7 else @to' }\n"


def narrow(more: str = "", members: str = MEMBERS, head: str = NARROW) -> Pass:
    return pass_of(f"[[region]]\n{head}{more}\n{members}")


# -- what belongs to a region


def test_a_value_is_converted_once_for_all_its_readers_and_back_only_where_one_is_outside() -> None:
    graph, found = apply(
        narrow(), "g (int64[2] x) => (int64[2] y, int64[2] z) { a = Neg(x) b = Add(x, a) y = Abs(a) z = Mul(b, x) }"
    )
    assert lines(graph) == [
        "x/int32 = Cast<to=6>(x)",
        "a/int32 = Neg(x/int32)",
        "a = Cast<to=7>(a/int32)",
        "b/int32 = Add(x/int32, a/int32)",
        "y = Abs(a)",
        "z/int32 = Mul(b/int32, x/int32)",
        "z = Cast<to=7>(z/int32)",
    ]
    assert names(graph) == ["x/Cast", "Neg_0", "a/Cast", "Add_1", "Abs_2", "Mul_3", "z/Cast"]
    assert places(found) == ["Neg_0"]
    assert reasons(found) == ["it reads 'a' of a region and does not belong to one"]


def test_regions_that_share_no_value_are_apart_and_each_must_pay() -> None:
    text = "g (int64[2] x, int64[2] u) => (bool[2] y, bool[2] z) { a = Neg(x) y = Less(a, a) z = Less(u, u) }"
    graph, found = apply(narrow('where = ["nodes > 1"]'), text)
    assert lines(graph)[0] == "x/int32 = Cast<to=6>(x)" and lines(graph)[-1] == "z = Less(u, u)"
    assert places(found) == ["Neg_0"]
    assert reasons(found) == ["where[0] does not hold: nodes > 1 (a region of 1 nodes, 1 values in, 0 out)"]


def test_type_variables_change_together_or_not_at_all() -> None:
    # the shape of a Reshape and the indices of a TopK are int64 by the specification; the rest follows the data
    text = """g (int64[6] x, int64[2] s) => (int64[a,b] y, int64[2] i) <int64[1] k = {2}> {
      v, i = TopK(x, k) w = Neg(x) y = Reshape(w, s) }"""
    graph, _ = apply(narrow(), text)
    assert lines(graph) == [
        "x/int32 = Cast<to=6>(x)",
        "v/int32, i = TopK(x/int32, k)",
        "w/int32 = Neg(x/int32)",
        "y/int32 = Reshape(w/int32, s)",
        "y = Cast<to=7>(y/int32)",
    ]


def test_a_value_that_a_region_reads_in_both_ways_is_there_in_both_forms() -> None:
    graph, _ = apply(
        narrow(), "g (int64[2] x, int64[6] u) => (int64[a,b] y) { s = Neg(x) t = Add(s, x) y = Reshape(u, t) }"
    )
    assert [line for line in lines(graph) if " t" in f" {line}" or "Reshape" in line] == [
        "t/int32 = Add(s/int32, x/int32)",
        "t = Cast<to=7>(t/int32)",
        "y/int32 = Reshape(u/int32, t)",
    ]


def test_constants_are_converted_shared_and_left_where_others_read_them() -> None:
    text = """g (int64[2] x, float[2] f) => (bool[2] y, float[2,1] z) <int64[2] k = {2,1}, int64[2] m = {2,1}> {
      a = Add(x, k) b = Mul(a, m) y = Less(b, k) z = Reshape(f, k) }"""
    graph, _ = apply(narrow(), text)
    assert sorted((n, t.data_type) for n, t in graph.initializers.items()) == [
        ("k", TensorProto.INT64),
        ("k/int32", TensorProto.INT32),
    ]
    assert "y = Less(b/int32, k/int32)" in lines(graph) and "z = Reshape(f, k)" in lines(graph)


def test_constant_nodes_go_with_their_last_reader() -> None:
    graph, _ = apply(narrow(), "g (int64[2] x) => (bool[2] y) { k = Constant<value = int64[1] {3}>() y = Less(x, k) }")
    assert lines(graph) == ["x/int32 = Cast<to=6>(x)", "y = Less(x/int32, k/int32)"]


def test_a_constant_that_does_not_fit_keeps_its_node_outside() -> None:
    text = (
        "g (int64[2] x) => (bool[2] y, bool[2] z) <int64 k = {4294967296}> { a = Neg(x) y = Less(a, x) z = Less(a, k) }"
    )
    graph, found = apply(narrow(), text)
    assert "z = Less(a, k)" in lines(graph) and "a = Cast<to=7>(a/int32)" in lines(graph)
    assert reasons(found) == ["input1: 'int32(c)': the numbers do not all fit int32"]


def test_what_is_made_of_numbers_that_do_not_fit_stays_outside_too() -> None:
    # a border would wrap them: what is gathered and computed of it, but not what is only looked up with it
    text = """g (int64[2] x, float[9] f) => (bool[2] y, bool[2] z, float[2] u)
      <int64[3] k = {4294967296, 1, 2}, int64[9] m = {0,1,2,3,4,5,6,7,8}> {
      a = Gather(k, x) b = Add(a, x) c = Where(y, b, x) y = Less(x, x) z = Less(c, x)
      d = Gather(m, b) e = Gather(m, d) u = Gather(f, e) }"""
    graph, found = apply(narrow(), text)
    assert [line for line in lines(graph) if "int32" not in line] == [
        "b = Add(a, x)",
        "c = Where(y, b, x)",
        "z = Less(c, x)",
    ]
    assert {"a = Gather(k, x/int32)", "d/int32 = Gather(m/int32, b)"} < set(lines(graph))
    assert "'b' may be beyond int32, by a constant" in reasons(found)


def test_a_body_reads_numbers_that_do_not_fit_from_outside_as_they_are() -> None:
    text = """g (bool c, int64[2] x) => (int64[2] y) <int64[1] k = {4294967296}> { a = Identity(k)
        y = If(c) <then_branch = t () => (int64[2] p) { b = Add(x, x) d = Mul(b, b) e = Add(d, a) p = Add(e, x) },
                   else_branch = e () => (int64[2] q) { q = Identity(x) }> }"""
    graph, _ = apply(narrow('where = ["nodes > 1"]'), text)
    (then, _) = list(graph.bodies())
    assert [line for line in lines(then) if "int32" not in line] == ["e = Add(d, a)", "p = Add(e, x)"]


def test_an_initializer_that_a_caller_may_override_is_a_value_not_a_constant() -> None:
    graph = model_of("g (int64[2] x, int64[2] k) => (bool[2] y) <int64[2] k = {1,2}> { y = Less(x, k) }", 17)
    assert not graph.is_constant("k")
    graph, _ = apply(narrow(), graph)
    assert sorted(lines(graph)[:2]) == ["k/int32 = Cast<to=6>(k)", "x/int32 = Cast<to=6>(x)"]
    assert [info.name for info in graph.header.input] == ["x", "k"]


def test_what_bodies_read_and_outputs_keep_their_form() -> None:
    graph, found = apply(
        narrow(),
        """g (bool c, int64[2] x) => (int64[2] y) { a = Neg(x) b = Add(a, x)
        y = If(c) <then_branch = t () => (int64[2] p) { p = Abs(b) },
                   else_branch = e () => (int64[2] q) { q = Sign(a) }> }""",
    )
    assert [line for line in lines(graph) if line.startswith(("a =", "b ="))] == [
        "a = Cast<to=7>(a/int32)",
        "b = Cast<to=7>(b/int32)",
    ]
    assert reasons(found) == ["it reads 'a' of a region and does not belong to one"]
    assert run(graph)["y"].dtype == np.int64


def test_a_region_inside_a_body() -> None:
    text = """g (bool c, int64[2] x) => (int64[2] y) { y = If(c) <
      then_branch = t () => (int64[2] p) { a = Neg(x) p = Add(a, a) },
      else_branch = e () => (int64[2] q) { q = Abs(x) }> }"""
    feed = {"c": np.array(True), "x": np.array([1, -2])}
    graph, found = apply(narrow(), text)
    body = graph.nodes[0].attribute[0].g
    assert len(found.matches) == 1
    assert [node.op_type for node in body.node] == ["Cast", "Neg", "Add", "Cast"]
    assert [value.name for value in body.output] == [body.node[-1].output[0]] == ["p"]
    assert run(graph, feed)["y"].tolist() == run(model_of(text, 17), feed)["y"].tolist()
    assert not apply(narrow('where = ["nodes > enters"]'), graph)[1].matches


def test_nodes_that_convert_already_count_for_nothing() -> None:
    text = "g (int32[2] x) => (int64[2] y) { y = Cast<to=7>(x) }"
    graph, found = apply(narrow(members=MEMBERS + CAST), text)
    assert lines(graph) == ["y = Cast<to=7>(x)"]
    assert reasons(found) == ["there are only conversions in it (a region of 1 nodes, 0 values in, 1 out)"]
    graph, _ = apply(
        narrow('where = ["nodes > enters + leaves"]', MEMBERS + CAST),
        "g (int32[2] x) => (bool[2] y) { a = Cast<to=7>(x) y = Less(a, a) }",
    )
    assert lines(graph) == ["a/int32 = Cast<to=6>(x)", "y = Less(a/int32, a/int32)"]


def test_an_op_whose_output_type_an_attribute_gives_needs_a_member_that_sets_it() -> None:
    _, found = apply(
        narrow(members='[[region.member]]\nop = "Cast"\n'), "g (float[2] x) => (int64[2] y) { y = Cast<to=7>(x) }"
    )
    assert reasons(found) == ["an attribute gives the type of what it makes, and the member sets none"]


@pytest.mark.parametrize(
    "text,reason",
    [
        ("y = my.Neg(x)", "my.Neg is no member"),
        ("y = Identity(x)", "its name does not match m*"),
        ("y = Concat<axis=0>(x)", "axis is 0, not 1"),
        ("y = Relu(x)", None),  # never looked at
    ],
)
def test_why_a_node_is_no_member(text: str, reason: str | None) -> None:
    members = """
    [[region.member]]
    op   = "Identity"
    name = "m*"
    [[region.member]]
    op    = "Concat"
    attrs = { axis = 1 }
    [[region.member]]
    op = "Neg"
    """
    _, found = apply(narrow(members=members), f"g (int64[2] x) => (int64[2] y) {{ {text} }}")
    assert not found.matches and reasons(found) == ([reason] if reason else [])


def test_where_of_a_member_and_a_parameter_in_it() -> None:
    block = "[params.block]\ntype = 'names'\ndefault = []\nhelp = 'operators to leave'\n"
    spec = pass_of(f"{block}[[region]]{NARROW}[[region.member]]\nop = '*'\nwhere = ['not (op in block)']\n")
    text = "g (int64[2] x) => (bool[2] y) { a = Neg(x) b = Abs(a) y = Less(b, x) }"
    graph, found = apply(spec, text, block=["Abs"])
    assert lines(graph)[3] == "b = Abs(a)" and lines(graph)[4] == "b/int32 = Cast<to=6>(b)"
    assert reasons(found) == ["region[0].member[0]: where[0] does not hold: not (op in block)"]


def test_without_a_type_every_value_of_a_member_must_be_known() -> None:
    spec = pass_of(
        "[[region]]\nvalues = 'rank(v) == 2'\nenter = 'flat = Transpose<perm = [1, 0]>(v)'\n"
        "leave = 'v = Transpose<perm = [1, 0]>(flat)'\n[[region.member]]\nop = ['Relu', 'Exp']\n"
    )
    text = "g (float[2,3] x, int64[n] s) => (float[p,q] y) { a = Relu(x) b = Reshape(a, s) y = Exp(b) }"
    graph, _ = apply(spec, text)
    assert lines(graph)[1] == "a/flat = Relu(x/flat)"
    assert all("Exp" not in line or line == "y = Exp(b)" for line in lines(graph))


def test_quantization_notes_follow_a_value_that_has_its_inner_name_only() -> None:
    graph = model_of("g (int64[2] x) => (bool[2] y) { a = Neg(x) y = Less(a, a) }", 17)
    graph.header.quantization_annotation.add(tensor_name="a")
    graph, _ = apply(narrow(), graph)
    assert [note.tensor_name for note in graph.header.quantization_annotation] == ["a/int32"]


# -- other things that a region can say


def test_layout_channels_last() -> None:
    spec = pass_of(
        "[[region]]\nvalues = 'rank(v) == 4'\nwhere = ['core > 0']\n"
        "enter = 'last = Transpose<perm = [0, 2, 3, 1]>(v)'\nleave = 'v = Transpose<perm = [0, 3, 1, 2]>(last)'\n"
        "constants = 'transpose(c, [0, 2, 3, 1])'\n"
        "[[region.member]]\nop = ['Relu', 'Add']\n"
        "[[region.member]]\nop = 'Softmax'\ncore = true\nset = { axis = '[0, 3, 1, 2][@axis]' }\n"
    )
    text = """g (float[1,3,4,5] x) => (float[1,3,4,5] y) <float[1,3,1,1] k> {
      a = Add(x, k) b = Softmax<axis=1>(a) y = Relu(b) }"""
    before = run(model_of(text, 17))
    graph, _ = apply(spec, text)
    assert lines(graph)[2] == "b/last = Softmax<axis=3>(a/last)"
    assert list(graph.initializers["k/last"].dims) == [1, 1, 1, 3]
    np.testing.assert_allclose(run(graph)["y"], before["y"], rtol=1e-6)
    _, found = apply(spec, "g (float[1,3,4,5] x) => (float[1,3,4,5] y) { y = Relu(x) }")
    assert reasons(found) == ["where[0] does not hold: core > 0 (a region of 1 nodes, 1 values in, 1 out)"]


def test_several_statements_and_lets_in_the_form_of_an_old_opset() -> None:
    spec = pass_of(
        "[[region]]\nvalues = 'rank(v) == 2'\nlet = { axes = 'int64([rank(v)])' }\n"
        "enter = 'up = Unsqueeze(v, axes) inner = Neg(up)'\nleave = 'up = Neg(inner) v = Squeeze(up, axes)'\n"
        "[[region.member]]\nop = 'Identity'\n"
    )
    graph, _ = apply(spec, "g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }", 11)
    assert lines(graph) == [
        "x/up = Unsqueeze<axes=[2]>(x)",
        "x/inner = Neg(x/up)",
        "y/inner = Identity(x/inner)",
        "y/up = Neg(y/inner)",
        "y = Squeeze<axes=[2]>(y/up)",
    ]
    assert not graph.initializers


def test_an_input_that_was_an_attribute_stays_one_in_an_old_opset() -> None:
    spec = pass_of(
        "[[region]]\nvalues = 'rank(v) == 2'\nlet = { axes = 'int64([2])' }\n"
        "enter = 'up = Unsqueeze(v, axes)'\nleave = 'v = Squeeze(up, axes)'\n"
        "[[region.member]]\nop = 'Pad'\nconstants = { input1 = 'ints(c)[:2] + [0] + ints(c)[2:] + [0]' }\n"
    )
    old, _ = apply(spec, "g (float[2,3] x) => (float[4,3] y) { y = Pad<pads=[1,0,1,0]>(x) }", 10)
    assert lines(old)[1] == "y/up = Pad<pads=[1, 0, 0, 1, 0, 0]>(x/up)"
    new, _ = apply(spec, "g (float[2,3] x) => (float[4,3] y) <int64[4] p = {1,0,1,0}> { y = Pad(x, p) }", 13)
    assert lines(new)[1] == "y/up = Pad(x/up, p/up)" and new.constant("p/up").tolist() == [1, 0, 0, 1, 0, 0]  # type: ignore[union-attr]
    _, found = apply(spec, "g (float[2,3] x, int64[4] p) => (float[a,b] y) { y = Pad(x, p) }", 13)
    assert reasons(found) == ["input1 is neither a constant nor a value that changes"]


# -- whole models


def random_model(seed: int) -> Graph:
    """Return a graph of int64 arithmetic, comparisons, look-ups and float detours."""
    rng = random.Random(seed)
    values = ["x", "u"]
    nodes = []
    for number in range(rng.randint(3, 14)):
        op = rng.choice(["Add", "Sub", "Mul", "Neg", "Abs", "Max", "Where", "Gather", "Detour", "Concat", "Identity"])
        made, pick = f"v{number}", lambda: rng.choice([*values, "k1", "k2", "big"] if rng.random() < 0.5 else values)
        match op:
            case "Neg" | "Abs" | "Identity":
                nodes.append(helper.make_node(op, [rng.choice(values)], [made]))
            case "Where":
                nodes.append(helper.make_node("Less", [rng.choice(values), pick()], [f"{made}c"]))
                nodes.append(helper.make_node("Where", [f"{made}c", rng.choice(values), pick()], [made]))
            case "Gather":
                nodes.append(helper.make_node("Gather", [rng.choice(values), "order"], [made]))
            case "Detour":
                nodes.append(helper.make_node("Cast", [rng.choice(values)], [f"{made}f"], to=1))
                nodes.append(helper.make_node("Floor", [f"{made}f"], [f"{made}g"]))
                nodes.append(helper.make_node("Cast", [f"{made}g"], [made], to=7))
            case "Concat":
                parts = [rng.choice(values), rng.choice(values)]
                nodes.append(helper.make_node("Concat", parts, [f"{made}c"], axis=0))
                nodes.append(helper.make_node("Gather", [f"{made}c", "order"], [made]))
            case _:
                nodes.append(helper.make_node(op, [rng.choice(values), pick()], [made]))
        values.append(made)
    kept = [values[-1], *rng.sample(values[2:-1], min(len(values) - 3, rng.randint(0, 2)))]
    info = [helper.make_tensor_value_info(name, TensorProto.INT64, [4]) for name in (*kept, "x", "u")]
    constants = [
        helper.make_tensor("k1", TensorProto.INT64, [1], [3]),
        helper.make_tensor("k2", TensorProto.INT64, [4], [1, -2, 0, 5]),
        helper.make_tensor("big", TensorProto.INT64, [], [2**40]),
        helper.make_tensor("order", TensorProto.INT64, [4], [3, 1, -4, 1]),
    ]
    graph = helper.make_graph(nodes, "random", info[-2:], info[:-2], constants)
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_compute_the_same(seed: int) -> None:
    spec = Catalog().get("int64_to_int32")
    graph = random_model(seed)
    feed = {"x": np.array([1, -2, 3, 0]), "u": np.array([2, 2, -1, 1])}
    before = run(graph, feed)
    graph, _ = apply(spec, graph, always=bool(seed % 2))
    after = run(graph, feed)
    for name, array in before.items():
        if np.abs(array).max() < 2**31:
            np.testing.assert_array_equal(array, after[name])
    again, found = apply(spec, graph.copy(), always=bool(seed % 2))
    assert not found.matches
    assert again.proto.SerializeToString() == graph.proto.SerializeToString()


def test_a_large_region_takes_work_in_proportion() -> None:
    def steps(count: int) -> int:
        nodes = [helper.make_node("Neg", [f"v{n}"], [f"v{n + 1}"], name=f"n{n}") for n in range(count)]
        ends = [helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in ("v0", f"v{count}")]
        graph = Graph(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:])))
        graph.value("v0")
        region = next(body.run for body in narrow().bodies)
        assert isinstance(region, Region)

        def apply_region() -> None:
            assert len(region.apply(graph, {}).matches) == 1

        return work(apply_region)

    assert steps(2000) < 11 * steps(200)


# -- the catalogue


def region_passes() -> list[Pass]:
    catalog = Catalog()
    return [s for s in map(catalog.get, catalog.names) if any(isinstance(body.run, Region) for body in s.bodies)]


@pytest.mark.parametrize("spec", region_passes(), ids=lambda spec: spec.name)
def test_every_condition_of_a_region_is_needed_by_a_case(spec: Pass) -> None:
    import dataclasses

    catalog = Catalog()
    for number, body in enumerate(spec.bodies):
        assert isinstance(body.run, Region)
        for place, run_weaker in body.run.weaker():
            bodies = (*spec.bodies[:number], Body(body.requires, run_weaker), *spec.bodies[number + 1 :])
            weaker = dataclasses.replace(spec, bodies=bodies)
            assert any(run_case(weaker, case, catalog).fault for case in spec.cases), place


# -- what the reader refuses

WHOLE = f"[[region]]\n{NARROW}"
ONE = "[[region.member]]\nop = 'Neg'\n"


@pytest.mark.parametrize(
    "text,message",
    [
        (WHOLE, "region[0].member: is missing"),
        (WHOLE.replace("values", "value") + ONE, "region[0].value: unknown key; did you mean 'values'?"),
        (WHOLE.replace("dtype(v) ==", "dtype(w) ==") + ONE, "region[0].values: nothing is named 'w' here"),
        (WHOLE.replace('"int32"', '"int33"') + ONE, "region[0].dtype: 'int33' is not an element type"),
        (WHOLE.replace("int32(c)", "int32(v)") + ONE, "region[0].constants: nothing is named 'v' here"),
        (WHOLE.replace(">(v)'", ">(w)'") + ONE, "region[0].enter: it does not read 'v', the value outside"),
        (WHOLE.replace("6>(v)", "6>(v, k)") + ONE, "region[0].enter: nothing is named 'k' here"),
        (WHOLE.replace("6>(v)", "@t>(v)") + ONE, "region[0].enter: no let or parameter is named '@t'"),
        (WHOLE.replace("int32 = Cast<to = 6>(v)", "int32 = v") + ONE, "region[0].enter: only plain statements"),
        (WHOLE.replace("int32 = Cast<to = 6>", "a = Neg(v) b = Abs") + ONE, "enter: it must make one value"),
        (WHOLE.replace("7>(int32)", "7>(wide)") + ONE, "region[0].leave: nothing is named 'wide' here"),
        (WHOLE.replace("v = Cast", "u = Cast") + ONE, "region[0].leave: it must make 'v' out of 'int32'"),
        (WHOLE + "let = { v = '1' }\n" + ONE, "region[0].let.v: the value or a parameter has that name already"),
        (WHOLE + "let = { int32 = '1' }\n" + ONE, "region[0].enter: 'int32' is a let or a parameter"),
        (WHOLE + "where = ['knots > 1']\n" + ONE, "region[0].where[0]: nothing is named 'knots' here"),
        (WHOLE + "where = 'nodes > 1'\n" + ONE, "region[0].where: must be a list of strings"),
        (WHOLE + "[[region.member]]\nop = []\n", "region[0].member[0].op: must not be empty"),
        (WHOLE + ONE + "when = []\n", "region[0].member[0].when: unknown key; did you mean 'where'?"),
        (WHOLE + ONE + "set = { to = 6 }\n", "region[0].member[0].set.to: an expression is a string that is not empty"),
        (WHOLE + ONE + "set = { to = 'v' }\n", "region[0].member[0].set.to: nothing is named 'v' here"),
        (WHOLE + ONE + "constants = { input9 = 'c' }\n", "region[0].member[0].constants.input9: is no input"),
        (WHOLE + ONE + "attrs = { to = '$t' }\n", "region[0].member[0].attrs.to: the pass has no parameter 't'"),
        (WHOLE + ONE + "core = 1\n", "region[0].member[0].core: must be true or false"),
        ("[params.v]\ntype = 'int'\ndefault = 1\nhelp = 'how many'\n" + WHOLE + ONE, "'v' has another meaning"),
    ],
)  # fmt: skip
def test_what_the_reader_refuses(text: str, message: str) -> None:
    with pytest.raises(PassError) as caught:
        pass_of(text)
    assert str(caught.value).startswith("passes/x.toml: ") and message in str(caught.value)


def test_a_conversion_that_cannot_be_written_leaves_the_graph_alone() -> None:
    spec = narrow(head=NARROW.replace("Cast<to = 6>(v)", "Cast<to = 'six'>(v)").replace("'six'", '"six"'))
    graph = graph_of("g (int64[2] x) => (bool[2] y) { y = Less(x, x) }")
    before = graph.proto.SerializeToString()
    graph, found = apply(spec, graph)
    assert graph.proto.SerializeToString() == before and not check(graph)
    assert "attribute 'to' of Cast takes int" in reasons(found)[0]
