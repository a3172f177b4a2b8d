from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, parser

from graphtool import seeded
from graphtool.parity.double import NoTruth, evaluate
from graphtool.parity.double_channels import channel_plan, channelwise, sample, spread

Array = np.ndarray


def onnxruntime_run(nodes: list[Any], feed: dict[str, Array], opset: int, wanted: list[str]) -> dict[str, Array]:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feed.items()],
        [helper.make_tensor_value_info(name, 0, None) for name in wanted],
    )
    for info in graph.output:
        info.ClearField("type")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(wanted, session.run(wanted, feed), strict=True))


def bell(*shape: int, seed: int = 1) -> Array:
    return seeded.bell(seed, shape)


def agree(nodes: list[Any], feed: dict[str, Array], opset: int, double_kernel: bool = False) -> Array:
    """Hold ``evaluate`` to onnxruntime in float32 and, where it has the kernel, to the last bits of float64."""
    truth = evaluate(nodes, feed, opset, ["y"])["y"]
    assert truth.dtype == np.float64
    single = onnxruntime_run(nodes, feed, opset, ["y"])["y"]
    assert truth.shape == single.shape
    scale = max(1.0, float(np.abs(truth).max(initial=0.0)))
    np.testing.assert_allclose(single, truth, rtol=0, atol=64 * np.finfo(np.float32).eps * scale)
    if double_kernel:
        wide = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in feed.items()}
        kernel = onnxruntime_run(nodes, wide, opset, ["y"])["y"]
        assert kernel.dtype == np.float64
        np.testing.assert_allclose(kernel, truth, rtol=0, atol=256 * np.finfo(np.float64).eps * scale)
    return truth


CONVS = [
    ((2, 4, 9, 8), (6, 4, 3, 3), {}),
    ((1, 4, 9, 8), (6, 4, 3, 2), {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
    ((1, 4, 9, 8), (6, 2, 3, 3), {"group": 2, "dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    ((1, 4, 9, 8), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 4, 9, 8), (6, 4, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ((1, 4, 9, 8), (6, 4, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ((1, 4, 9, 8), (6, 4, 4, 3), {"auto_pad": "VALID", "strides": [2, 1]}),
    ((2, 3, 11), (5, 3, 3), {"pads": [1, 0], "strides": [2]}),
    ((1, 2, 5, 6, 4), (3, 2, 2, 3, 1), {"pads": [1, 1, 0, 0, 1, 0]}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVS)
@pytest.mark.parametrize("bias", [False, True])
def test_conv(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], bias: bool) -> None:
    feed = {"x": bell(*x), "w": bell(*w, seed=2)} | ({"b": bell(w[0], seed=3)} if bias else {})
    agree([helper.make_node("Conv", list(feed), ["y"], **attributes)], feed, 13)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 0]},
        {"group": 2, "dilations": [2, 1]},
    ],
)
def test_conv_transpose(attributes: dict[str, Any]) -> None:
    feed = {"x": bell(2, 4, 5, 6), "w": bell(4, 3, 3, 2, seed=2), "b": bell(3 * attributes.get("group", 1), seed=3)}
    agree([helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)], feed, 13)


POOLS = [
    {"kernel_shape": [3, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 2], "strides": [3, 3], "pads": [1, 1, 1, 0], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1},
    {"kernel_shape": [4, 3], "strides": [2, 3], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [4, 3], "strides": [2, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [4, 3], "auto_pad": "VALID"},
    {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 1, 0]},
    {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [2, 1], "ceil_mode": 1},
]


@pytest.mark.parametrize("attributes", POOLS)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "AveragePool padding counts"])
def test_pools(op: str, attributes: dict[str, Any]) -> None:
    name, _, counts = op.partition(" ")
    extra = {"count_include_pad": 1} if counts else {}
    node = helper.make_node(name, ["x"], ["y"], **attributes, **extra)
    agree([node], {"x": bell(2, 3, 10, 9)}, 19, double_kernel=name == "MaxPool")


def test_pools_of_other_ranks() -> None:
    agree([helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3], pads=[1, 1])], {"x": bell(1, 2, 7)}, 13)
    agree([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2])], {"x": bell(1, 2, 4, 5, 6)}, 13)
    agree([helper.make_node("GlobalAveragePool", ["x"], ["y"])], {"x": bell(2, 3, 4, 5)}, 13)
    agree([helper.make_node("GlobalMaxPool", ["x"], ["y"])], {"x": bell(2, 3, 4, 5)}, 13)


