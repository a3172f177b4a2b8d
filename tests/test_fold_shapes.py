"""Shape arithmetic folded: what the declared sizes decide, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import graph_of
from numpy.typing import NDArray
from rewriting import apply, lines, places, run

from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.rewrite import Applied, Catalog

CATALOG = Catalog()
FOLD = CATALOG.get("fold_shapes")


def fold(graph: Graph | str, opset: int = 17) -> tuple[Graph, Applied]:
    """Fold, hold the outputs to those before, and find nothing to do a second time."""
    graph = model_of(graph, opset) if isinstance(graph, str) else graph
    before = graph.copy()
    graph, found = apply(FOLD, graph, opset)
    was, now = run(before), run(graph)
    assert all(np.array_equal(was[name], now[name]) for name in was)
    assert places(apply(FOLD, Graph.from_proto(graph.full_proto()), opset)[1]) == []
    return graph, found


def constant(graph: Graph, name: str) -> NDArray[np.generic]:
    found = graph.constant(name)
    assert found is not None
    return found


def test_every_reader_gets_the_number_and_its_type() -> None:
    graph, _ = fold(
        """g (float[2,3,4] x) => (float[3,8] y, int32[1] k, bool b)
        <int64[1] i = {1}, int64 j = {2}, int64 four = {4}, int64[1] z = {0}, int64[1] v = {8}> {
        s = Shape(x) c = Gather<axis=0>(s, i) n = Size(x) d = Div(n, j) e = Mod(n, four) f = Equal(e, j)
        t = Unsqueeze(d, z) r = Div(t, c) p = Mul(r, j) q = Concat<axis=0>(c, v) y = Reshape(x, q)
        k = Cast<to=6>(p) b = Not(f) }"""
    )
    assert [node.op_type for node in graph.nodes] == ["Reshape", "Constant", "Constant"]
    k, b = constant(graph, "k"), constant(graph, "b")
    assert (k.dtype, k.tolist()) == (np.int32, [8]) and (b.dtype, b.tolist()) == (np.bool_, True)


def test_only_the_static_part_of_an_open_shape() -> None:
    graph, found = fold(
        """g (float[N,3,4] x) => (float[a,12] y, int64[3] s)
        <int64 z = {0}, int64 o = {1}, int64 t = {2}, int64[1] a = {0}> {
        s = Shape(x) n = Gather(s, z) c = Gather(s, o) w = Gather(s, t) p = Mul(c, w)
        u = Unsqueeze(n, a) v = Unsqueeze(p, a) r = Concat<axis=0>(u, v) y = Reshape(x, r) }"""
    )
    assert [node.output[0] for node in graph.nodes] == ["s", "n", "u", "r", "y"]
    assert constant(graph, "v").tolist() == [12] and len(found.matches) == 4


def test_what_was_only_measured_goes() -> None:
    graph, _ = fold(
        """g (float[2,3] x) => (float[6] y) <int64[1] z = {0}, float[1] o = {1}> {
        a = Exp(x) b = Neg(a) s = Size(b) t = Unsqueeze(s, z) y = Expand(o, t) }"""
    )
    assert lines(graph) == ["y = Expand(o, t)"] and constant(graph, "t").tolist() == [6]


@pytest.mark.parametrize(
    "text",
    [
        """g (float[N,M] x) => (bool y) <int64 i = {0}, int64 j = {1}> {
        s = Shape(x) a = Gather(s, i) b = Gather(s, j) y = Equal(a, b) }""",  # two sizes, equal perhaps
        "g (float[2,?] x) => (int64 y) { y = Size(x) }",
        "g (float[2,3] x) => (int64[1] y) { u = Unique(x) s = Shape(u) y = Neg(s) }",
        "g (int64[2] x) => (int64[2] y) { y = Neg(x) }",
        "g (float[2] x) => (float[2] y) <int64[1] r = {2}> { n = Neg(r) p = Neg(n) y = Reshape(x, p) }",  # no shape
    ],
)
def test_what_the_declared_sizes_leave_open(text: str) -> None:
    assert fold(text)[1].matches == []


def test_an_input_with_a_default_is_still_an_input() -> None:
    text = """g (float[2] x, int64[1] r = {2}) => (float[2] y) {
    s = Shape(x) n = Sub(s, r) m = Abs(n) p = Add(m, s) y = Reshape(x, p) }"""
    graph, found = fold(graph_of(text))
    assert [node.op_type for node in graph.nodes] == ["Sub", "Abs", "Add", "Reshape"] and len(found.matches) == 1


def test_bodies_know_outer_shapes_and_do_not_believe_those_of_a_loop() -> None:
    graph, found = fold(
        graph_of(
            """g (float[2,3] x, int64 m) => (float[?,3] y, int64[?,2] l) { y, l = Loop(m, , x) <
            body = b (int64 i, bool c, float[2,3] a) => (bool c, float[?,3] e, int64[2] t) {
              s = Shape(a) [outer] o = Shape(x) e = Concat<axis=0>(a, a) t = Add(s, o) }> }"""
        )
    )
    assert places(found) == ["outer"]
    body = graph.nodes[0].attribute[0].g
    assert [node.op_type for node in body.node] == ["Shape", "Concat", "Add"] and [
        t.name for t in body.initializer
    ] == ["o"]


def test_one_output_of_a_node_that_stays() -> None:
    graph, _ = fold(
        """g (float[N,3] x) => (int64[1] n, int64[1] y, int64[1] c) { s = Shape(x) n, c = Split<axis=0>(s)
        k = Neg(c) y = Add(k, n) }"""
    )
    assert [node.op_type for node in graph.nodes] == ["Shape", "Split", "Add"]
    assert constant(graph, graph.nodes[-1].input[0]).tolist() == [-3]
