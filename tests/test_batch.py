"""set_batch: constants that hold a batch are found and freed, or named; a batch is judged item by item."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import graph_of
from rewriting import lines

from graphtool import pipeline
from graphtool.api import run
from graphtool.cases import model_of
from graphtool.errors import PassError, PromiseError
from graphtool.graph import Graph
from graphtool.graph.declared import declare_dim
from graphtool.natives import set_batch
from graphtool.natives._batch_sizes import batch_axis_after, product_of, reshaped, scaled
from graphtool.parity.feed import draw
from graphtool.parity.session import Session
from graphtool.rewrite import Catalog, parse_pipeline


def batched(text: str, batch: str, opset: int = 17, checked: bool = True) -> Graph:
    """Return the graph at another batch, judged item by item."""
    state = run(model_of(text, opset), f"set_batch:batch={batch}", checked=checked)
    assert [step.status for step in state.steps] == ["applied" if checked else "unchecked"]
    again = run(state.graph, f"set_batch:batch={batch}", checked=False)
    assert again.steps[0].matches == ()
    return state.graph


def constants(graph: Graph) -> dict[str, list[int]]:
    """Return the values of integer initializers by name."""
    found = {name: graph.constant(name) for name in graph.initializers}
    return {name: array.tolist() for name, array in found.items() if array is not None and array.dtype.kind == "i"}


GATHERED = "s = Shape(x) n = Gather(s, i)"


@pytest.mark.parametrize(
    "text,batch,freed",
    [
        # the batch is copied, whatever the rest is
        ("g (float[1,3,4] x) => (float[1,12] y) <int64[2] s={1,12}> { y = Reshape(x, s) }", "4", [0, 12]),
        ("g (float[1,3,4] x) => (float[1,12] y) <int64[2] s={1,-1}> { y = Reshape(x, s) }", "N", [0, -1]),
        # it is merged with another axis, or taken out of one
        ("g (float[1,6,4] x) => (float[6,4] y) <int64[2] s={6,4}> { y = Reshape(x, s) }", "3", [-1, 4]),
        ("g (float[2,6,4] x) => (float[12,4] y) <int64[2] s={12,-1}> { y = Reshape(x, s) }", "N", [-1, 4]),
        # the shape says all and the batch is not where it was
        ("g (float[1,6,4] x) => (float[1,2,3,4] y) <int64[4] s={1,2,3,4}> { y = Reshape(x, s) }", "2", [0, 2, 3, 4]),
        ("g (float[1,4] x) => (float[1,1,4] y) <int64[3] s={1,1,4}> { y = Reshape(x, s) }", "5", [0, 1, 4]),
        # part of the shape is computed, and the part that is not holds the batch
        (f"g (float[1,5,8] x) => (float[1,5,2,4] y) <int64[1] s={{1}}, int64[1] i={{1}}, int64[2] r={{2,4}}> "
         f"{{ {GATHERED.replace('s =', 'h =').replace('(s,', '(h,')} q = Concat<axis=0>(s, n, r) y = Reshape(x, q) }}",
         "N", [0]),
        # a batch that was 4
        ("g (float[4,1,8] x) => (float[4,3,8] y) <int64[3] s={4,3,8}> { y = Expand(x, s) }", "N", [1, 3, 8]),
        # windows of each item in one axis
        ("g (float[1,6,4] x) => (float[3,2,5,4] y) <int64[4] r={3,2,1,4}, int64[4] s={3,2,5,4}> "
         "{ w = Reshape(x, r) y = Expand(w, s) }", "2", [1, 2, 5, 4]),
    ],
)  # fmt: skip
def test_a_shape_is_freed(text: str, batch: str, freed: list[int]) -> None:
    graph = batched(text, batch)
    assert constants(graph)["s/any_batch"] == freed
    assert "s" not in graph.initializers, "the constant that nobody reads is gone"


@pytest.mark.parametrize(
    "text,expected",
    [
        (
            'g (float[1,3,4,4] x) => (float[1,3,8,2] y) <int64[4] s={1,3,8,2}> { y = Resize<mode="linear">(x, , , s) }',
            [1.0, 1.0, 2.0, 0.5],
        ),
        # 7 times the float32 next to 31 / 7 is below 31: no scale says that size, so sizes are put together
        ('g (float[1,1,7] x) => (float[1,1,31] y) <int64[3] s={1,1,31}> { y = Resize(x, , , s) }', None),
    ],
    ids=["scales", "sizes"],
)  # fmt: skip
def test_sizes_of_a_resize_where_the_batch_stays_open(text: str, expected: list[float] | None) -> None:
    graph = batched(text, "N")
    resize = next(node for node in graph.nodes if node.op_type == "Resize")
    if expected is None:
        assert len(resize.input) == 4 and graph.index.producer(resize.input[3]) is not None
    else:
        scales = graph.constant(resize.input[2])
        assert scales is not None and scales.tolist() == expected and len(resize.input) == 3


def test_a_shared_constant_is_freed_where_it_holds_the_batch_only() -> None:
    weights = "int64[3] r = {1,3,4}, float[12] w"
    outputs = "float[1,3,4] y, float[1,3,4] z"
    graph = batched(f"g (float[1,12] x) => ({outputs}) <{weights}> {{ y = Reshape(x, r) z = Reshape(w, r) }}", "2")
    assert lines(graph) == ["y = Reshape(x, r/any_batch)", "z = Reshape(w, r)"]


def test_states_of_an_lstm_get_the_batch() -> None:
    weights = "float[1,12,8] w, float[1,12,3] r, float[1,1,3] h, float[1,1,3] c"
    text = f"""g (float[1,5,8] x) => (float[5,1,1,3] y) <{weights}> {{
      t = Transpose<perm=[1,0,2]>(x)  y = LSTM<hidden_size=3>(t, w, r, , , h, c) }}"""
    fixed = batched(text, "3")
    state = fixed.constant("h/batch")
    assert state is not None and state.shape == (1, 3, 3)
    ops = [node.op_type for node in batched(text, "N").nodes]
    assert ops.count("Expand") == 2 and ops.count("Shape") == 1


def test_one_item_is_enough_for_what_is_broadcast() -> None:
    text = "g (float[2,5] x) => (float[2,5] y) <float[2,1] c = {3, 3}> { y = Mul(x, c) }"
    graph = batched(text, "N")
    assert lines(graph) == ["y = Mul(x, c/item)"]
    assert lines(batched(text, "1")) == ["y = Mul(x, c/item)"]


PAIRS = "int64[2,3,2] i = {0,2, 0,0, 0,1, 1,2, 1,0, 1,1}"


@pytest.mark.parametrize("batch", ["N", "3", "1"])
@pytest.mark.parametrize(
    "text",
    [
        "g (float[2,4] x) => (float[2,1,3] y) <int64[2,1,3] i = {1,0,3, 5,4,7}, int64[1] f = {-1}> "
        "{ a = Reshape(x, f) y = Gather(a, i) }",
        "g (float[2,4,5] x) => (float[2,2,5] y) <int64[2,2] i = {1,3, 5,7}, int64[2] f = {-1,5}> "
        "{ a = Reshape(x, f) y = Gather(a, i) }",
        f"g (float[2,4] x) => (float[2,3] y) <{PAIRS}> {{ y = GatherND(x, i) }}",
        f"g (float[2,4,5] x) => (float[2,3,5] y) <{PAIRS}> {{ y = GatherND(x, i) }}",
    ],
)
def test_indices_that_run_through_the_items(text: str, batch: str) -> None:
    """As masks of transformers and pooled tokens are exported."""
    graph = batched(text, batch)
    assert "Gather" in {node.op_type for node in graph.nodes}
    assert "GatherND" not in {node.op_type for node in graph.nodes}


@pytest.mark.parametrize(
    "indices",
    ["{1,0,3, 5,4,6}", "{1,0,4, 5,4,7}", "{-1,0,3, 3,4,7}"],
    ids=["of other places", "into the next item", "negative"],
)
def test_indices_that_do_not_are_left(indices: str) -> None:
    text = f"g (float[2,4] x) => (float[2,1,3] y) <int64[2,1,3] i = {indices}, int64[1] f = {{-1}}> " + (
        "{ a = Reshape(x, f) y = Gather(a, i) }"
    )
    with pytest.raises(PassError, match="Gather 'Gather_1' picks or mixes items of the batch"):
        batched(text, "N")


@pytest.mark.parametrize("batch", ["N", "3", "1"])
def test_where_each_item_begins_is_counted(batch: str) -> None:
    """The last token of each item, in what was flattened: CLIP's text model."""
    graph = batched(
        "g (float[2,4,5] x, int64[2,4] t) => (float[2,5] y) <int64[2] c = {0,4}, int64[2] f = {-1,5}> "
        "{ a = Reshape(x, f) m = ArgMax<axis=1, keepdims=0>(t) i = Add(m, c) y = Gather(a, i) }",
        batch,
    )
    assert ("Range" in {node.op_type for node in graph.nodes}) == (batch == "N")


