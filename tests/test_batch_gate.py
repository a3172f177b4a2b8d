"""The batch gate: items through a batch against runs of one item; what mixes, repeats or blocks them is named."""

from __future__ import annotations

import numpy as np
import pytest

from graphtool.cases import model_of
from graphtool.parity import batch as gates
from graphtool.parity.batch import BatchResult, gate
from graphtool.parity.crossmatch import CrossMatch
from graphtool.parity.feed import draw


def gated(text: str, *batches: int, opset: int = 17, whole: bool = False) -> list[BatchResult]:
    graph = model_of(text, opset)
    return gate(graph, batches, draw(graph).arrays, {}, whole=whole)


NET = """g (float[1,3,8,8] x) => (float[1,5] y, int64[1] k) <float[4,3,3,3] w, float[64,5] v, int64[2] s = {0, -1}> {
  a = Conv<pads=[1,1,1,1]>(x, w) b = AveragePool<kernel_shape=[2,2], strides=[2,2]>(a)
  c = Reshape(b, s) y = MatMul(c, v) k = ArgMax<axis=1, keepdims=0>(y) }"""


def test_a_sound_graph_agrees_at_every_batch_though_it_declares_one() -> None:
    one, four = gated(NET, 1, 4)
    assert (one.ok, four.ok, four.how) == (True, True, "run")
    assert four.text() == "batch 4: 4 different items come out as each does alone"
    y = next(match for match in four.matches if match.output == "y")
    assert y.lines() == ["=...", ".=..", "..=.", "...="]


def test_a_constant_that_holds_batch_1_is_named_with_the_pass_that_frees_it() -> None:
    text = "g (float[1,3,4] x) => (float[1,12] y) <int64[2] s = {1,12}> { [flat] r = Reshape(x, s) y = Relu(r) }"
    (found,) = gated(text, 4)
    assert (found.ok, found.node, found.constant, found.fix) == (False, "Reshape 'flat'", "s", "set_batch:batch=4")
    start = "batch 4: Reshape 'flat' holds another batch in 's'; the pass set_batch:batch=4 frees it (onnxruntime"
    assert found.text().startswith(start)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{ m = ReduceMean<axes=[0]>(x) y = Add(x, m) }", "4 items of the batch equal no single run"),
        ("<int64[1] i = {0}> { y = Gather<axis=0>(x, i) }", "has the shape [1, 6] for one item and for 4"),
        ("<int64[2] t = {2, 1}> { y = Tile(x, t) }", "4 items of the batch equal no single run"),
        ("<int64[4] i = {1,0,3,2}> { y = Gather<axis=0>(x, i) }", "batch 1 does not run"),
    ],
)
def test_items_that_do_not_come_out_where_they_went_in(body: str, said: str) -> None:
    (found,) = gated(f"g (float[N,6] x) => (float[M,6] y) {body}", 4)
    assert not found.ok and said in found.reason


def test_permuted_and_repeated_items_are_told_apart() -> None:
    swap = """g (float[N,6] x) => (float[N,6] y) <int64[1] b = {-9}, int64[1] m = {-1}, int64[1] a = {0}> {
      y = Slice(x, m, b, a, m) }"""
    (found,) = gated(swap, 3)
    assert "output 'y': the items are permuted, they come out as 2, 1, 0" in found.reason
    assert found.matches[0].lines() == ["..=", ".=.", "=.."]
    first = """g (float[N,6] x) => (float[N,6] y) <int64[1] i = {0}> {
      f = Gather<axis=0>(x, i) s = Shape(x) y = Expand(f, s) }"""
    (found,) = gated(first, 3)
    assert "items are repeated, they come out as 0, 0, 0" in found.reason
    row = (True, False)
    assert CrossMatch("y", (row, (False, False))).fault() == (
        "output 'y': item 1 of the batch equals no single run: the items are mixed or mislaid"
    )


def test_an_output_that_does_not_depend_on_the_items_is_said_to_show_nothing() -> None:
    (found,) = gated("g (float[N,6] x) => (float[N,6] y) { y = Sub(x, x) }", 3)
    assert found.ok and found.notes == ("all items look alike in 'y': a mix-up would not show",)


def test_outputs_whose_size_depends_on_the_data_are_said_to_be_uncompared() -> None:
    (found,) = gated("g (float[N,60] x) => (int64[2,K] y) { r = Relu(x) y = NonZero(r) }", 3)
    assert found.ok and found.text() == "batch 3: it runs; its items could not be compared"
    assert "depends on the data" in found.notes[0]


def test_a_large_batch_is_followed_by_its_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MOST_RUN", 500)
    found = gated(NET, 2, 16)
    assert [(item.ok, item.how) for item in found] == [(True, "run"), (True, "two")]
    assert "two different items" in found[1].text()
    held = "g (float[N,100] x) => (float[N,100] y) <int64[2] s = {2,100}> { a = Reshape(x, s) y = Relu(a) }"
    (blocked,) = gated(held, 16)
    assert not blocked.ok
    assert gated(NET, 16, whole=True)[0].how == "run"


def test_a_graph_of_its_own_batch_that_does_not_run_alone_is_said_to_be_uncompared() -> None:
    text = "g (float[4,6] x) => (float[2,12] y) <int64[2] s = {2,12}> { a = Relu(x) y = Reshape(a, s) }"
    (found,) = gated(text, 4)
    assert found.ok and "were not compared" in found.text()
    assert not gated(text, 8)[0].ok


def test_inputs_that_are_no_items_keep_their_values() -> None:
    text = """g (float[N,3] x, float k, int64[N,2] i) => (float[N,3] y, float[N,2] z) <float[9] t> {
      y = Mul(x, k) g = Gather(t, i) z = Relu(g) }"""
    graph = model_of(text, 17)
    feed = {**draw(graph).arrays, "k": np.array(3, np.float32)}
    (found,) = gate(graph, [3], feed, {}, carriers=["x", "i"])
    assert found.ok and {match.output for match in found.matches} == {"y", "z"}
