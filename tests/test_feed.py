from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from graphtool.errors import FeedError
from graphtool.graph import Graph
from graphtool.parity.feed import Feed, draw
from graphtool.parity.feed_files import feed_from, write_npz
from graphtool.parity.metrics import equal
from graphtool.parity.session import Session

Array = np.ndarray


def graph_of(body: str, opset: int = 13, **weights: Array) -> Graph:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> g {body}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return Graph.from_proto(model)


def drawn(body: str, opset: int = 13, seed: int = 0, shapes: Any = None, **weights: Array) -> dict[str, Array]:
    """Draw a feed and hold it to the model by running it."""
    graph = graph_of(body, opset, **weights)
    arrays = draw(graph, seed, shapes).arrays
    Session(graph, threads=1).run(arrays)
    return arrays


IDENTITY = "(float[2,3] x) => (float[2,3] y) { y = Identity(x) }"


def test_a_feed_is_the_same_bytes_everywhere() -> None:
    body = "(float[3,5] x, int64[4] i, bool[4] b, string[2] s, uint8[6] u) => (float[3,5] y) { y = Relu(x) }"
    arrays = draw(graph_of(body)).arrays
    text = "".join(f"{name}{array.dtype}{array.tolist()}" for name, array in arrays.items())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "e69812ea4dd7f33d"
    assert draw(graph_of(body)).arrays.keys() == arrays.keys() == {"x", "i", "b", "s", "u"}
    assert not equal(draw(graph_of(body), seed=1).arrays["x"], arrays["x"])
    # an input does not change because another comes or goes
    assert equal(draw(graph_of("(float[3,5] x) => (float[3,5] y) { y = Relu(x) }")).arrays["x"], arrays["x"])