@pytest.mark.parametrize("batch", ["N", "3", "1"])
@pytest.mark.parametrize(
    "text",
    [
        "g (int64[2,3] p) => (float[2,3] y) <float[2,4] d = {1,2,3,4, 1,2,3,4}> "
        "{ m = Mod(p, n) n = Constant<value_int=4>() y = GatherElements<axis=1>(d, m) }",
        "g (float[2,4] x) => (float[2,3] y) <int64[2,3] i = {2,0,1, 2,0,1}> { y = GatherElements<axis=1>(x, i) }",
    ],
)
def test_elements_are_gathered_in_every_item(text: str, batch: str) -> None:
    batched(
        text.replace("m = Mod(p, n) n = Constant<value_int=4>()", "n = Constant<value_int=4>() m = Mod(p, n)"), batch
    )


def test_sizes_are_followed_through_what_exporters_compute_pads_with() -> None:
    """SwinV2's pads, not folded: without their numbers the batch would be lost at the Pad."""
    text = """g (float[1,5,6,4] x) => (float[1,3,2,3,2,4] y)
      <int64[6] r = {1,3,2,3,2,4}, int64[1] z = {0}, int64 one = {1}, int64 two = {2}, int64[2] pair = {-1,2},
       int64[1] more = {2}, int64[1] m = {-1}, int64[1] last = {-9223372036854775807}> {
      h = Shape(x)  n = Gather(h, one)  q = Mod(n, two)  k = Sub(two, q)  p = Mod(k, two)  u = Unsqueeze(p, z)
      c = Concat<axis=0>(z, z, z, z, z, u)  o = ConstantOfShape<value = int64[1] {0}>(more)  a = Concat<axis=0>(c, o)
      b = Reshape(a, pair)  s = Slice(b, m, last, z, m)  t = Transpose(s)  f = Reshape(t, m)  g = Cast<to=7>(f)
      d = Pad(x, g)  y = Reshape(d, r) }"""
    assert constants(batched(text, "N"))["r/any_batch"] == [0, 3, 2, 3, 2, 4]


