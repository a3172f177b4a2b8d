"""What changed in nodes and attributes is found, and nothing else is reported."""

from __future__ import annotations

import json
import struct

import numpy as np
import onnx
import pytest
from conftest import graph_of as of
from diffing import NET, details, edited, entry, names, only, proto_edited
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphtool.diff import Detail, Diff, Renamed, diff, summary
from graphtool.graph import Graph

# -- nodes


def test_a_graph_is_the_same_as_itself_and_as_its_copy() -> None:
    graph = of(NET)
    for other in (graph, graph.copy(), of(NET)):
        found = diff(graph, other)
        assert found.same and found == Diff()
        assert found.lines() == ["no difference"] == [summary(found)]


def test_equal_edits_share_a_line() -> None:
    nodes = "\n".join(
        f"[Resize_{k}] t{k + 1} = Resize <mode = 'linear', nearest_mode = 'floor'> (t{k}, , s)" for k in range(10)
    ).replace("'", '"')
    net = f"agraph (float[1,1,2,2] t0) => (float[1,1,2,2] t10) <float[4] s = {{1, 1, 1, 1}}> {{ {nodes} }}"
    found = edited(net, ('"linear", nearest_mode = "floor"', '"nearest"'))
    assert only(found, "nodes") and len(found.nodes.changed) == 10
    assert found.nodes.changed[3].details == (
        Detail("attribute mode", "'linear'", "'nearest'"),
        Detail("attribute nearest_mode", "'floor'", None),
    )
    every = ", ".join(f"Resize_{k}" for k in range(10))
    assert found.lines() == [
        "10 nodes changed",
        f"~ 10 Resize: mode 'linear' -> 'nearest', nearest_mode 'floor' -> -: {every}",
    ]


def test_nodes_of_another_op_type_share_a_line_and_pass_on_no_weight() -> None:
    """A scale at the place of a kernel was a weight that had changed its type and its name."""
    head = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) <float[2,2,1,1] {}, float[2,2,1,1] {}"
    before = f"""{head.format("v = {1,2,3,4}", "w = {2,3,4,5}")}, float[2] s = {{5,6}}, float[2] b = {{7,8}}> {{
      [c] p = Conv(x, v) [n] q = BatchNormalization(p, s, b, b, s)
      [d] r = Conv(q, w) [m] y = BatchNormalization(r, s, b, b, s) }}"""
    after = f"""{head.format("k = {5,6,7,8}", "l = {1,9,1,9}")}> {{
      [n] q = Conv<pads = [0,0,0,0]>(x, k) [m] y = Conv<pads = [0,0,0,0]>(q, l) }}"""
    assert diff(of(before), of(after)).lines() == [
        "2 nodes changed, 2 removed, 2 weights added, 4 removed",
        "~ 2 BatchNormalization: op type BatchNormalization -> Conv (pads [0,0,0,0]): n, m",
        "- 2 Conv: c, d",
        "+ 2 weights float32[2,2,1,1]: k, l",
        "- 2 weights float32[2,2,1,1]: v, w",
        "- 2 weights float32[2]: s, b",
        "op counts: BatchNormalization 2 -> 0",
    ]


def test_rewired_inputs_say_what_they_read() -> None:
    found = edited(NET, ("c = Mul (b, mask)", "c = Mul (mask, a)"))
    assert only(found, "nodes")
    assert details(found) == {
        "third": {"input 0": ("b of second", "input mask"), "input 1": ("input mask", "a of first")}
    }


def test_an_inserted_node_is_added_and_its_reader_rewired() -> None:
    found = edited(NET, ("[second] b = Add (a, w)", "[new] n = Abs (a) [second] b = Add (n, w)"))
    assert names(found.nodes.added) == ["new"] and not found.nodes.removed
    assert details(found) == {"second": {"input 0": ("a of first", "n of new")}}
    assert found.ops == {"Abs": (0, 1)}
    assert found.lines() == [
        "1 node changed, 1 added",
        "~ Add second: input 0 a of first -> n of new",
        "+ Abs new",
        "op counts: Abs 0 -> 1",
    ]