@pytest.mark.parametrize(
    ("text", "dtype"),
    [("float", np.float32), ("double", np.float64), ("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16),
     ("float8e4m3fn", ml_dtypes.float8_e4m3fn), ("int4", ml_dtypes.int4), ("bool", np.bool_), ("int8", np.int8),
     ("uint8", np.uint8), ("int16", np.int16), ("int32", np.int32), ("int64", np.int64), ("uint64", np.uint64),
     ("string", object), ("complex64", np.complex64)],
)  # fmt: skip
@pytest.mark.parametrize("shape", ["[40,50]", "[7]", "[]", "[1,1,2]"])
def test_every_type_and_rank(text: str, dtype: Any, shape: str) -> None:
    graph = graph_of(f"({text}{shape if shape != '[]' else ''} x) => (float y) {{ y = Foo(x) }}", 23)
    if shape == "[]":
        model = graph.full_proto()
        model.graph.input[0].type.tensor_type.shape.SetInParent()
        graph = Graph.from_proto(model)
    array = draw(graph).arrays["x"]
    assert isinstance(array, np.ndarray) and array.dtype == dtype
    assert list(array.shape) == [int(size) for size in re.findall(r"\d+", shape)]
    if array.size > 1000:
        values = array.astype(np.float64) if dtype not in (object, np.complex64) else None
        if array.dtype.kind == "f" or "float" in array.dtype.name:
            assert values is not None and abs(values.mean()) < 0.1 and 0.9 < values.std() < 1.1
        elif dtype in (np.uint8, np.int8):
            assert values is not None and values.max() - values.min() > 240
        elif dtype is np.bool_:
            assert 0.4 < array.mean() < 0.6
        elif values is not None:
            assert set(values.ravel()) == set(range(8))


def test_shapes_of_symbols() -> None:
    body = """(float[N,3,H,W] image, float[batch,seq,16] text, float[seq] more, float["-1",4] free, float[?,?] a,
        int64[?,?] b) => (float[N,3,H,W] y) { y = Relu(image) }"""
    feed = draw(graph_of(body))
    shapes = {name: array.shape for name, array in feed.arrays.items()}
    assert shapes["image"] == (2, 3, 64, 96)
    assert shapes["text"] == (2, 3, 16) and shapes["more"] == (3,)
    assert shapes["free"] == (2, 4)
    assert shapes["a"] == shapes["b"] == (2, 5), "unnamed dimensions of one axis agree"
    dims = {"N": 2, "H": 64, "W": 96, "batch": 2, "seq": 3, "free:0": 2, "a:0": 2, "a:1": 5, "b:0": 2, "b:1": 5}
    assert feed.recipe == {"source": "drawn", "seed": 0, "dims": dims, "shapes": {}}
    assert feed.text().startswith("drawn with seed 0, N=2, H=64, W=96, batch=2")


def test_symbols_that_are_sums_and_sizes_that_weights_demand() -> None:
    body = """(int64[batch,seq] ids, float[batch,"past + seq"] mask, float[past,2] p, float["2*seq"] q)
        => (float y) { y = Identity(mask) }"""
    shapes = {name: array.shape for name, array in draw(graph_of(body)).arrays.items()}
    assert shapes == {"ids": (2, 3), "mask": (2, 8), "p": (5, 2), "q": (6,)}
    image = drawn("(float[?,?,?,?] x) => (float y) { y = Conv<group=2>(x, w) }", w=np.ones((4, 3, 3, 3), np.float32))
    assert image["x"].shape == (2, 6, 64, 96)
    text = drawn("(float[N,L,C] x) => (float y) { y = MatMul(x, w) }", w=np.ones((12, 4), np.float32))
    assert text["x"].shape == (2, 3, 12)
    flat = drawn("(float[N,C] x) => (float y) { y = Gemm<transB=1>(x, w) }", w=np.ones((4, 7), np.float32))
    assert flat["x"].shape == (2, 7)


def test_symbols_that_a_tool_made_up_are_as_good_as_none() -> None:
    body = """(float[{0},{1},4] a, float[{2},{3},4] b, float[{4},{5},{6},{7}] p, float[{8},{9},{10},{11}] q)
        => (float y) {{ y = Add(a, b) }}"""
    made_up = draw(graph_of(body.format(*(f"unk__{number}" for number in range(12)))))
    unnamed = draw(graph_of(body.format(*"?" * 12)))
    assert made_up.recipe["dims"]["unk__0"] == 2, "the batch"
    for name in "bpq":
        assert made_up.arrays[name].shape[1:] == unnamed.arrays[name].shape[1:], name
        assert made_up.arrays[name].shape[0] == 2
    same = draw(graph_of("(float[unk__1,4] a, float[3,unk__1] b) => (float y) { y = Add(a, b) }")).arrays
    assert (same["a"].shape, same["b"].shape) == ((2, 4), (3, 2)), "one symbol has one size everywhere"


@pytest.mark.parametrize(
    ("variants", "body", "shapes"),
    [
        ((4,), "(float[A,C] a, float[B,D] b) => (float y) { y = Add(a, b) }", {"a": (2, 3), "b": (2, 3)}),
        ((4, 5), "(float[A,C] a, float[B,D] b) => (float y) { c = MatMul(a, w) y = Add(a, b) }",
         {"a": (None, 5), "b": (None, 5)}),
        ((5,), "(float[3,2] a, float[N,M] b) => (float y) { y = Add(a, b) }", {"a": (3, 2), "b": (3, 2)}),
        ((6,), "(float[?,?] a, float[?,?] b) => (float y) { y = MatMul(a, b) }", {"a": (3, 3), "b": (3, 3)}),
        ((7,), "(float[?,?,?,?] a, float[?,?] b) => (float y) { y = MatMul(a, b) }", {"a": (2, 2, 2, 2), "b": (2, 2)}),
    ],
)  # fmt: skip
def test_variants_in_which_inputs_fit_each_other(variants: tuple[int, ...], body: str, shapes: Any) -> None:
    graph = graph_of(body, w=np.ones((5, 5), np.float32))
    for variant in variants:
        arrays = draw(graph, variant=variant).arrays
        Session(graph, threads=1).run(arrays)
        for name, shape in shapes.items():
            has = arrays[name].shape
            assert all(size is None or size == n for size, n in zip(shape, has, strict=True)), (variant, name, has)


def test_a_variant_in_which_integers_that_may_be_any_are_0_or_1() -> None:
    body = """(int64[40] i, int32[40] d, uint8[40] u, int64[40] k, float[40] x)
        => (float y) { e = Gather(t, k) q = Div(i, d) }"""
    graph = graph_of(body, t=np.ones((9, 2), np.float32))
    usual, feed = draw(graph), draw(graph, variant=10)
    assert {name: set(feed.arrays[name].tolist()) for name in "idk"} == {"i": {0, 1}, "d": {1}, "k": {0, 1}}
    assert all(equal(usual.arrays[name], feed.arrays[name]) for name in "ux")
    assert feed.text() == "drawn with seed 0, integers 0 or 1" and "integers" not in usual.recipe
    assert draw(graph_of(IDENTITY), variant=10).recipe == draw(graph_of(IDENTITY)).recipe, "nothing is different"


def test_asked_shapes() -> None:
    body = "(float[N,3,H,W] x, float[N,5] z, float[2,2] s) => (float[N,3,H,W] y) { y = Relu(x) }"
    feed = draw(graph_of(body), shapes={"x": [4, 3, 8, 6]})
    assert feed.arrays["x"].shape == (4, 3, 8, 6) and feed.arrays["z"].shape == (4, 5)
    assert feed.recipe["shapes"] == {"x": [4, 3, 8, 6]}
    # exporters write one symbol for two dimensions: what is asked for holds
    square = draw(graph_of("(float[N,3,N,N] x) => (float y) { y = Relu(x) }"), shapes={"x": (1, 3, 5, 7)})
    assert square.arrays["x"].shape == (1, 3, 5, 7)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"imag": [1]}, "--shape: the model has no input 'imag'; did you mean 'image'?"),
        ({"image": [1, 3]}, "--shape image:1,3: the model's input has 4 dimensions, float32[N,3,8,8]"),
        ({"image": [1, 4, 8, 8]}, "--shape image:1,4,8,8: dimension 1 is fixed to 3 in the model, float32[N,3,8,8]"),
        ({"image": [0, 3, 8, 8]}, "--shape image:0,3,8,8: sizes must be positive"),
        ({"image": [1 << 30, 3, 8, 8]}, "input 'image' would take 768 GiB; give it a smaller --shape"),
    ],
)
def test_shapes_the_model_does_not_allow(shapes: Any, message: str) -> None:
    graph = graph_of("(float[N,3,8,8] image) => (float[N,3,8,8] y) { y = Relu(image) }")
    with pytest.raises(FeedError) as caught:
        draw(graph, shapes=shapes)
    assert str(caught.value) == message