@pytest.mark.parametrize(
    "text,reason",
    [
        (
            "g (float[1,5] x) => (float[5] y) { y = Squeeze<axes=[0]>(x) }",
            "Squeeze 'Squeeze_0' does not take a dynamic batch: Dimension of input 0 must be 1 instead of 7",
        ),
        (
            "g (float[2,5] x) => (float[2,5] y) <float[2,1] c = {3, 2}> { y = Mul(x, c) }",
            "Mul 'Mul_0' blocks a dynamic batch: its constant 'c' holds batch 2 and cannot be freed",
        ),
        (
            "g (float[1,5,8] x) => (float[5,8] y) <int64 i = {0}> { y = Gather<axis=0>(x, i) }",
            "Gather 'Gather_0' picks or mixes items of the batch: what it makes has the same shape for a dynamic "
            "batch, so the graph is not one for another batch",
        ),
        (
            "g (float[1,2] x, float[M,N] u) => (float[1,2] y) { y = Relu(x) }",
            "'N' is the name of axis 1 of input 'u'; name the batch otherwise",
        ),
        ("g (float x) => (float y) { y = Relu(x) }", "no input has an axis 0 of its own: there is no batch"),
        (
            "g (float[2,3] x) => (float[2,3] y) <float[3] s, float[3] b, float[3] m, float[3] v> "
            "{ y, p, q, r, t = BatchNormalization(x, s, b, m, v) }",
            "BatchNormalization 'BatchNormalization_0' trains: it takes mean and variance of all items of the batch "
            "together",
        ),
    ],
)
def test_what_blocks_a_batch_is_named(text: str, reason: str) -> None:
    with pytest.raises(PassError) as error:
        batched(text, "N", opset=11)
    assert str(error.value) == f"set_batch: {reason}"