def test_a_node_that_takes_over_a_name_is_not_the_node_that_had_it() -> None:
    # `a` is another value now, although `second` reads the same name
    found = edited(
        NET, ("a = LeakyRelu <alpha = 0.1> (x)", "before = LeakyRelu <alpha = 0.1> (x) [new] a = Abs(before)")
    )
    assert names(found.nodes.added) == ["new"]
    assert found.values.renamed == (Renamed("a", "before"),)
    assert details(found) == {"second": {"input 0": ("a of first", "a of new")}}


def test_readers_of_a_value_whose_maker_was_replaced_are_unchanged() -> None:
    found = edited(NET, ("[third] c = Mul (b, mask)", "[one] m = Exp (b) [two] c = Div (m, mask)"))
    assert (names(found.nodes.added), names(found.nodes.removed)) == (["one", "two"], ["third"])
    assert not found.nodes.changed and only(found, "nodes")


def test_a_changed_op_type_is_a_change_where_the_place_is_the_same() -> None:
    found = edited(NET, ("[left] y = Relu", "[left] y = Sigmoid"))
    assert details(found) == {"left": {"op type": ("Relu", "Sigmoid")}} and only(found, "nodes")
    # the same name elsewhere, with another type, is chance
    found = edited(NET, ("[left] y = Relu (c)", "[left] q = Sigmoid (mask) [other] y = Relu (q)"))
    assert names(found.nodes.added) == ["left"]
    assert found.nodes.renamed == (Renamed("left", "other"),)


def test_domains_count_as_part_of_the_op() -> None:
    header = '<ir_version: 8, opset_import: ["": 13, "my.ops": 1]>'
    net = f"{header} agraph (float[1] x) => (float[1] y) {{ [n] y = Relu (x) }}"
    assert details(edited(net, ("Relu", "my.ops.Relu"))) == {"n": {"op type": ("Relu", "my.ops::Relu")}}


def test_order_is_a_count() -> None:
    first, second = "[left] y = Relu (c)", "[right] z = Neg (c)"
    found = edited(NET, (f"{first}\n  {second}", f"{second}\n  {first}"))
    assert only(found, "nodes") and found.nodes.moved == 1 and not found.same
    assert found.lines()[1] == "> 1 node moved"


def test_unnamed_and_namesake_nodes_are_told_apart_by_their_outputs() -> None:
    for name in ("", "[same] "):
        chain = "\n".join(f"{name}t{k + 1} = LeakyRelu <alpha = 0.{k + 1}> (t{k})" for k in range(5))
        net = f"agraph (float[1] t0) => (float[1] t5) {{ {chain} }}"
        assert diff(of(net), of(net)).same
        found = edited(net, ("alpha = 0.3", "alpha = 0.7"))
        label = f"{'same' if name else ''}#2(t3)"
        assert details(found) == {label: {"attribute alpha": ("0.3", "0.7")}} and only(found, "nodes")
        found = edited(net, (f"{name}t2 = LeakyRelu <alpha = 0.2> (t1)", ""), ("(t2)", "(t1)"))
        assert [entry.name for entry in found.nodes.removed] == [f"{'same' if name else ''}#1(t2)"]
        assert not found.nodes.added and not found.nodes.renamed and len(found.nodes.changed) == 1


def test_a_numbering_that_starts_anew_is_renames() -> None:
    """Exporters number nodes and values: one node less at the top, and every name below means another node."""
    ops = ["Relu", "Neg", "Abs", "Exp"]

    def net(skip: int | None) -> Graph:
        kept = [k for k in range(40) if k != skip]
        lines = [
            f"[{ops[k % 4]}_{n}] v{n + 1} = {ops[k % 4]} (v{n})" if k % 5 else f"[Add_{n}] v{n + 1} = Add (v{n}, w{k})"
            for n, k in enumerate(kept)
        ]
        weights = ", ".join(f"float[1] w{k} = {{{k}}}" for k in range(0, 40, 5))
        return of(f"agraph (float[1] v0) => (float[1] v{len(kept)}) <{weights}> {{ {' '.join(lines)} }}")

    found = diff(net(None), net(6))
    assert names(found.nodes.removed) == ["Abs_6"] and not found.nodes.added
    assert [item.name for item in found.nodes.changed] == ["Exp_7"]
    assert len(found.nodes.renamed) == 33


