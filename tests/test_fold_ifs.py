"""Branches that are always taken: scopes, names and outputs after an If is gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.reference
import pytest
from conftest import graph_of
from onnx import helper
from rewriting import apply, lines, names, places, reasons, run

from graphtool.graph import Graph
from graphtool.parity.feed import draw
from graphtool.rewrite import Applied, Catalog

CATALOG = Catalog()
FOLD = CATALOG.get("fold_ifs")


def reference(graph: Graph, feed: dict[str, Any]) -> list[Any]:
    """Return outputs as ONNX means them: onnxruntime refuses or garbles some bodies that are sound."""
    return list(onnx.reference.ReferenceEvaluator(graph.full_proto()).run(None, feed))


def fold(text: str | Graph) -> tuple[Graph, Applied]:
    """Fold, hold the outputs to those before, and find nothing to do a second time."""
    graph = graph_of(text) if isinstance(text, str) else text
    feed = dict(draw(graph).arrays)
    was = reference(graph, feed)
    graph, found = apply(FOLD, graph)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(was, reference(graph, feed), strict=True))
    run(graph)
    assert places(apply(FOLD, Graph.from_proto(graph.full_proto()))[1]) == []
    return graph, found


def test_names_are_new_and_kept_apart() -> None:
    graph, _ = fold(
        """g (float[2] x) => (float[2] y, float[2] z) <bool c = {1}> { [n] t = Exp(x)
        [one] u = If(c) <then_branch = a () => (float[2] p) { [n] r = Neg(t) [m] p = Abs(r) },
                         else_branch = b () => (float[2] q) { r = Exp(t) q = Abs(r) }>
        [two] y = If(c) <then_branch = a2 () => (float[2] p) { [n] r = Neg(u) [m] p = Exp(r) },
                         else_branch = b2 () => (float[2] q) { q = Abs(t) }> z = Neg(u) }"""
    )
    assert names(graph)[:-1] == ["n", "one/n", "one/m", "two/n", "two/m"]
    assert [node.op_type for node in graph.nodes] == ["Exp", "Neg", "Abs", "Neg", "Exp", "Neg"]
    assert list(graph.initializers) == []


@pytest.mark.parametrize(
    "branch,after",
    [
        ("p = Identity(x)", ["y = Identity(x)"]),
        ("", ["y = Identity(x)"]),
        ("p = Constant<value = float[2] {1, 2}>()", ["y = Constant<value=float32[2] {1.0, 2.0}>()"]),
    ],
)
def test_an_output_that_only_forwards(branch: str, after: list[str]) -> None:
    out = "p" if branch else "x"
    graph, _ = fold(
        f"""g (float[2] x) => (float[2] y) <bool c = {{1}}> {{ y = If(c) <
        then_branch = a () => (float[2] {out}) {{ {branch} }},
        else_branch = b () => (float[2] q) {{ q = Neg(x) }}> }}"""
    )
    assert lines(graph) == after


def test_a_value_that_is_forwarded_to_nodes_needs_no_identity() -> None:
    graph, _ = fold(
        """g (float[2] x, bool d) => (float[2] z, float[2] v) <bool c = {1}> { t = Exp(x) y, w = If(c) <
        then_branch = a () => (float[2] t, float[2] k) <float[2] k = {3, 4}> { },
        else_branch = b () => (float[2] q, float[2] q2) { q = Neg(x) q2 = Neg(x) }> z = Mul(y, w) v = If(d) <
        then_branch = e () => (float[2] r) { r = Abs(y) }, else_branch = f () => (float[2] s) { s = Neg(w) }> }"""
    )
    assert [node.op_type for node in graph.nodes] == ["Exp", "Mul", "If"]
    assert graph.nodes[1].input[0] == "t" and list(graph.initializers) == [graph.nodes[1].input[1]]


def test_a_weight_of_the_branch_that_is_an_output_and_one_made_twice() -> None:
    graph, _ = fold(
        """g (float[2] x) => (float[2] y, float[2] z, float[2] u) <bool c = {1}> { y, z, u = If(c) <
        then_branch = a () => (float[2] k, float[2] p, float[2] p) <float[2] k = {3, 4}> { p = Mul(x, k) },
        else_branch = b () => (float[2] q, float[2] q, float[2] q) { q = Neg(x) }> }"""
    )
    assert [node.op_type for node in graph.nodes] == ["Mul", "Identity", "Identity"]
    assert [value.name for value in graph.outputs] == ["y", "z", "u"]


def test_ifs_in_branches_and_bodies_and_the_conditions_they_make() -> None:
    graph, found = fold(
        """g (float[2] x, bool d) => (float[2] y) <bool c = {1}> { k, m = If(c) <
        then_branch = a () => (bool n, float[2] p) { n = Not(c) p = If(c) <
          then_branch = a2 () => (float[2] r) { r = Exp(x) }, else_branch = b2 () => (float[2] s) { s = Neg(x) }> },
        else_branch = b () => (bool c, float[2] q) { q = Neg(x) }>
        y = If(d) <
        then_branch = e () => (float[2] t) { t = If(k) <
          then_branch = e2 () => (float[2] u) { u = Abs(m) }, else_branch = f2 () => (float[2] v) { v = Sqrt(m) }> },
        else_branch = f () => (float[2] w) { w = Neg(m) }> }"""
    )
    assert len(found.matches) == 3 and [node.op_type for node in graph.nodes] == ["Exp", "If"]
    then = next(a.g for a in graph.nodes[1].attribute if a.name == "then_branch")
    assert [node.op_type for node in then.node] == ["Sqrt"] and list(graph.initializers) == []


def test_a_body_inside_the_branch_keeps_what_it_captures() -> None:
    graph, _ = fold(
        """g (float[2] x, bool d) => (float[2] y, float[2] t) <bool c = {0}> { t = Neg(x) y = If(c) <
        then_branch = a () => (float[2] p) { p = Neg(x) },
        else_branch = b () => (float[2] q) <float[2] w = {2, 3}> { u = Exp(x) q = If(d) <
          then_branch = e () => (float[2] r) { s = Mul(u, w) r = Add(s, t) },
          else_branch = f () => (float[2] v) { v = Neg(u) }> }> }"""
    )
    assert [node.op_type for node in graph.nodes] == ["Neg", "Exp", "If"]


def test_an_output_hidden_in_a_body_by_another_value_of_its_name() -> None:
    """The branch's value takes the name y, which a body in the branch uses for a value of its own."""
    text = """g (float[2] x, bool d) => (float[2] z) <bool c = {1}> { y = If(c) <
    then_branch = a () => (float[2] q) { q = Exp(x) p = If(d) <
      then_branch = e () => (float[2] k) { k = Neg(q) r = Abs(k) },
      else_branch = f () => (float[2] v) { v = Neg(q) }> },
    else_branch = b () => (float[2] o) { o = Neg(x) }> z = Neg(y) }"""
    graph = graph_of(text)
    inner = next(a.g for a in graph.nodes[0].attribute if a.name == "then_branch").node[1]
    body = next(a.g for a in inner.attribute if a.name == "then_branch")
    body.node[0].output[0] = body.output[0].name = body.node[1].input[0] = "y"
    graph.reindex()
    graph, _ = fold(graph)
    inner = next(node for node in graph.nodes if node.op_type == "If")
    body = next(a.g for a in inner.attribute if a.name == "then_branch")
    assert body.node[0].input[0] == "y" and body.node[0].output[0] == body.output[0].name != "y"