def test_what_cannot_be_drawn() -> None:
    for kind, text in (
        ("map(int64, float)", "map"),
        ("seq(map(string, float))", "sequence(map)"),
        ("sparse_tensor(float[2])", "sparse"),
    ):
        with pytest.raises(FeedError, match=re.escape(f"input 's' is of type {text}; only tensors, and sequences")):
            draw(graph_of(f"({kind} s) => (float y) {{ y = Identity(s) }}"))
    model = graph_of(IDENTITY).full_proto()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(
        FeedError, match=re.escape("input 'x' has no known rank; give its shape: --shape x:1,3,224,224")
    ):
        draw(Graph.from_proto(model))
    assert draw(Graph.from_proto(model), shapes={"x": (2, 2)}).arrays["x"].shape == (2, 2)
    model.graph.input[0].type.tensor_type.elem_type = 0
    with pytest.raises(FeedError, match="input 'x' is of unknown type"):
        draw(Graph.from_proto(model))


def test_initializers_are_no_inputs_and_symbols_no_escape_sequences() -> None:
    model = graph_of("(float[A] x, float[4] w) => (float y) { y = Add(x, w) }", w=np.ones(4, np.float32)).full_proto()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "a\x1b[31m"
    feed = draw(Graph.from_proto(model))
    assert list(feed.arrays) == ["x"] and "\x1b" not in feed.text()