def test_a_renamed_node_is_known_by_its_place() -> None:
    found = edited(
        NET, ("[first] a = LeakyRelu <alpha = 0.1> (x)", "[one] v = LeakyRelu <alpha = 0.5> (x)"), ("(a,", "(v,")
    )
    assert found.nodes.renamed == (Renamed("first", "one"),) and found.values.renamed == (Renamed("a", "v"),)
    assert details(found) == {"first": {"attribute alpha": ("0.1", "0.5")}} and only(found, "nodes", "values")
    found = edited(
        NET, ("[first] a = LeakyRelu <alpha = 0.1> (x)", "[one] v = LeakyRelu <alpha = 0.1> (mask)"), ("(a,", "(v,")
    )
    assert found.nodes.renamed == (Renamed("first", "one"),)
    assert details(found) == {"first": {"input 0": ("input x", "input mask")}}


def test_a_node_that_goes_and_one_that_comes_are_two_where_names_hold() -> None:
    net = """agraph (float[1] x) => (float[1] y, float[1] z)
             { [a] a = Elu (x) [b] y = Neg (a) [c] c = Exp (x) [d] z = Abs (c) }"""
    found = edited(
        net,
        ("[a] a = Elu (x) [b] y = Neg (a)", "[b] y = Neg (x)"),
        ("Abs (c)", "Abs (n)"),
        ("[d]", "[n] n = Elu <alpha = 0.5> (x) [d]"),
    )
    assert names(found.nodes.removed) == ["a"] and names(found.nodes.added) == ["n"]


def test_twins_are_told_apart_by_what_reads_them() -> None:
    net = """agraph (float[1] x) => (float[1] y, float[1] z)
             { [p] p = Relu (x) [q] q = Relu (x) [n] n = Neg (p) [a] a = Abs (q) [y] y = Exp (n) [z] z = Exp (a) }"""
    after = """agraph (float[1] X) => (float[1] Y, float[1] Z)
             { [Q] Q = Relu (X) [P] P = Relu (X) [N] N = Neg (P) [A] A = Abs (Q) [Y] Y = Log (N) [Z] Z = Log (A) }"""
    found = diff(of(net), of(after))
    assert {Renamed("p", "P"), Renamed("q", "Q"), Renamed("n", "N"), Renamed("a", "A")} <= set(found.nodes.renamed)
    assert not any(item.name in "pqna" for item in found.nodes.changed)
    # one twin loses its reader and both their names: there is still nothing to tell but the names
    found = edited(net, ("[p] p", "[r] r"), ("[q] q", "[s] s"), ("Neg (p)", "Neg (x)"), ("Abs (q)", "Abs (s)"))
    assert found.nodes.renamed == (Renamed("p", "r"), Renamed("q", "s"))
    assert details(found) == {"n": {"input 0": ("p of p", "input x")}}


# -- attributes


def attribute_diff(before: onnx.AttributeProto, after: onnx.AttributeProto) -> Diff:
    graphs = []
    for attribute in (before, after):
        proto = of("agraph (float[1] x) => (float[1] y) { [n] y = Relu (x) }").full_proto()
        proto.graph.node[0].attribute.append(attribute)
        graphs.append(Graph.from_proto(proto))
    return diff(*graphs)


def float_attribute(pattern: int) -> onnx.AttributeProto:
    return helper.make_attribute("alpha", struct.unpack("<f", struct.pack("<I", pattern))[0])


def test_floats_are_compared_bit_by_bit() -> None:
    quiet, other, zero, minus = 0x7FC00000, 0x7FC00001, 0, 0x80000000
    assert attribute_diff(float_attribute(quiet), float_attribute(quiet)).same
    assert not attribute_diff(float_attribute(quiet), float_attribute(other)).same
    assert details(attribute_diff(float_attribute(zero), float_attribute(minus))) == {
        "n": {"attribute alpha": ("0.0", "-0.0")}
    }