@pytest.mark.parametrize("batch", ["8", "N"])
def test_a_shape_whose_data_grows_otherwise_is_not_freed(batch: str) -> None:
    """Four more items whatever the batch: 8 at batch 4 are no 16 at batch 8."""
    text = """g (float[4,6] x) => (float[8,2,3] y) <int64[4] p = {0, 0, 4, 0}, int64[3] s = {8, 2, 3}> {
      a = Pad(x, p) y = Reshape(a, s) }"""
    with pytest.raises(PassError, match=r"Reshape 'Reshape_1' blocks .* 's' = .* holds batch 4 and cannot be freed"):
        batched(text, batch)


@pytest.mark.parametrize("batch", ["0", "-3", "", " N"])
def test_a_batch_is_a_positive_number_or_a_name(batch: str) -> None:
    with pytest.raises(PassError, match="such as N"):
        run(
            graph_of("g (float[1,2] x) => (float[1,2] y) { y = Relu(x) }"),
            "set_batch",
            params={"set_batch": {"batch": batch}},
        )


def test_an_unknown_input_is_named_with_the_nearest() -> None:
    with pytest.raises(PassError, match="no input named 'image'; did you mean 'images'"):
        run(graph_of("g (float[1,2] images) => (float[1,2] y) { y = Relu(images) }"), "set_batch:inputs=image")


def test_a_dynamic_batch_that_constants_block() -> None:
    text = "g (float[N,4] x) => (float[N,2,2] y) <int64[3] s={1,2,2}> { y = Reshape(x, s) }"
    graph = model_of(text, 17)
    state = run(graph, "set_batch", shapes={"x": [1, 4]})
    assert constants(state.graph)["s/any_batch"] == [0, 2, 2]
    assert Session(state.graph).run({"x": np.ones((3, 4), np.float32)})["y"].shape == (3, 2, 2)


def test_sizes_that_no_number_is_known_of() -> None:
    text = """g (float[1,S,8] x) => (float[1,S,8] y) <int64[2] s={-1,8}, int64[3] t={1,-1,8}> {
      a = Reshape(x, s)  b = Relu(a)  y = Reshape(b, t) }"""
    assert constants(batched(text, "4"))["t/any_batch"] == [4, -1, 8]
    assert [value.type_text() for value in batched(text, "N").outputs] == ["float32[N,S,8]"]


def test_bodies_take_another_batch() -> None:
    graph = graph_of(
        """g (float[1,4] x, bool c) => (float[1,4] y) { y = If(c) <then_branch = a () => (float[1,4] t) { t = Neg(x) },
           else_branch = b () => (float[1,4] e) { e = Exp(x) }> }"""
    )
    state = run(graph, "set_batch:batch=3")
    assert state.steps[0].status == "applied" and [v.type_text() for v in state.graph.outputs] == ["float32[3,4]"]