def test_weights_in_files_and_notes_move_too() -> None:
    graph = graph_of(
        """g (float[40,40] x) => (float[40,40] y) <bool c = {1}> { y = If(c) <
        then_branch = a () => (float[40,40] p) { r = Neg(x) p = MatMul(r, w) },
        else_branch = b () => (float[40,40] q) { q = Neg(x) }> }""".replace("MatMul(r, w)", "MatMul(r, r)")
    )
    then = graph.nodes[0].attribute[0].g
    then.initializer.add().CopyFrom(helper.make_tensor("w", 1, [40, 40], np.arange(1600, dtype=np.float32)))
    then.node[1].input[1] = "w"
    note = then.quantization_annotation.add(tensor_name="r")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    graph, _ = fold(Graph.from_proto(graph.full_proto()))
    (weight,) = graph.initializers
    (note,) = graph.header.quantization_annotation
    assert graph.nodes[1].input[1] == weight and note.tensor_name == graph.nodes[0].output[0]
    assert note.quant_parameter_tensor_names[0].value == weight


def test_a_condition_that_shapes_decide() -> None:
    graph, _ = fold(
        """g (float[1,3] x) => (float[?] y) <int64 i = {0}, int64 o = {1}> {
        s = Shape(x) n = Gather(s, i) c = Equal(n, o) y = If(c) <
        then_branch = a () => (float[3] p) { p = Squeeze(x) },
        else_branch = b () => (float[1,3] q) { q = Identity(x) }> }"""
    )
    assert lines(graph) == ["y = Squeeze(x)"], "the shape arithmetic of the condition is gone too"


def test_a_range_over_what_a_branch_makes_still_gets_a_scalar() -> None:
    """onnxruntime takes a length of shape [1] behind an If, and refuses to load it where it sees the shape."""
    graph, _ = fold(
        """g (int64[1] n) => (int64[?] y) <bool c = {1}, int64 z = {0}, int64 o = {1}> { k = If(c) <
        then_branch = a () => (int64[1] p) { p = Abs(n) }, else_branch = b () => (int64[1] q) { q = Neg(n) }>
        y = Range(z, k, o) }"""
    )
    assert [node.op_type for node in graph.nodes] == ["Abs", "Squeeze", "Range"]