def test_a_default_written_out_is_a_difference() -> None:
    found = edited(NET, ("[left] y = Relu", "[left] y = Relu <kernel_shape = [1, 1]>"))
    assert found.lines()[1] == "~ Relu left: kernel_shape - -> [1,1]"
    assert details(found) == {"left": {"attribute kernel_shape": (None, "[1,1]")}}


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (1, 2, ("1", "2")),
        (1, 1.0, ("1", "1.0")),
        ("a", "b", ("'a'", "'b'")),
        ([1.5, 2.5], [1.5], ("[1.5,2.5]", "[1.5]")),
        (["a"], ["a", "b"], ("['a']", "['a','b']")),
        (
            numpy_helper.from_array(np.array([1, 2], np.int64)),
            numpy_helper.from_array(np.array([1, 3], np.int64)),
            ("int64[2] {1,2}", "int64[2] {1,3}"),
        ),
        (
            numpy_helper.from_array(np.array([1, 2], np.int64)),
            numpy_helper.from_array(np.array([[1, 2]], np.int64)),
            ("int64[2] {1,2}", "int64[1,2] {1,2}"),
        ),
        (
            helper.make_tensor("k", TensorProto.STRING, [2], [b"ab", b"c"]),
            helper.make_tensor("k", TensorProto.STRING, [2], [b"a", b"bc"]),
            ("string[2] {'ab','c'}", "string[2] {'a','bc'}"),
        ),
    ],
)
def test_attributes_of_every_type(before: object, after: object, text: tuple[str, str]) -> None:
    sides = [helper.make_attribute("k", value) for value in (before, after)]
    assert attribute_diff(sides[0], sides[0]).same
    assert details(attribute_diff(*sides)) == {"n": {"attribute k": text}}


def test_large_tensor_attributes_are_told_by_digest() -> None:
    values = np.arange(1000, dtype=np.float32)
    sides = [helper.make_attribute("k", numpy_helper.from_array(v, "any")) for v in (values, values + 1)]
    same = helper.make_attribute("k", numpy_helper.from_array(values, "other name"))
    assert attribute_diff(sides[0], same).same
    before, after = details(attribute_diff(*sides))["n"]["attribute k"]
    assert before is not None and after is not None and before != after
    assert before.startswith("float32[1000] sha256 ")


def test_spelling_is_no_difference() -> None:
    """Order of attributes, storage of a tensor, an absent input written out, derived value_info: all mean the same."""

    def respell(proto: ModelProto) -> None:
        for tensor in proto.graph.initializer:
            values = numpy_helper.to_array(tensor)
            stored = helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, values.ravel().tolist())
            assert not stored.raw_data and (tensor.raw_data or tensor.float_data)
            raw = numpy_helper.from_array(values, tensor.name)
            tensor.CopyFrom(raw if not tensor.raw_data else stored)
        proto.graph.node[3].input.append("")
        proto.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [9]))
        attributes = [helper.make_attribute(name, 1) for name in ("p", "q")]
        proto.graph.node[4].attribute.extend(attributes)

    before = of(NET)
    proto = before.full_proto()
    proto.graph.node[4].attribute.extend(helper.make_attribute(name, 1) for name in ("q", "p"))
    after = of(NET).full_proto()
    respell(after)
    after.graph.node[4].attribute[0].doc_string = "text"
    assert diff(Graph.from_proto(proto), Graph.from_proto(after)).same


# -- bodies

BRANCHES = """
agraph (bool go, float[1] x, float[1] other) => (float[1] y)
{
  [pre] p = Relu (x)
  [if] y = If <
    then_branch = then_graph () => (float[1] t) <float[1] k = {2}> { [in] i = Mul (p, k) t = Add (i, other) },
    else_branch = else_graph () => (float[1] e) { e = Neg (p) }
  > (go)
}
"""


def test_bodies() -> None:
    assert diff(of(BRANCHES), of(BRANCHES)).same
    found = edited(BRANCHES, ("t = Add (i, other)", "t = Sub (i, other)"))
    assert details(found) == {"if": {"body then_branch": ("Mul, Add", "Mul, Sub")}} and only(found, "nodes")
    found = edited(BRANCHES, ("k = {2}", "k = {3}"))
    assert found.lines() == ["1 node changed", "~ If if: body then_branch differs"]
    found = edited(BRANCHES, ("t = Add (i, other)", "t = Add (other, i)"))
    assert list(details(found)["if"]) == ["body then_branch"]

    written_out = of(BRANCHES).full_proto()
    written_out.graph.node[1].input.append("")
    assert diff(of(BRANCHES), Graph.from_proto(written_out)).same