# -- the judge


def test_items_that_mix_are_a_broken_promise() -> None:
    """Shapes do not show it, the judge does: each item must come out as it did alone."""
    graph = model_of("g (float[1,4] x) => (float[1,4] y) { y = Softmax<axis=0>(x) }", 17)
    with pytest.raises(PromiseError, match="set_batch broke its promise 'close': output 'y'"):
        run(graph, "set_batch:batch=3")


def test_a_shape_that_does_not_grow_is_a_broken_promise() -> None:
    graph = graph_of("g (float[1,4] x) => (int64[K,2] y) { n = NonZero(x) y = Transpose(n) }")
    graph.header.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(PromiseError, match=r"output 'y'"):
        run(graph, "set_batch:batch=2", feed={"x": np.array([[1, 0, 0, 2]], np.float32)})


def test_a_smaller_batch_is_judged_on_its_items() -> None:
    graph = model_of("g (float[4,3] x) => (float[4,6] y) <float[3,6] w> { y = MatMul(x, w) }", 17)
    state = run(graph, "set_batch:batch=1")
    verdict = state.steps[0].verdict
    assert verdict is not None and verdict.figures["y"].count == 6


def test_later_passes_are_judged_at_the_new_batch() -> None:
    graph = model_of("g (float[1,3] x) => (float[1,6] y) <float[3,6] w> { i = Identity(x)  y = MatMul(i, w) }", 17)
    catalog = Catalog()
    state = pipeline.begin(graph, parse_pipeline("set_batch:batch=4,remove_identity", catalog), catalog, draw(graph))
    assert [step.status for step in pipeline.advance(state, catalog)] == ["applied", "applied"]
    assert state.judge is not None and state.judge.outputs()["y"].shape == (4, 6)


# -- sizes


def test_products_of_sizes() -> None:
    assert product_of([2, "H", 3, "2*W"]) is not None
    assert product_of([2, "H", 3, "2*W"]).dim() == "12*H*W"  # type: ignore[union-attr]
    assert product_of([2, None]) is None
    assert reshaped((2, "H", 8), [0, -1], False) == (2, "8*H")
    assert reshaped((2, 3), [4, -1], False) is None
    assert reshaped((0, 3), [0, 3], True) == (0, 3)
    assert scaled("2*H", 2, 6) == "6*H" and scaled(3, 2, 4) is None
    assert batch_axis_after((5, 1, 8), 1, (5, 4, 2), 1) == 1
    assert batch_axis_after((1, 5, 8), 0, (1, 40), 1) == 0
    assert batch_axis_after((1, 5, 8), 0, (5, 8), 1) == 0


# -- ICNet