TABLE = np.arange(40, dtype=np.float32).reshape(10, 4)
INDEXED: list[tuple[str, dict[str, Array], int, str, int]] = [
    ("(int64[50] i) => (float y) { y = Gather(t, i) }", {"t": TABLE}, 13, "i", 10),
    ("(int64[50] i) => (float y) { y = Gather<axis=-1>(t, i) }", {"t": TABLE}, 13, "i", 4),
    ("(int32[50] i) => (float y) { a = Cast<to=7>(i) b = Unsqueeze(a, z) y = Gather(t, b) }",
     {"t": TABLE, "z": np.array([0])}, 13, "i", 10),
    ("(float[50] i) => (float y) { a = Cast<to=7>(i) y = Gather(t, a) }", {"t": TABLE}, 13, "i", 10),
    ("(int64[50] i) => (float y, float z) { y = Gather(t, i) z = Gather<axis=1>(t, i) }", {"t": TABLE}, 13, "i", 4),
    ("(float[N,6] x, int64[N,50] i) => (float y) { y = GatherElements<axis=1>(x, i) }", {}, 13, "i", 6),
    ("(float[M,6] x, int64[50] i) => (float y) { r = Relu(x) y = Gather<axis=0>(r, i) }", {}, 13, "i", 3),
    ("(int64[2,50] t, float[2,5,50] x) => (float l) { l = SoftmaxCrossEntropyLoss(x, t) }", {}, 13, "t", 5),
    ("(int64[50] i) => (float y) { z = Neg(i) m = Where(c, i, z) y = Gather(t, m) }",
     {"t": TABLE, "c": np.ones(50, bool)}, 13, "i", 10),
    ("(int64[50] i, bool p) => (float y) { y = If(p) <then_branch = a () => (float u) { u = Gather(t, i) }, "
     "else_branch = b () => (float v) { v = Gather(t, i) }> }", {"t": TABLE}, 13, "i", 10),
    ("(int64[50] i) => (float y) { y = OneHot(i, d, v) }", {"d": np.array(6), "v": np.array([0, 1], np.float32)}, 13,
     "i", 6),
]  # fmt: skip


@pytest.mark.parametrize(("body", "weights", "opset", "name", "extent"), INDEXED)
def test_indices_lie_in_their_table(body: str, weights: dict[str, Array], opset: int, name: str, extent: int) -> None:
    found = drawn(body, opset, **weights)[name]
    assert found.min() == 0 and found.max() == extent - 1, "inside the table, and all of it"


def test_indices_of_several_axes_and_scattered_ones() -> None:
    found = drawn("(int64[9,2] i) => (float y) { y = GatherND(t, i) }", t=TABLE)["i"]
    assert found[:, 0].max() == 9 and found[:, 1].max() == 3
    found = drawn("(int64[8,2] i, float[8] u) => (float y) { y = ScatterND(t, i, u) }", t=TABLE)["i"]
    assert len({tuple(pair) for pair in found.tolist()}) == 8, "what is written twice depends on the order"
    found = drawn("(int64[3,4] i, float[3,4] u) => (float y) { y = ScatterElements<axis=1>(t, i, u) }", t=TABLE)["i"]
    assert all(sorted(row) == [0, 1, 2, 3] for row in found.tolist())