def nested(inner_reads: str) -> Graph:
    """An If in an If, whose inner body reads the outer body's value, its own, or the graph's."""
    inner = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["own"]), helper.make_node("Abs", [inner_reads], ["r"])],
        "inner",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, [1])],
    )
    outer = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["o"]),
            helper.make_node("If", ["go"], ["s"], then_branch=inner, else_branch=inner),
        ],
        "outer",
        [],
        [helper.make_tensor_value_info("s", TensorProto.FLOAT, [1])],
    )
    proto = of("agraph (bool go, float[1] x) => (float[1] y) { y = Identity (x) }").full_proto()
    node = helper.make_node("If", ["go"], ["y"], "if", then_branch=outer, else_branch=outer)
    proto.graph.node[0].CopyFrom(node)
    return Graph.from_proto(proto)


def test_bodies_in_bodies() -> None:
    reads = ("own", "o", "x")
    for one in reads:
        for other in reads:
            assert diff(nested(one), nested(other)).same == (one == other)


def test_what_a_body_reads_is_wiring() -> None:
    found = edited(BRANCHES, ("Add (i, other)", "Add (i, x)"))
    assert details(found) == {"if": {"body reads": ("input other", "input x")}}
    # renamed outside: the body reads the same value
    found = edited(BRANCHES, ("p = Relu", "q = Relu"), ("(p", "(q"))
    assert found.values.renamed == (Renamed("p", "q"),) and only(found, "values")


def test_names_inside_a_body_are_renamed() -> None:
    found = edited(BRANCHES, ("i = Mul", "j = Mul"), ("Add (i,", "Add (j,"), ("[in]", "[inside]"))
    assert found.values.renamed == (Renamed("if/in", "if/inside"), Renamed("if/i", "if/j"))
    assert only(found, "values")


# -- reports


def test_names_reach_a_terminal_escaped_and_json_as_they_are() -> None:
    evil = "\x1b[31mred\x1b[0m\u202e"

    def name(proto: ModelProto) -> None:
        proto.graph.node[0].name = evil
        proto.graph.node.add(op_type=evil, name=f"{evil}2", input=["x"], output=[evil])
        proto.graph.node[1].input[0] = evil
        proto.graph.initializer[0].name = proto.graph.node[1].input[1] = f"w{evil}"
        proto.graph.node[3].attribute.append(helper.make_attribute(evil, evil))
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = evil
        proto.producer_name = evil
        proto.metadata_props.append(entry(evil, evil))

    found = proto_edited(name)
    text = "\n".join(found.lines())
    assert "\x1b" not in text and "\u202e" not in text and "\\x1b[31mred" in text
    assert found.to_json()["nodes"]["renamed"] == [{"before": "first", "after": evil}]


def test_long_lists_are_cut_and_counted() -> None:
    count = 50
    values = "\n".join(f"[n{k}] v{k} = LeakyRelu <alpha = 0.{k + 10}> (x)" for k in range(count))
    outputs = ", ".join(f"float[1] v{k}" for k in range(count))
    net = f"agraph (float[1] x) => ({outputs}) {{ {values} }}"
    lines = edited(net, ("alpha = 0.", "alpha = 1.")).lines(limit=7)
    assert lines[0] == "50 nodes changed" and lines[-1] == "~ ... and 43 more such lines" and len(lines) == 9
    lines = edited(net, ("LeakyRelu", "Elu")).lines()
    assert lines[1].endswith("n8, n9, and 40 more") and lines[1].startswith("~ 50 LeakyRelu: op type LeakyRelu -> Elu")


def test_json_has_the_documented_keys() -> None:
    found = edited(
        NET, ("alpha = 0.1", "alpha = 0.5"), (", float[1,4] z", ""), ("b = Add (a, w)", "B = Add(a, w)"), ("(b,", "(B,")
    )
    data = found.to_json()
    assert data == json.loads(json.dumps(data))
    empty = {"added": [], "removed": [], "changed": [], "renamed": [], "moved": 0}
    assert data == {
        "same": False,
        "summary": "1 node changed, 1 value renamed, 1 output removed",
        "nodes": empty | {"changed": [{
            "name": "first", "after": "first", "kind": "LeakyRelu",
            "details": [{"what": "attribute alpha", "before": "0.1", "after": "0.5"}],
        }]},
        "values": empty | {"renamed": [{"before": "b", "after": "B"}]},
        "weights": empty, "inputs": empty,
        "outputs": empty | {"removed": [{"name": "z", "kind": "float32[1,4]"}]},
        "functions": empty, "model": [], "ops": {},
    }  # fmt: skip