@pytest.fixture(scope="module")
def icnet(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """ICNet as it was exported at 1x3x1024x2048, with seeded weights."""
    out = tmp_path_factory.mktemp("icnet") / "icnet.onnx"
    skeleton = shared / "icnet" / "guide_layout.skeleton.onnx"
    command = [sys.executable, str(shared / "icnet" / "fill_weights.py"), str(skeleton), str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return Graph.load(out)


BLOCKING = ["Resize_212", "Resize_229", "Resize_246", "Resize_263", "Resize_283", "Resize_307"]


def test_icnet_optimized_takes_another_batch(icnet: Graph) -> None:
    graph = run(icnet, "optimize,set_batch", checked=False)
    assert [match.where for match in graph.steps[1].matches] == ["actual_input_1", *BLOCKING]
    assert graph.graph.outputs[0].shape == ("N", 19, 1024, 2048)


@pytest.mark.skipif(importlib.util.find_spec("onnxsim") is None, reason="onnxsim is not installed")
def test_icnet_folded_by_onnxsim_takes_another_batch(icnet: Graph) -> None:
    """Six Resize hold batch 1 after onnxsim (reference notes on ICNet); each item comes out as it did alone."""
    folded = run(icnet, "onnxsim", checked=False).graph
    state = run(folded, "set_batch:batch=4", checked=False)
    assert [match.where for match in state.steps[0].matches] == ["actual_input_1", *BLOCKING]
    small = ["782", "756"]  # outputs at 128x256 and 64x128, behind four of the six; the others would take gigabytes
    keep = f"prune_outputs:keep={'+'.join(small)}"
    single, four = (Session(run(graph, keep, checked=False).graph) for graph in (folded, state.graph))
    items = [draw(folded, seed).arrays["actual_input_1"] for seed in range(4)]
    both = four.run({"actual_input_1": np.concatenate(items)})
    for number, item in enumerate(items):
        alone = single.run({"actual_input_1": item})
        for name in small:
            assert np.array_equal(both[name][number : number + 1], alone[name])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("g (float[T,4] x) => (float[1,4] y) { y = ReduceMean<axes = [0]>(x) }", 7),
        ("g (float[N,1,4] x) => (float[A,B] y) { s = Squeeze(x) y = Relu(s) }", 1),
    ],
)
def test_a_first_size_that_was_open_is_judged_at_the_new_one(text: str, size: int) -> None:
    """Not by items of a batch: it need not be one."""
    graph = model_of(text, 11)
    (symbol, *_) = graph.inputs[0].shape or ()
    state = run(graph, f"set_input_shapes:symbols={symbol}:sizes={size}")
    verdict = state.steps[0].verdict
    assert verdict is not None and verdict.ok and verdict.figures["y"].changed == 0
    assert state.graph.inputs[0].shape == (size, *(graph.inputs[0].shape or ())[1:])


def test_a_batch_that_is_mixed_is_not_saved_by_what_the_old_one_made() -> None:
    """DynamicQuantizeLinear has one scale for all items; on the batch before both graphs make the same."""
    graph = model_of(
        "g (float[1,4] x) => (float[1,4] y) { q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z) }", 17
    )
    with pytest.raises(PromiseError, match="set_batch does not say which nodes it replaced"):
        run(graph, "set_batch")


# what scikit-learn's converters write: items in a row, in rows of three that are transposed, flattened and back
ROW = "<float[3] w={1,2,3}, float[1,1] z={0.5}, int64[2] s={-1,1}> { a = MatMul(x, w) b = Add(a, z) y = Reshape(b, s) }"
TURNED = """<int64[1] one={1}, int64[2] s={3,-1}, float[6,6] a, float[6,6] b, float[6,6] c, float[3] k={1,2,3}> {
  p = MatMul(x, a) q = MatMul(x, b) r = MatMul(x, c) i = ReduceSum(p, one) j = ReduceSum(q, one) l = ReduceSum(r, one)
  t = Concat<axis=0>(i, j, l) u = Reshape(t, s) v = Transpose<perm=[1,0]>(u) y = Add(v, k) }"""
FLAT = (
    "{ n = IsNaN(x) k = Not(n) w = Where(k, x, x) s = Shape(w) f = Flatten<axis=0>(w) r = Relu(f) y = Reshape(r, s) }"
)
STANDING = [
    pytest.param(3, 1, ROW, id="row"),
    pytest.param(6, 3, TURNED, id="turned"),
    pytest.param(6, 6, FLAT, id="flat"),
]


@pytest.mark.parametrize("batch", ["3", "M"])
@pytest.mark.parametrize(("wide", "made", "body"), STANDING)
def test_an_open_batch_without_a_name_is_not_frozen_at_1(wide: int, made: int, body: str, batch: str) -> None:
    graph = model_of(f"g (float[N,{wide}] x) => (float[N,{made}] y) {body}", 17)
    for info in (*graph.header.input, *graph.header.output):
        declare_dim(info, 0, None)
    graph.reindex()
    state = run(graph, f"set_batch:batch={batch}")
    size = int(batch) if batch.isdecimal() else batch
    assert [value.shape for value in state.graph.outputs] == [(size, made)]
    assert constants(state.graph) == constants(graph)