def test_a_column_of_the_places_that_are_scattered_to() -> None:
    body = """(int64[100] i, float[100] u) => (float y) {
    r = Reshape(i, s) p = Concat<axis=1>(r, c) y = ScatterND<reduction="add">(t, p, u) }"""
    found = drawn(body, 16, t=TABLE, s=np.array([-1, 1]), c=np.zeros((100, 1), np.int64))["i"]
    assert found.shape == (100,) and 0 <= found.min() < found.max() < min(TABLE.shape)


def test_masks_are_zeros_and_ones() -> None:
    named = drawn("(int64[4,50] attention_mask) => (int64 y) { y = Identity(attention_mask) }")["attention_mask"]
    used = drawn("(int32[4,50] m, float[4,50] x) => (float y) { f = Cast<to=1>(m) y = Mul(x, f) }")["m"]
    floats = drawn("(float[4,50] mask) => (float y) { y = Identity(mask) }")["mask"]
    flags = drawn("(bool[4,50] mask) => (bool y) { y = Identity(mask) }")["mask"]
    for mask in (named, used, floats, flags):
        assert set(mask.ravel().tolist()) == {0, 1} and mask[:, 0].all(), "no row is masked out altogether"
    pixels = drawn("(uint8[4,50] image, float[50] x) => (float y) { f = Cast<to=1>(image) y = Sub(f, x) }")["image"]
    assert pixels.max() > 200


EXACT: list[tuple[str, int, dict[str, Any]]] = [
    ("(float[2,6] x, int64[1] k) => (float y, int64 i) { y, i = TopK(x, k) }", 13, {"k": [3]}),
    ("(float[2,6] x, int64[2] s) => (float[3,4] y) { y = Reshape(x, s) }", 13, {"s": [3, 4]}),
    ("(float[2,6] x, int64[3] s) => (float y) { y = Reshape(x, s) }", 13, {"s": [-1, 1, 1]}),
    ("(float[1,2,4,4] x, float[4] s) => (float y) { y = Resize(x, , s) }", 13, {"s": [1, 1, 2, 2]}),
    ("(float[1,2,4,5] x, int64[4] s) => (float y) { y = Resize(x, , , s) }", 13, {"s": [1, 2, 8, 10]}),
    ("(float[4,6] x, int64[1] a, int64[1] b, int64[1] c) => (float y) { y = Slice(x, a, b, c) }", 13,
     {"a": [0], "b": [2**31 - 1], "c": [0]}),
    ("(float[4,6] x, int64[4] p) => (float y) { y = Pad(x, p) }", 13, {"p": [0, 1, 0, 1]}),
    ("(float[4,6] x, int64[2] r) => (float y) { y = Tile(x, r) }", 13, {"r": [1, 2]}),
    ("(float[4,1] x, int64[1] a) => (float y) { y = Squeeze(x, a) }", 13, {"a": [1]}),
    ("(float[4,6] x, int64[2] a) => (float y) { y = Unsqueeze(x, a) }", 13, {"a": [0, 1]}),
    ("(float[4,6] x, int64[2] s) => (float y, float z) { y, z = Split<axis=1>(x, s) }", 13, {"s": [3, 3]}),
    ("(float[4,6] x, int64[1] a) => (float y) { y = ReduceSum(x, a) }", 13, {"a": [-1]}),
    ("(int64 a, int64 b, int64 c) => (int64 y) { y = Range(a, b, c) }", 13, {"a": 0, "b": 5, "c": 1}),
    ("(float[4,6] x, float r, bool t) => (float y) { y = Dropout(x, r, t) }", 13, {"t": False}),
    ("(int64[2] s) => (float y) { y = ConstantOfShape(s) }", 13, {"s": [2, 2]}),
    ("(float[5,2,3] x, int32[2] n) => (float y) { y = LSTM<hidden_size=4>(x, w, r, , n) }", 13, {"n": [5, 5]}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "opset", "expected"), EXACT, ids=[body.split("= ")[1] for body, _, _ in EXACT])
