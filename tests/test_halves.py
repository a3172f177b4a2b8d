"""float16 is judged as it is written: each result is rounded, which onnxruntime's CPU leaves out."""

from __future__ import annotations

import numpy as np
import pytest

from graphtool.cases import model_of
from graphtool.graph import check
from graphtool.parity.halves import rounded
from graphtool.parity.session import Session

X = np.array([[12, 1, 2], [3, 4, 5]], np.float32)
with np.errstate(over="ignore"):
    EXP = np.exp(X).astype(np.float16)  # e^12 is infinite


def outputs(text: str, **feed: np.ndarray) -> list[np.ndarray]:
    """Return what a graph computes, in the order of its outputs."""
    graph = model_of(text, 17)
    before = graph.proto.SerializeToString()
    own = rounded(graph)
    assert graph.proto.SerializeToString() == before
    check(own)
    assert [(v.name, v.dtype) for v in own.outputs] == [(v.name, v.dtype) for v in graph.outputs]
    return list(Session(graph).run(feed).values())


@pytest.mark.parametrize(
    "nodes",
    [
        "h = Cast<to=10>(x) e = Exp(h) z = Neg(e) y = Cast<to=1>(z)",
        "h = Cast<to=10>(x) e = Exp(h) i = Identity(e) z = Neg(i) y = Cast<to=1>(z)",
        "h = Cast<to=10>(x) e = Exp(h) z = Mul(m, e) y = Cast<to=1>(z)",
        "h = Cast<to=10>(x) a, b = Split<axis=1>(h, s) c = Concat<axis=1>(a, b) e = Exp(c) n = Neg(e) "
        "y = Cast<to=1>(n)",
    ],
)
def test_a_chain_is_rounded_at_each_step(nodes: str) -> None:
    head = "g (float[2,3] x) => (float[2,3] y) <float16 m = {48128}, int64[2] s = {1, 2}>"
    (found,) = outputs(f"{head} {{ {nodes} }}", x=X)  # m is -1
    np.testing.assert_array_equal(found, -EXP.astype(np.float32))


def test_inputs_outputs_and_inner_values_keep_their_types() -> None:
    graph = model_of("g (float16[2,3] x) => (float16[2,3] y, bool[2,3] b) { e = Exp(x) y = Neg(e) b = Less(x, e) }", 17)
    found = Session(graph, outputs=["e", "y", "b"]).run({"x": X.astype(np.float16)})
    assert [found[name].dtype for name in "eyb"] == [np.float16, np.float16, np.bool_]
    np.testing.assert_array_equal(found["y"], -EXP)


def test_in_a_body_and_across_its_border() -> None:
    text = """g (float16[2,3] x, bool c) => (float16[2,3] y) {
      e = Exp(x)
      y = If(c) <then_branch = t () => (float16[2,3] o) { n = Neg(e) o = Neg(n) },
                 else_branch = f () => (float16[2,3] p) { p = Sqrt(e) }> }"""
    half = X.astype(np.float16)
    (found,) = outputs(text, x=half, c=np.array(True))
    np.testing.assert_array_equal(found, EXP)
    (found,) = outputs(text, x=half, c=np.array(False))
    np.testing.assert_array_equal(found, np.sqrt(EXP.astype(np.float32)).astype(np.float16))


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2] x) => (float[2] y) { y = Exp(x) }",
        "g (float[2] x) => (float16[2] y) { e = Exp(x) y = Cast<to=10>(e) }",  # only handed over
    ],
)
def test_what_does_not_compute_in_float16_is_left_alone(text: str) -> None:
    graph = model_of(text, 17)
    assert rounded(graph) is graph
