"""A model that disagrees with itself is named with the node that causes it, found by running and not by its type."""

from __future__ import annotations

import numpy as np
import pytest

from graphtool.cases import model_of
from graphtool.errors import PromiseError
from graphtool.parity.feed import draw
from graphtool.parity.judge import Judge

DROP = "<float r = {0.5}, bool t = {1}, bool f = {0}>"


def faulted(text: str, opset: int = 17) -> str:
    graph = model_of(text, opset)
    with pytest.raises(PromiseError) as caught:
        Judge(graph, draw(graph), {})
    return str(caught.value)


def test_the_node_that_causes_it_is_the_first_that_differs_and_not_the_first_that_could() -> None:
    text = f"""g (float[64] x) => (float[64] y, float[64] s) {DROP} {{
      [quiet] a = Dropout(x, r, f) [calm] q = RandomNormalLike<seed = 1.0>(x) s = Sub(q, q)
      [loud] b = Dropout(a, r, t) [later] n = RandomNormalLike(b) c = Add(b, n) y = Relu(c) }}"""
    said = faulted(text)
    assert "output 'y'" in said and "it starts at tensor 'b': node 'loud' (Dropout) draws at random" in said


def test_a_random_node_whose_numbers_reach_no_output_is_no_fault() -> None:
    graph = model_of("g (float[8] x) => (float[8] y) { r = RandomNormalLike(x) s = Shape(r) y = Expand(x, s) }", 17)
    assert Judge(graph, draw(graph), {}).original is not None


def test_a_seeded_node_draws_the_same_in_each_session() -> None:
    graph = model_of("g (float[8] x) => (float[8] y) { r = RandomNormalLike<seed = 3.0>(x) y = Add(x, r) }", 17)
    assert Judge(graph, draw(graph), {}).original is not None
    both = """g (float[8] x) => (float[8] y) { r = RandomNormalLike<seed = 3.0>(x) a = Add(x, r)
      [free] q = RandomUniformLike(a) y = Add(a, q) }"""
    # the seeded one goes on drawing in a second run of one session, and comes first
    assert "disagrees with itself" in faulted(both)


def test_in_a_body_the_node_around_it_and_those_that_draw_are_named() -> None:
    text = """g (float[8] x, bool c) => (float[8] y) {
      [choice] a = If(c) <
        then_branch = t () => (float[8] u) { [inside] r = RandomNormalLike(x) u = Add(r, x) },
        else_branch = e () => (float[8] v) { v = RandomUniformLike(x) }>
      y = Neg(a) }"""
    graph = model_of(text, 17)
    feed = draw(graph)
    feed.arrays["c"] = np.array(True)
    with pytest.raises(PromiseError, match=r"in the body of node 'choice' \(If\): 'inside' \(RandomNormalLike\)"):
        Judge(graph, feed, {})


def test_in_a_function_the_node_inside_is_named() -> None:
    text = """g (float[8] x) => (float[8] y) { a = Relu(x) [call] b = own.noisy(a) y = Neg(b) }
<domain: "own", opset_import: ["": 17]> noisy (p) => (q) { s = Abs(p) r = RandomNormalLike(s) q = Add(s, r) }"""
    said = faulted(text)
    assert "it starts at tensor" in said and "(RandomNormalLike) draws at random" in said