def test_values_that_operators_demand(body: str, opset: int, expected: dict[str, Any]) -> None:
    weights = {"w": np.ones((1, 16, 3), np.float32), "r": np.ones((1, 16, 4), np.float32)} if "LSTM" in body else {}
    graph = graph_of(body, opset, **weights)
    model = graph.full_proto()
    for info in model.graph.input:
        info.type.tensor_type.shape.SetInParent()  # `int64 a` has no shape; here it means a scalar
    found = drawn_from(Graph.from_proto(model))
    for name, values in expected.items():
        assert found[name].tolist() == values


def drawn_from(graph: Graph) -> dict[str, Array]:
    arrays = draw(graph).arrays
    Session(graph, threads=1).run(arrays)
    return arrays


def test_divisors_lengths_and_variances() -> None:
    body = "(int64[500] a, int64[500] d) => (int64 y, int64 z) { y = Div(a, d) z = Mod(a, d) }"
    assert drawn(body)["d"].min() == 1, "onnxruntime ends the process on an integer division by zero"
    assert set(drawn("(int64[9] lengths) => (int64 y) { y = Identity(lengths) }")["lengths"]) == {1}
    body = """(float[2,50,3] x, float[50] s, float[50] b, float[50] m, float[50] v) => (float y) {
        y = BatchNormalization(x, s, b, m, v)
    }"""
    assert drawn(body)["v"].min() > 0.1


def test_ranges() -> None:
    graph = graph_of("(int64[999] i, float[999] f) => (int64 y) { y = Identity(i) }")
    arrays = draw(graph, ranges={"i": (-128, 127), "f": (0, 255)}).arrays
    assert (arrays["i"].min(), arrays["i"].max()) == (-128, 127)
    assert 0 <= arrays["f"].min() < 2 and 253 < arrays["f"].max() <= 255
    with pytest.raises(FeedError, match="no int64 lies between 2 and 1"):
        draw(graph, ranges={"i": (2, 1)})


# -- files

TWO = "(float[N,3] x, int64[2] i) => (float[N,3] y) { y = Identity(x) }"
GOOD = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.array([4, 5])}


