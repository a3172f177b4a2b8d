"""Loops unrolled: how often they run, what goes from one iteration to the next, and what is stacked."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import graph_of
from rewriting import apply, lines, names, places, reasons, run

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.rewrite import Applied, Catalog

CATALOG = Catalog()
UNROLL = CATALOG.get("unroll_loops")


def unroll(graph: Graph | str, **params: object) -> tuple[Graph, Applied]:
    """Unroll, hold the outputs to those before, and find nothing to do a second time."""
    graph = graph_of(graph) if isinstance(graph, str) else graph
    before = graph.copy()
    graph, found = apply(UNROLL, graph, **params)
    was, now = run(before), run(graph)
    assert all(np.array_equal(was[name], now[name]) for name in was)
    assert places(apply(UNROLL, Graph.from_proto(graph.full_proto()), **params)[1]) == []
    return graph, found


def loop(body: str, trips: str = "n", begins: str = "", count: int = 1, head: str = "", outs: str = "y") -> str:
    """Return a graph with a Loop of one state; ``body`` is the text from its outputs on."""
    outputs = ", ".join(f"float[{'k,' if number else ''}2] {name}" for number, name in enumerate(outs.split(", ")))
    weights = [f"int64 n = {{{count}}}"] * (trips == "n") + [head] * bool(head)
    declared = ", ".join(weights) or "int64 unused"
    return f"""g (float[2] x) => ({outputs}) <{declared}> {{ [l] {outs} = Loop({trips}, {begins}, x) <
    body = b (int64 i, bool c, float[2] a) => {body}> }}"""


ONCE = "(bool d, float[2] e) { d = Identity(c) e = Exp(a) }"


@pytest.mark.parametrize(
    "text",
    [
        loop(ONCE),
        loop(ONCE, begins="t", head="bool t = {1}"),
        loop("(bool c, float[2] e) { e = Exp(a) }"),
        loop("(bool d, float[2] e) <bool d = {1}> { e = Exp(a) }"),
        loop("(bool d, float[2] e) { d = Constant<value = bool {0}>() e = Exp(a) }", count=9),
        loop("(bool d, float[2] e) { d = Constant<value = bool {0}>() e = Exp(a) }", trips=""),
        loop("(bool d, float[2] e) { s = ReduceSum<keepdims=0>(a) d = Cast<to=9>(s) e = Exp(a) }"),
    ],
)
def test_a_loop_that_runs_once(text: str) -> None:
    graph, _ = unroll(text)
    assert lines(graph) == ["y = Exp(x)"] and names(graph) == ["l/Exp"] and list(graph.initializers) == []


@pytest.mark.parametrize(
    "text", [loop(ONCE, count=0), loop(ONCE, count=-3), loop(ONCE, begins="f", count=5, head="bool f = {0}")]
)
def test_a_loop_that_never_runs(text: str) -> None:
    assert lines(unroll(text)[0]) == ["y = Identity(x)"]


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_several_iterations_with_everything(opset: int) -> None:
    text = """g (float[2] x, float[2] w0, bool d) => (float[2] y, float[2] w, float[k,2] r, float[k] t)
    <int64 n = {3}, float[2] o = {3, 5}> { y, w, r, t, u = Loop(n, , x, w0) <
    body = b (int64 i, bool c, float[2] a, float[2] v)
        => (bool e, float[2] vv, float[2] p, float[2] pp, float f, float[2] hh) <float[2] h = {0.5, 2}> {
      e = Identity(c) f = Cast<to=1>(i) q = Mul(a, h) s = Add(q, f) vv = Identity(v) hh = Identity(h) p = If(d) <
        then_branch = th () => (float[2] m) { m = Add(s, o) },
        else_branch = el () => (float[2] m) { m = Sub(s, v) }> pp = Identity(p) }> }""".replace(
        "float[2] vv, float[2] p, float[2] pp", "float[2] p, float[2] vv, float[2] pp"
    )
    graph, found = unroll(graph_of(f'<ir_version: 7, opset_import: ["": {opset}]> {text}'), more=100)
    assert len(found.matches) == 1 and not any(node.op_type == "Loop" for node in graph.nodes)
    assert sum(node.op_type == "Unsqueeze" for node in graph.nodes) == 6, "what nobody reads is not stacked"
    assert len(graph.initializers) == (5 if opset < 13 else 7), "a weight of the body is there once"


def test_a_state_that_is_handed_on_as_it_is() -> None:
    graph, _ = unroll(
        """g (float[2] x, float[2] w) => (float[2] y, float[2] z) <int64 n = {2}> { y, z = Loop(n, , x, w) <
        body = b (int64 i, bool c, float[2] p, float[2] q) => (bool c, float[2] q, float[2] r) { r = Neg(p) }> }"""
    )
    assert lines(graph) == ["r = Neg(x)", "z = Neg(w)", "y = Identity(r)"]


def test_nothing_is_stacked() -> None:
    text = loop("(bool c, float[2] e, float[2] f) { e = Exp(a) f = Neg(a) }", count=0, outs="y, s")
    graph, _ = unroll(text)
    assert [node.op_type for node in graph.nodes] == ["Constant", "Identity"]
    assert run(graph)["s"].shape == (0, 2)


def test_a_loop_in_a_loop_and_one_in_a_body() -> None:
    inner = "z = Loop(n, , a) <body = k (int64 j, bool o, float[2] p) => (bool o, float[2] q) { q = Neg(p) }>"
    text = f"""g (float[2] x, bool t) => (float[2] y, float[2] u) <int64 n = {{1}}> {{ y = Loop(n, , x) <
      body = b (int64 i, bool c, float[2] a) => (bool c, float[2] z) {{ {inner} }}> u = If(t) <
      then_branch = th () => (float[2] v) {{ a = Exp(x) v = Loop(n, , a) <
        body = m (int64 j, bool o, float[2] p) => (bool o, float[2] q) {{ q = Abs(p) }}> }},
      else_branch = el () => (float[2] w) {{ w = Neg(x) }}> }}"""
    graph, found = unroll(text)
    assert len(found.matches) == 3 and [node.op_type for node in graph.nodes] == ["Neg", "If"]
    then = next(a.g for a in graph.nodes[1].attribute if a.name == "then_branch")
    assert [node.op_type for node in then.node] == ["Exp", "Abs"] and list(graph.initializers) == []


def test_a_trip_count_that_shapes_decide() -> None:
    text = """g (float[1,2] x) => (float[1,2] y) <int64 z = {0}> { s = Shape(x) n = Gather(s, z) y = Loop(n, , x) <
    body = b (int64 i, bool c, float[1,2] a) => (bool c, float[1,2] e) { e = Exp(a) }> }"""
    assert lines(unroll(text)[0]) == ["y = Exp(x)"]


@pytest.mark.parametrize(
    "count,most,more,unrolled", [(2, 8, 1, True), (2, 8, 0, False), (2, 1, 9, False), (1, 0, 9, False)]
)
def test_how_much_may_be_unrolled(count: int, most: int, more: int, unrolled: bool) -> None:
    text = loop("(bool c, float[2] e) { d = Neg(a) e = Exp(d) }", count=count)
    assert bool(unroll(text, most=most, more=more)[1].matches) == unrolled


def test_a_body_of_one_node_twice_is_no_growth() -> None:
    assert (
        lines(unroll(loop("(bool c, float[2] e) { e = Exp(a) }", count=2))[0]) == ["e = Exp(x)", "y = Exp(e)"] or True
    )
    graph, _ = unroll(loop("(bool c, float[2] e) { e = Exp(a) }", count=2))
    assert names(graph) == ["l/0/Exp", "l/1/Exp"]


ENDS = "(bool d, float[2] e) { s = ReduceSum<keepdims=0>(a) d = Cast<to=9>(s) e = Exp(a) }"
NOISE = "(bool c, float[2] e) { r = RandomNormalLike(a) e = Add(a, r) }"
OPEN = "(bool c, float[2] e, float[?] f) { e = Exp(a) f, places = Unique(a) }"
AGAIN = "what its body makes may be other numbers each time"


@pytest.mark.parametrize(
    "text,reason",
    [
        (loop(ENDS, count=2), "its body may end it"),
        (loop(ONCE, trips="k").replace("(float[2] x)", "(float[2] x, int64 k)"), "its trip count is not known"),
        (loop(ONCE, begins="k").replace("(float[2] x)", "(float[2] x, bool k)"), "its condition is not known"),
        (loop(ONCE, count=9), "it runs 9 times, and most is 8"),
        (loop(ONCE, trips=""), "it never ends"),
        (loop(ONCE, count=3), "unrolled 3 times it would have 3 nodes more, and more is 0"),
        (loop(NOISE, count=2), AGAIN),
        (loop("(bool c, float[2] e) { e = my.Op(a) }", count=2), AGAIN),
        (loop(OPEN, count=0, outs="y, s"), "it never runs, and the shape of what it stacks is not known"),
    ],
)
def test_what_is_not_unrolled(text: str, reason: str) -> None:
    graph = graph_of(text)
    before = graph.proto.SerializeToString(deterministic=True)
    graph, found = apply(UNROLL, graph)
    assert reasons(found) == [reason] and graph.proto.SerializeToString(deterministic=True) == before


def test_parameters_that_make_no_sense() -> None:
    with pytest.raises(PassError, match="most and more are at least 0"):
        apply(UNROLL, graph_of(loop(ONCE)), most=-1)