@pytest.mark.parametrize(
    "condition,reason",
    [
        ("bool c", "its condition is not known"),
        ("bool c = {1}", "its condition is not known"),
        ("bool[2] c", "its condition is not known"),
    ],
)
def test_what_is_not_folded(condition: str, reason: str) -> None:
    graph = graph_of(
        f"""g (float[2] x, {condition}) => (float[2] y) {{ y = If(c) <
        then_branch = a () => (float[2] p) {{ p = Exp(x) }},
        else_branch = b () => (float[2] q) {{ q = Neg(x) }}> }}"""
    )
    _, found = apply(FOLD, graph)
    assert reasons(found) == [reason] and not found.matches


def test_a_sequence_that_no_identity_could_forward() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[2] x) => (seq(float[2]) y) <bool c = {1}> {
    s = SequenceConstruct(x) y = If(c) <then_branch = a () => (seq(float[2]) s) { },
    else_branch = b () => (seq(float[2]) q) { q = SequenceConstruct(x, x) }> }"""
    _, found = apply(FOLD, graph_of(text))
    assert reasons(found) == ["output 'y' is a sequence, which Identity takes from opset 16 on"]
    graph, _ = apply(FOLD, graph_of(text.replace('"": 13', '"": 16')))
    assert [node.op_type for node in graph.nodes] == ["SequenceConstruct", "Identity"]


SQUEEZES = """s = Shape(x) n = Gather(s, one) c = Equal(n, one)
 q = If(c) <then_branch = a () => (float[N,3,8] p) { p = Squeeze(x, one) },
   else_branch = b () => (float[N,C,3,8] r) { r = Identity(x) }>"""


def squeezed(rest: str, outputs: str = "float[N,3,8,C] y", weights: str = "") -> str:
    return f"g (float[N,C,3,8] x) => ({outputs}) <int64[1] one = {{1}}{weights}> {{ {SQUEEZES} {rest} }}"


@pytest.mark.parametrize(
    "rest,types",
    [
        ("y = Transpose<perm = [0,2,3,1]>(q)", ["Identity", "Transpose"]),
        ("t = Exp(q) y = Transpose<perm = [0,2,3,1]>(t)", ["Identity", "Exp", "Transpose"]),
        ("y = MaxPool<kernel_shape = [1, 1]>(q)", ["Identity", "MaxPool"]),
        # what nothing needs may not run at all, and what another branch holds does so only when that is taken
        ("y = Exp(q) t = Transpose<perm = [0,2,3,1]>(q)", None),
        ("i = Not(c) y = If(i) <then_branch = e () => (float[N,3,8,C] u) { u = Transpose<perm = [0,2,3,1]>(q) },"
         " else_branch = f () => (float[N,3,8] v) { v = Exp(q) }>", None),
        # broken either way: nothing is known then
        ("t = Exp(q) y = Transpose<perm = [1,0]>(t)", None),
    ],
)  # fmt: skip
def test_a_branch_that_a_later_node_refuses_is_never_taken(rest: str, types: list[str] | None) -> None:
    graph, found = apply(FOLD, graph_of(squeezed(rest)))
    if types is None:
        assert found.matches == []
        assert reasons(found)
        return
    assert [node.op_type for node in graph.nodes] == types
    fold(squeezed(rest))


def test_ranks_decide_one_if_after_another_also_in_a_body() -> None:
    rest = """h = Shape(q) d = Size(h) four = Constant<value = int64 {4}>() e = Equal(d, four)
        w = If(e) <then_branch = e1 () => (float[] u) { u = Neg(q) }, else_branch = f () => (float[] v) { v = Exp(q) }>
        y = Conv(w, k)"""
    whole = squeezed(rest, "float[N,2,3,8] y", ", float[2,3,1,1] k = {1, 2, 3, 4, 5, 6}")
    graph, _ = fold(whole)
    assert [node.op_type for node in graph.nodes] == ["Identity", "Neg", "Conv"]
    inner = f"{SQUEEZES} o = Transpose<perm = [0,2,3,1]>(q)"
    text = f"""g (float[N,C,3,8] x, bool k) => (float[N,3,8,C] y) <int64[1] one = {{1}}> {{ t = Exp(x)
        y = If(k) <then_branch = ta () => (float[N,3,8,C] o) {{ {inner} }},
                   else_branch = tb () => (float[N,3,8,C] z) {{ z = Transpose<perm = [0,2,3,1]>(t) }}> }}"""
    graph, found = fold(text)
    assert len(found.matches) == 1
    (body, _) = graph.bodies()
    assert [node.op_type for node in body.nodes] == ["Identity", "Transpose"]