def test_npz_round_trip_is_the_same_bytes(tmp_path: Path) -> None:
    feed = Feed({**GOOD, "s": np.array(["a", "bé"], object), "h": np.ones(2, ml_dtypes.bfloat16), "a/b": np.ones(1)})
    write_npz(tmp_path / "one.npz", feed)
    write_npz(tmp_path / "two.npz", feed.arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"], "no temporary file is left"
    body = '(float[N,3] x, int64[2] i, string[2] s, bfloat16[2] h, double[1] "a/b") => (float[N,3] y) { y = Relu(x) }'
    graph = graph_of(body.replace('"a/b"', "ab"))
    model = graph.full_proto()
    model.graph.input[4].name = "a/b"
    found = feed_from(tmp_path / "one.npz", Graph.from_proto(model))
    assert found.recipe == {"source": "one.npz"} and found.text() == "one.npz"
    assert found.arrays.keys() == feed.arrays.keys()
    assert all(equal(found.arrays[name], feed.arrays[name]) for name in found.arrays)
    with pytest.raises(FeedError, match="cannot write"):
        write_npz(tmp_path / "missing" / "feed.npz", feed)


def test_single_tensors(tmp_path: Path) -> None:
    one = graph_of("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    np.save(tmp_path / "x.npy", GOOD["x"])
    GOOD["x"].tofile(tmp_path / "x.bin")
    (tmp_path / "x.pb").write_bytes(numpy_helper.from_array(GOOD["x"]).SerializeToString())
    for name in ("x.npy", "x.bin", "x.pb"):
        assert equal(feed_from(str(tmp_path / name), one).arrays["x"], GOOD["x"])
    np.save(tmp_path / "i.npy", GOOD["i"])
    two = graph_of(TWO)
    found = feed_from([f"x={tmp_path / 'x.bin'}", f"i={tmp_path / 'i.npy'}"], two)
    assert equal(found.arrays["x"], GOOD["x"]) and equal(found.arrays["i"], GOOD["i"])
    assert found.recipe["source"] == "x.bin, i.npy"
    big_endian = GOOD["x"].astype(">f4")
    np.save(tmp_path / "big.npy", big_endian)
    assert equal(feed_from(tmp_path / "big.npy", one).arrays["x"], GOOD["x"])


def test_folders(tmp_path: Path) -> None:
    graph = graph_of(TWO)
    numbered = tmp_path / "test_data_set_0"
    numbered.mkdir()
    for number, name in enumerate(("x", "i")):
        (numbered / f"input_{number}.pb").write_bytes(numpy_helper.from_array(GOOD[name]).SerializeToString())
    (numbered / "output_0.pb").write_bytes(b"not read")
    assert all(equal(array, GOOD[name]) for name, array in feed_from(numbered, graph).arrays.items())
    named = tmp_path / "named"
    named.mkdir()
    GOOD["x"].tofile(named / "x.bin")
    np.save(named / "i.npy", GOOD["i"])
    assert feed_from(named, graph).arrays.keys() == {"x", "i"}
    with pytest.raises(
        FeedError, match=r"holds neither input_0.pb nor a file named after an input; give .*test_data_set_0"
    ):
        feed_from(tmp_path, graph)
    (numbered / "input_7.pb").write_bytes(b"")
    with pytest.raises(FeedError, match="the model has only 2 inputs"):
        feed_from(numbered, graph)


def test_an_input_that_has_a_default_may_be_given(tmp_path: Path) -> None:
    graph = graph_of("(float[4] x, float[4] w) => (float[4] y) { y = Add(x, w) }", w=np.ones(4, np.float32))
    x = np.zeros(4, np.float32)
    write_npz(tmp_path / "f.npz", {"x": x})
    assert list(feed_from(tmp_path / "f.npz", graph).arrays) == ["x"]
    write_npz(tmp_path / "f.npz", {"x": x, "w": x})
    found = feed_from(tmp_path / "f.npz", graph).arrays
    assert equal(Session(graph).run(found)["y"], x)


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("bomb-went-off"),))


def refuse(path: Any, graph: Graph, message: str) -> None:
    with pytest.raises(FeedError) as caught:
        feed_from(path, graph)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_npz_that_does_not_fit(tmp_path: Path) -> None:
    graph, path = graph_of(TWO), tmp_path / "feed.npz"

    def with_arrays(**arrays: Array) -> Path:
        write_npz(path, {**GOOD, **arrays})
        return path

    refuse(with_arrays(z=GOOD["i"]), graph, "the model has no input 'z'; it has 'x', 'i'")
    refuse(with_arrays(x=GOOD["x"].T), graph, "input 'x' is float32[N,3], found float32[3,2]")
    refuse(with_arrays(x=GOOD["x"][0]), graph, "input 'x' is float32[N,3], found float32[3]")
    refuse(
        with_arrays(x=GOOD["x"].astype(np.float64)), graph,
        "input 'x' is float32[N,3], found float64[2,3]; convert it with astype('float32')",
    )  # fmt: skip
    refuse(with_arrays(i=GOOD["i"].astype(np.int32)), graph, "input 'i' is int64[2], found int32[2]; convert it")
    write_npz(path, {"x": GOOD["x"]})
    refuse(path, graph, "feed 'feed.npz': nothing for input 'i' (int64[2])")
    refuse([path, path], graph, "input 'x' is given twice")
    refuse(f"x={path}", graph, "an .npz holds arrays by input name; leave out 'x'=")