def resize_node(opset: int, by: str, **attributes: Any) -> Any:
    inputs = {"scales": ["x", "roi", "scales"], "sizes": ["x", "roi", "", "sizes"]}[by]
    return helper.make_node("Resize", inputs, ["y"], **attributes)


def literal_coordinate(mode: str, x: int, length: int, out: int, scale: float) -> float:
    """The formulas of the ONNX Resize documentation, one position at a time."""
    if mode == "half_pixel":
        return (x + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjustment = out / (scale * length)
        center = length / 2
        offset = center * (1 - adjustment)
        return offset + (x + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (x + 0.5) / scale - 0.5 if out > 1 else 0.0
    if mode == "align_corners":
        return x * (length - 1) / (out - 1) if out > 1 else 0.0
    return x / scale


def literal_resize(x: Array, out: tuple[int, int], scales: tuple[float, float], mode: str, coordinate: str) -> Array:
    """Resize of ``[H,W]`` pixel by pixel: bilinear from four pixels, or the nearest by ``round_prefer_floor``."""
    height, width = x.shape
    y = np.empty(out)
    for i, j in itertools.product(*map(range, out)):
        v = literal_coordinate(coordinate, i, height, out[0], scales[0])
        u = literal_coordinate(coordinate, j, width, out[1], scales[1])
        if mode == "nearest":
            row = min(max(math.ceil(v - 0.5), 0), height - 1)
            column = min(max(math.ceil(u - 0.5), 0), width - 1)
            y[i, j] = x[row, column]
            continue
        v, u = min(max(v, 0.0), height - 1.0), min(max(u, 0.0), width - 1.0)
        top, left = math.floor(v), math.floor(u)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        dv, du = v - top, u - left
        y[i, j] = (
            x[top, left] * (1 - dv) * (1 - du)
            + x[top, right] * (1 - dv) * du
            + x[bottom, left] * dv * (1 - du)
            + x[bottom, right] * dv * du
        )
    return y


COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("out", [(10, 14), (3, 4), (1, 1), (7, 3), (5, 7)])
def test_resize_by_sizes_is_the_formula(coordinate: str, mode: str, out: tuple[int, int]) -> None:
    x = bell(1, 1, 5, 7)
    node = resize_node(19, "sizes", mode=mode, coordinate_transformation_mode=coordinate)
    feed = {"x": x, "roi": np.zeros(0, np.float32), "sizes": np.array([1, 1, *out])}
    found = evaluate([node], feed, 19, ["y"])["y"]
    literal = literal_resize(x[0, 0].astype(np.float64), out, (out[0] / 5, out[1] / 7), mode, coordinate)
    np.testing.assert_allclose(found[0, 0], literal, rtol=0, atol=1e-14)


@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.5, 0.25), (1.7, 0.6), (3.3, 1.0)])
def test_resize_by_scales_is_the_formula_and_onnxruntime(coordinate: str, scales: tuple[float, float]) -> None:
    x = bell(2, 3, 5, 7)
    node = resize_node(19, "scales", mode="linear", coordinate_transformation_mode=coordinate)
    given = np.array([1, 1, *scales], np.float32)
    found = agree([node], {"x": x, "roi": np.zeros(0, np.float32), "scales": given}, 19)
    exact = float(given[2]), float(given[3])
    out = math.floor(5 * exact[0]), math.floor(7 * exact[1])
    literal = literal_resize(x[1, 2].astype(np.float64), out, exact, "linear", coordinate)
    np.testing.assert_allclose(found[1, 2], literal, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinate", ["asymmetric", "half_pixel", "align_corners"])
@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
def test_resize_nearest(rounding: str, coordinate: str, scale: float) -> None:
    node = resize_node(13, "scales", mode="nearest", coordinate_transformation_mode=coordinate, nearest_mode=rounding)
    scales = np.array([1, 1, scale, scale], np.float32)
    agree([node], {"x": bell(1, 2, 8, 6), "roi": np.zeros(0, np.float32), "scales": scales}, 13)


@pytest.mark.parametrize("exclude", [0, 1])
@pytest.mark.parametrize("coordinate", ["half_pixel", "align_corners", "asymmetric"])
def test_resize_cubic(coordinate: str, exclude: int) -> None:
    attributes = {"coordinate_transformation_mode": coordinate, "exclude_outside": exclude, "cubic_coeff_a": -0.5}
    node = resize_node(13, "sizes", mode="cubic", **attributes)
    feed = {"x": bell(1, 2, 6, 7), "roi": np.zeros(0, np.float32), "sizes": np.array([1, 2, 11, 4])}
    agree([node], feed, 13)


def test_resize_crops_and_extrapolates() -> None:
    roi = np.array([0, 0, 0.3, -0.2, 1, 1, 0.9, 1.4], np.float32)
    attributes = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    feed = {"x": bell(1, 2, 6, 7), "roi": roi, "sizes": np.array([1, 2, 5, 8])}
    found = agree([resize_node(13, "sizes", mode="linear", **attributes)], feed, 13)
    assert (found == 9).any() and (found != 9).any()


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_resize_axes_and_aspect_ratio(policy: str) -> None:
    node = resize_node(18, "sizes", mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)
    agree([node], {"x": bell(1, 2, 6, 8), "roi": np.zeros(0, np.float32), "sizes": np.array([9, 7])}, 18)


def test_resize_at_opset_10_and_upsample() -> None:
    for mode, scale in itertools.product(["nearest", "linear"], [0.4, 0.5, 2.0, 2.5]):
        feed = {"x": bell(1, 2, 7, 5), "scales": np.array([1, 1, scale, scale], np.float32)}
        agree([helper.make_node("Resize", ["x", "scales"], ["y"], mode=mode)], feed, 10)
    for mode in ("nearest", "linear"):
        feed = {"x": bell(1, 2, 7, 5), "scales": np.array([1, 1, 2, 3], np.float32)}
        agree([helper.make_node("Upsample", ["x", "scales"], ["y"], mode=mode)], feed, 9)
        node = helper.make_node("Upsample", ["x"], ["y"], mode=mode, scales=[1.0, 1.0, 2.0, 3.0])
        agree([node], {"x": feed["x"]}, 7)


def test_resize_with_antialias_goes_through_the_reference() -> None:
    node = resize_node(18, "sizes", mode="linear", antialias=1)
    agree([node], {"x": bell(1, 2, 12, 12), "roi": np.zeros(0, np.float32), "sizes": np.array([1, 2, 5, 7])}, 18)


def node_of(text: str) -> Any:
    return parser.parse_node(text)


X = bell(2, 3, 4, 5)
BN = {"x": X} | {n: bell(3, seed=i) for i, n in enumerate("sbm", 2)} | {"v": np.abs(bell(3, seed=9)) + 0.5}
ONE_NODE: list[tuple[str, dict[str, Array], int]] = [
    ("y = Add(x, b)", {"x": X, "b": bell(4, 1, seed=2)}, 13),
    ("y = Sub(x, b)", {"x": X, "b": bell(5, seed=2)}, 13),
    ("y = Mul(x, b)", {"x": X, "b": bell(3, 1, 1, seed=2)}, 13),
    ("y = Div(x, b)", {"x": X, "b": np.abs(bell(5, seed=2)) + 1}, 13),
    ("y = Pow(x, b)", {"x": np.abs(X), "b": np.array(3.0, np.float32)}, 13),
    ("y = Sum(x, b, x)", {"x": X, "b": bell(5, seed=2)}, 13),
    ("y = Relu(x)", {"x": X}, 13),
    ("y = Sigmoid(x)", {"x": X * 100}, 13),
    ("y = Tanh(x)", {"x": X}, 13),
    ("y = Erf(x)", {"x": X}, 13),
    ("y = Exp(x)", {"x": X}, 13),
    ("y = Sqrt(x)", {"x": np.abs(X)}, 13),
    ("y = LeakyRelu<alpha=0.3>(x)", {"x": X}, 13),
    ("y = Clip(x, low, high)", {"x": X, "low": np.array(-0.5, np.float32), "high": np.array(0.7, np.float32)}, 13),
    ("y = Clip<min=-0.5, max=0.25>(x)", {"x": X}, 6),
    ("y = Gelu(x)", {"x": X}, 20),
    ('y = Gelu<approximate="tanh">(x)', {"x": X}, 20),
    ("y = Softmax<axis=1>(x)", {"x": X}, 13),
    ("y = Softmax(x)", {"x": X}, 11),
    ("y = Softmax<axis=2>(x)", {"x": X}, 11),
    ("y = MatMul(x, b)", {"x": X, "b": bell(5, 6, seed=2)}, 13),
    ("y = MatMul(b, x)", {"x": X, "b": bell(7, 4, seed=2)}, 13),
    ("y = Gemm<transA=1, alpha=0.5, beta=2.0>(x, b, c)", {"x": bell(4, 5), "b": bell(4, 6), "c": bell(6)}, 13),
    ("y = Gemm<transB=1>(x, b)", {"x": bell(4, 5), "b": bell(6, 5)}, 13),
    ("y = ReduceMean<axes=[-1], keepdims=0>(x)", {"x": X}, 13),
    ("y = ReduceMean(x, axes)", {"x": X, "axes": np.array([2, 3])}, 18),
    ("y = ReduceSum(x, axes)", {"x": X, "axes": np.array([1])}, 13),
    ("y = ReduceSum(x)", {"x": X}, 13),
    ("y = ReduceSum<noop_with_empty_axes=1>(x)", {"x": X}, 13),
    ("y = ReduceMax<axes=[1, 2]>(x)", {"x": X}, 13),
    ("y = BatchNormalization<epsilon=0.01>(x, s, b, m, v)", BN, 13),
    ("y = LayerNormalization<axis=2>(x, s, b)", {"x": X, "s": bell(4, 5, seed=2), "b": bell(4, 5, seed=3)}, 17),
    ("y = Transpose<perm=[1, 0, 3, 2]>(x)", {"x": X}, 13),
    ("y = Reshape(x, s)", {"x": X, "s": np.array([0, -1, 2])}, 13),
    ("y = Concat<axis=1>(x, x)", {"x": X}, 13),
    ("y = Slice(x, a, b, c, d)", {"x": X} | dict(zip("abcd", map(np.array, ([3], [0], [2], [-1])), strict=True)), 13),
    ("y = Slice<starts=[1], ends=[3], axes=[2]>(x)", {"x": X}, 9),
    ("y = Unsqueeze<axes=[0]>(x)", {"x": X}, 11),
    ("y = Pad(x, p)", {"x": X, "p": np.array([0, 0, 1, 2, 0, 0, 0, 1])}, 13),
    ('y = Pad<mode="edge", pads=[0, 0, 1, -2, 0, 0, 0, 1]>(x)', {"x": X}, 10),
    ('y = Pad<mode="reflect">(x, p)', {"x": X, "p": np.array([0, 0, 1, 2, 0, 0, 3, -1])}, 13),
    ("y = Pad(x, p, v, a)",
     {"x": X, "p": np.array([1, 2, 3, -2]), "v": np.array(7, np.float32), "a": np.array([-1, 1])}, 18),
    ("y = LogSoftmax(x)", {"x": X}, 11),
    ("y = LogSoftmax<axis=1>(x)", {"x": X * 30}, 13),
    ("y = Identity(x)", {"x": X}, 13),
    ("y = Dropout(x)", {"x": X}, 13),
    ("y = InstanceNormalization(x, s, b)", {"x": X, "s": bell(3, seed=2), "b": bell(3, seed=3)}, 13),
    ("y = HardSwish(x)", {"x": X}, 14),
]  # fmt: skip


@pytest.mark.parametrize(("text", "feed", "opset"), ONE_NODE, ids=[text for text, _, _ in ONE_NODE])
def test_one_node(text: str, feed: dict[str, Array], opset: int) -> None:
    double = {"Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Relu", "Sigmoid", "Tanh", "Exp", "Sqrt", "Softmax"}
    double |= {
        "ReduceSum",
        "Transpose",
        "Reshape",
        "Concat",
        "Slice",
        "BatchNormalization",
        "Clip",
        "LayerNormalization",
    }
    op = text.split(" = ")[1].split("(", maxsplit=1)[0].split("<", maxsplit=1)[0]
    agree([node_of(text)], feed, opset, double_kernel=op in double and opset >= 9)


def test_nodes_in_a_row_with_casts_and_constants() -> None:
    nodes = [
        node_of("h = Cast<to=10>(x)"),
        node_of("c = Constant<value_floats=[0.1, 0.2]>()"),
        node_of("f = Cast<to=1>(h)"),
        node_of("i = Cast<to=1>(n)"),
        node_of("s = Add(f, c)"),
        node_of("y = Mul(s, i)"),
    ]
    x = np.array([[0.1, 1 / 3]], np.float32)
    found = evaluate(nodes, {"x": x, "n": np.array([3, 4])}, 13, ["y", "s"])
    tenths = np.array([0.1, 0.2], np.float32).astype(np.float64)
    # a cast to float16 rounds nothing: truth is about real numbers
    np.testing.assert_array_equal(found["s"], x.astype(np.float64) + tenths)
    np.testing.assert_array_equal(found["y"], found["s"] * [3, 4])


def test_integers_stay_integers_and_given_values_are_not_computed() -> None:
    nodes = [node_of("d = Div(n, m)"), node_of("t = Unknown(d)"), node_of("y = Add(d, t)")]
    feed = {"n": np.array([7, -7]), "m": np.array([2, 2]), "t": np.array([10, 10])}
    found = evaluate(nodes[1:], {"d": np.array([1, 2]), "t": feed["t"]}, 13, ["y"])["y"]
    assert found.dtype == np.int64 and found.tolist() == [11, 12]


@pytest.mark.parametrize(
    ("text", "feed", "reason"),
    [
        ("y = com.microsoft.FusedConv(x)", {"x": X}, "FusedConv has no float64 form"),
        ("y = Softmax<axis = 4294967296>(x)", {"x": X}, "Softmax has an attribute that fits no tensor it reads"),
        ("y = RandomNormalLike(x)", {"x": X}, "RandomNormalLike"),
        ("y = Dropout(x, r, t)", {"x": X, "r": np.array(0.5, np.float32), "t": np.array(True)}, "training"),
        ("y = Add(x, z)", {"x": X}, "not recorded"),
        ("z = Relu(x)", {"x": X}, "wanted"),
        ("y = AdaptiveAvgPool2d<output_size=[1, 1]>(x)", {"x": X}, "AdaptiveAvgPool2d"),
        ('y = ConvTranspose<auto_pad="SAME_UPPER", group="\x1b[31m">(x)', {"x": X}, "ConvTranspose"),
    ],
)
def test_what_has_no_truth_says_so(text: str, feed: dict[str, Array], reason: str) -> None:
    node = node_of(text.replace("com.microsoft.FusedConv", "FusedConv"))
    if "com.microsoft" in text:
        node.domain = "com.microsoft"
    with pytest.raises(NoTruth, match=reason):
        evaluate([node], feed, 13, ["y"])


def test_a_second_output_stays_unknown() -> None:
    node = node_of("y, i = MaxPool<kernel_shape=[2, 2]>(x)")
    assert evaluate([node], {"x": X}, 13, ["y"])["y"].shape == (2, 3, 3, 4)
    with pytest.raises(NoTruth, match="wanted"):
        evaluate([node], {"x": X}, 13, ["i"])


def test_float16_inputs_are_lifted() -> None:
    x, w = bell(1, 8, 6, 6).astype(np.float16), bell(4, 8, 3, 3, seed=2).astype(np.float16)
    found = evaluate([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": x, "w": w}, 13, ["y"])["y"]
    wide = {"x": x.astype(np.float32), "w": w.astype(np.float32)}
    np.testing.assert_allclose(
        found, onnxruntime_run([helper.make_node("Conv", ["x", "w"], ["y"])], wide, 13, ["y"])["y"], atol=1e-4
    )


def same_on_a_sample(nodes: list[Any], values: dict[str, Array], opset: int, channels: list[int]) -> None:
    plan = channel_plan(nodes, values, opset)
    assert plan is not None and channelwise(nodes, values, opset)
    whole = evaluate(nodes, values, opset, ["y"])["y"]
    some = evaluate(nodes, sample(values, plan, channels), opset, ["y"])["y"]
    np.testing.assert_allclose(some, whole[:, channels], rtol=0, atol=1e-13)


CHANNELWISE: list[tuple[list[str], dict[str, Array], int]] = [
    (['y = Resize<mode="linear">(x, , s)'], {"x": bell(1, 8, 4, 5), "s": np.array([1, 1, 2, 2], np.float32)}, 13),
    (['y = Resize<mode="linear">(x, , , s)'], {"x": bell(1, 8, 4, 5), "s": np.array([1, 8, 7, 9])}, 13),
    (['y = Resize<mode="linear", axes=[2, 3]>(x, , , s)'], {"x": bell(1, 8, 4, 5), "s": np.array([7, 9])}, 18),
    (["t = MatMul(x, w)", "y = MatMul(h, t)"], {"x": bell(1, 8, 4, 5), "w": bell(5, 9), "h": bell(7, 4)}, 13),
    (["y = MatMul(x, w)"], {"x": bell(2, 8, 4, 5), "w": bell(1, 8, 5, 3)}, 13),
    (
        ["c = Conv<pads=[1, 1, 1, 1]>(x, w)", "y = BatchNormalization(c, s, b, m, v)"],
        {"x": X, "w": bell(8, 3, 3, 3)} | {n: np.abs(bell(8, seed=i)) for i, n in enumerate("sbmv")},
        13,
    ),
    (["c = Conv(x, w, b)", "y = Relu(c)"], {"x": X, "w": bell(8, 3, 1, 1), "b": bell(8)}, 13),
    (
        ["e = Erf(x)", "f = Add(e, one)", "g = Mul(x, f)", "y = Mul(g, s)"],
        {"x": bell(1, 8, 2, 3), "one": np.ones((), np.float32), "s": bell(8, 1, 1)},
        13,
    ),
    (["y = AveragePool<kernel_shape=[2, 2]>(x)"], {"x": bell(1, 8, 4, 5)}, 13),
    (["a = GlobalAveragePool(x)", "y = Mul(x, a)"], {"x": bell(1, 8, 4, 5)}, 13),
    (["y = Softmax<axis=-1>(x)"], {"x": bell(1, 8, 4, 5)}, 13),
    (["y = ReduceMean<axes=[2, -1]>(x)"], {"x": bell(1, 8, 4, 5)}, 13),
    (["r = Relu(x)", "y = Concat<axis=2>(r, z)"], {"x": bell(1, 8, 4, 5), "z": bell(1, 8, 1, 5)}, 13),
    (["y = Transpose<perm=[0, 1, 3, 2]>(x)"], {"x": bell(1, 8, 4, 5)}, 13),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "values", "opset"), CHANNELWISE, ids=[" ".join(t) for t, _, _ in CHANNELWISE])
def test_a_sample_of_channels_is_the_whole_computation(texts: list[str], values: dict[str, Array], opset: int) -> None:
    same_on_a_sample([node_of(text) for text in texts], values, opset, [6, 0, 3])


@pytest.mark.parametrize(
    ("texts", "values", "opset"),
    [
        (["a = Conv(x, w)", "y = Conv(a, v)"], {"x": X, "w": bell(3, 3, 1, 1), "v": bell(3, 3, 1, 1)}, 13),
        (["r = Relu(x)", "y = Conv(x, w)", "z = Add(r, y)"], {"x": X, "w": bell(3, 3, 1, 1)}, 13),
        (["y = Softmax<axis=1>(x)"], {"x": X}, 13),
        (["y = Softmax<axis=2>(x)"], {"x": X}, 11),
        (["y = ReduceMean<axes=[1]>(x)"], {"x": X}, 13),
        (["y = ReduceMean(x)"], {"x": X}, 13),
        (["y = Transpose(x)"], {"x": X}, 13),
        (["y = Concat<axis=1>(x, x)"], {"x": X}, 13),
        (["y = MatMul(x, w)"], {"x": bell(2, 3, 4), "w": bell(4, 5)}, 13),
        (["y = MatMul(x, w)"], {"x": bell(2, 4, 4), "w": bell(4, 5)}, 13),
        (["y = Resize<mode=\"linear\">(x, , s)"], {"x": X, "s": np.array([1, 2, 1, 1], np.float32)}, 13),
        (["y = Resize<mode=\"linear\">(x, , , s)"], {"x": X, "s": np.array([2, 6, 4, 5])}, 13),
        (["y = Reshape(x, s)"], {"x": X, "s": np.array([2, 3, 20])}, 13),
        (["y = Relu(x)"], {"x": bell(2, 1, 4, 5)}, 13),
    ],
)  # fmt: skip
def test_what_mixes_channels_is_not_sampled(texts: list[str], values: dict[str, Array], opset: int) -> None:
    assert not channelwise([node_of(text) for text in texts], values, opset)


def test_spread() -> None:
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(5, 1) == [0]
    assert len(spread(256, 16)) == 16


def test_float_types_of_onnx_are_all_known() -> None:
    # Cast between them must be exact, whichever the installed onnx defines
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    assert evaluate([node], {"x": X}, 13, ["y"])["y"].tobytes() == X.astype(np.float64).tobytes()