@pytest.mark.parametrize("batch", ["3", "M"])
@pytest.mark.parametrize(("wide", "made", "body"), STANDING)
def test_a_reshape_that_takes_the_batch_as_it_stands_is_left_alone(wide: int, made: int, body: str, batch: str) -> None:
    """At batch 1 several axes have length 1: the one that the items are at must not be guessed against the model."""
    state = run(model_of(f"g (float[1,{wide}] x) => (float[1,{made}] y) {body}", 17), f"set_batch:batch={batch}")
    size = int(batch) if batch.isdecimal() else batch
    assert [value.shape for value in state.graph.outputs] == [(size, made)]
    assert not any("any_batch" in name for name in state.graph.initializers)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        # frozen all the same: one item in a row becomes one item in each row
        ("g (float[1,3,4] x) => (float[1,12] y) <int64[2] s={1,-1}> { y = Reshape(x, s) }", (3, 12)),
        ("g (float[1,3] x) => (float[1,1] y) <float[3] w={1,2,3}, int64[2] s={1,-1}> { a = MatMul(x, w) "
         "y = Reshape(a, s) }", (3, 1)),
        # [-1,3] of three rows would mix the items
        ("g (float[1,3] x) => (float[1,3] y) <int64[2] s={-1,3}> { t = Transpose(x) y = Reshape(t, s) }", None),
        # states of an LSTM have the batch at axis 1, and nothing says otherwise
        ("g (float[1,3] x) => (float[1,1,3] y) <int64[3] s={1,1,3}> { r = Reshape(x, s) "
         "y = Transpose<perm=[1,0,2]>(r) }", (1, 3, 3)),
    ],
)  # fmt: skip
def test_a_reshape_that_froze_the_batch_is_not_left_alone(text: str, shape: tuple[int, ...] | None) -> None:
    if shape is None:
        with pytest.raises((PassError, PromiseError)):
            run(model_of(text, 17), "set_batch:batch=3")
        return
    assert run(model_of(text, 17), "set_batch:batch=3").graph.outputs[0].shape == shape


@pytest.mark.parametrize("batch", ["3", "M"])
def test_items_that_left_axis_0_are_a_broken_promise(monkeypatch: pytest.MonkeyPatch, batch: str) -> None:
    """Each item is right, and the graph before had them along axis 0 without any pass."""
    monkeypatch.setattr(set_batch, "_beside", lambda facts: [])
    with pytest.raises(PromiseError, match="no longer has its items along axis 0"):
        run(model_of(f"g (float[1,3] x) => (float[1,1] y) {ROW}", 17), f"set_batch:batch={batch}")


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        ("g (float[1,4,2,2] x) => (float[1,2,2,2,2] y) { c = Constant<value=int64[5]{1,2,2,2,2}>() i = Identity(c) "
         "j = Identity(i) y = Reshape(x, j) }", 16),
        ("g (float[1,5,8] x) => (float[1,6,8] y) <float[1,1,8] c> { i = Identity(c) y = Concat<axis=1>(i, x) }", 17),
        ("g (float[1,2,4,4] x) => (float[1,2,8,8] y) <int64[4] s={1,2,8,8}> { i = Identity(s) "
         'y = Resize<mode="nearest">(x, , , i) }', 13),
    ],
)  # fmt: skip
def test_a_constant_behind_an_identity_is_freed(text: str, opset: int) -> None:
    """paddle2onnx writes Constant, Identity, Reshape."""
    for batch in ("3", "M"):
        graph = batched(text, batch, opset)
        assert graph.outputs[0].shape is not None
        assert graph.outputs[0].shape[0] == (3 if batch == "3" else batch)
        left = {node.op_type for node in graph.nodes}
        assert "Identity" not in left or (batch == "M" and "Expand" in left)