def test_files_that_are_not_what_they_seem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = graph_of("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    write_npz(tmp_path / "good.npz", {"x": np.ones((500, 3), np.float32)})
    whole = (tmp_path / "good.npz").read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 3] ^= 0xFF
    for name, data in {
        "text.npz": b"hello", "cut.npz": whole[: len(whole) // 2], "flipped.npz": bytes(broken), "empty.npz": b"",
        "text.npy": b"hello", "empty.npy": b"", "text.pb": b"\xff" * 9, "pickle.npz": pickle.dumps(Bomb()),
        "pickle.npy": pickle.dumps(Bomb()),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        refuse(tmp_path / name, graph, "not a sound")
    objects = np.array([Bomb()], object)
    np.savez(tmp_path / "objects.npz", x=objects)
    refuse(tmp_path / "objects.npz", graph, "it holds Python objects, which are not read")
    np.save(tmp_path / "objects.npy", objects)
    refuse(tmp_path / "objects.npy", graph, "it holds Python objects, which are not read")
    assert not Path("bomb-went-off").exists()
    np.save(tmp_path / "array.npy", np.ones((2, 3), np.float32))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    refuse(tmp_path / "array.npz", graph, "not a sound .npz file")
    outside = TensorProto(data_type=1, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/hostname")
    (tmp_path / "outside.pb").write_bytes(outside.SerializeToString())
    refuse(tmp_path / "outside.pb", graph, "its data lies in another file, which is not read")
    refuse(tmp_path / "nowhere.npz", graph, "no such file or folder")
    (tmp_path / "feed.csv").write_text("1,2")
    refuse(tmp_path / "feed.csv", graph, "expected .npz, .npy, .bin, .pb or a folder")
    refuse(f"z={tmp_path / 'array.npy'}", graph, "the model has no input 'z'")


def test_raw_files(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(20))
    fixed = graph_of("(float16[2,3] x) => (float16[2,3] y) { y = Relu(x) }")
    refuse(path, fixed, "input 'x' is float16[2,3], 12 bytes, found 20")
    refuse(
        path,
        graph_of("(float[N,3] x) => (float y) { y = Relu(x) }"),
        "is float32[N,3], a multiple of 12 bytes, found 20",
    )
    refuse(path, graph_of("(float[N,M] x) => (float y) { y = Relu(x) }"), "does not tell several open dimensions")
    refuse(path, graph_of("(string[2] x) => (string y) { y = Identity(x) }"), "string[2] has no raw form")
    refuse(path, graph_of(TWO), "one tensor, but the model has inputs 'x', 'i': write INPUT=")
    path.write_bytes(np.arange(6, dtype="<f2").tobytes())
    assert feed_from(path, fixed).arrays["x"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_names_from_files_are_fit_for_a_terminal(tmp_path: Path) -> None:
    write_npz(tmp_path / "f.npz", {"a\x1b[31m": np.ones(2)})
    with pytest.raises(FeedError) as caught:
        feed_from(tmp_path / "f.npz", graph_of(TWO))
    assert "\x1b" not in str(caught.value)


def test_the_corner_of_a_real_model_runs_on_its_feed() -> None:
    # ids, mask and token types of a text model in one: three dimensions that must agree, two tables, one mask
    table = np.ones((30, 8), np.float32)
    ids = "int64[batch,seq]"
    body = f"""({ids} input_ids, {ids} attention_mask, {ids} token_type_ids) => (float y) {{
        e = Gather(words, input_ids)
        t = Gather(types, token_type_ids)
        s = Add(e, t)
        m = Cast<to=1>(attention_mask)
        u = Unsqueeze(m, last)
        y = Mul(s, u)
    }}"""
    arrays = drawn(body, words=table, types=table[:2], last=np.array([2]))
    assert {array.shape for array in arrays.values()} == {(2, 3)}
    assert arrays["token_type_ids"].max() <= 1 and set(arrays["attention_mask"].ravel()) <= {0, 1}
    assert helper.tensor_dtype_to_np_dtype(onnx.TensorProto.INT64) == arrays["input_ids"].dtype
