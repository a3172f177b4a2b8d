from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from graphtool import seeded
from graphtool.errors import FeedError, UsageError
from graphtool.graph import Graph
from graphtool.parity.containers import boxed
from graphtool.parity.metrics import equal
from graphtool.parity.noise import nudge, nudged_feed, nudged_weights
from graphtool.parity.session import RunError, Session, weight_arrays

Array = np.ndarray


def model_of(body: str, opset: int = 13, ir: int = 8, **weights: Array) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}, "foo" : 1]> {body}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def graph_of(body: str, opset: int = 13, **weights: Array) -> Graph:
    return Graph.from_proto(model_of(body, opset, **weights))


def plain_run(model: onnx.ModelProto, feed: dict[str, Array], level: str) -> dict[str, Array]:
    """Run the whole model with its weights inline."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


X = seeded.bell(7, (1, 16, 20, 20))
W = seeded.bell(8, (16, 16, 3, 3))
VECTOR = {name: np.abs(seeded.bell(i, (16,))) + np.float32(0.1) for i, name in enumerate("sbmv")}
IF = """g (float[1,16,20,20] x, bool p) => (float y) {
  y = If (p) <
    then_branch = t () => (float o) { o = Conv(x, w) },
    else_branch = e () => (float q) { q = Identity(x) }
  > }"""
LOOP = """g (float[1,16,20,20] x, int64 n) => (float y) {
  y = Loop (n, , x) <
    body = b (int64 i, bool c, float[N,C,H,K] v) => (bool d, float o) {
      d = Identity(c)
      o = Conv<pads=[1,1,1,1]>(v, w)
    }
  > }"""
RUNS: dict[str, tuple[str, dict[str, Array], dict[str, Array]]] = {
    "conv and batch normalization": (
        "g (float[1,16,20,20] x) => (float y) { c = Conv(x, w) y = BatchNormalization(c, s, b, m, v) }",
        {"w": W, **VECTOR},
        {"x": X},
    ),
    "constant folding": ("g (float[1,16,20,20] x) => (float y) { c = Add(w, w) y = Conv(x, c) }", {"w": W}, {"x": X}),
    "matmul": ("g (float[N,400] x) => (float y) { y = MatMul(x, w) }", {"w": X[0].reshape(16, 400).T.copy()},
               {"x": X[0].reshape(16, 400)}),
    "double": ("g (double[N,64] x) => (double y) { y = MatMul(x, w) }", {"w": W.reshape(64, 36).astype(np.float64)},
               {"x": X.reshape(100, 64).astype(np.float64)}),
    "float16": ("g (float16[N,64] x) => (float16 y) { y = MatMul(x, w) }", {"w": W.reshape(64, 36).astype(np.float16)},
                {"x": X.reshape(100, 64).astype(np.float16)}),
    "captured in If": (IF, {"w": W}, {"x": X, "p": np.array(True)}),
    "captured in Loop": (LOOP, {"w": W}, {"x": X, "n": np.array(2)}),
    "large integer table": ("g (float[16,20] x) => (float y) { y = Gather(x, w) }", {"w": np.arange(500) % 16},
                            {"x": X[0, :, 0]}),
    "bool": ("g (float[20,20] x) => (float y) { y = Where(w, x, x) }", {"w": X[0, 0, :, :].repeat(4, 0) > 0},
             {"x": X[0, 0, :1]}),
    "int8": ("g (int8[N] x) => (int8 y) { y = Concat<axis=0>(x, w) }", {"w": np.arange(2000).astype(np.int8)},
             {"x": np.ones(3, np.int8)}),
    "weight as output": ("g (float[20] x) => (float w, float y) { y = Relu(x) }", {"w": W}, {"x": X[0, 0, 0]}),
}  # fmt: skip


@pytest.mark.parametrize("level", ["off", "all"])
@pytest.mark.parametrize("case", RUNS)
def test_weights_by_reference_give_the_same_bits(case: str, level: Any) -> None:
    body, weights, feed = RUNS[case]
    model = model_of(body.replace("[20,20]", "[N,M]"), **weights)
    graph = Graph.from_proto(model)
    assert weight_arrays(graph) or case == "large integer table"
    found = Session(graph, level=level).run(feed)
    expected = plain_run(model, feed, "DISABLE_ALL" if level == "off" else "ENABLE_ALL")
    assert found.keys() == expected.keys()
    assert all(equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("external", [False, True])
def test_weights_in_files(tmp_path: Path, external: bool) -> None:
    body, weights, feed = RUNS["conv and batch normalization"]
    model = model_of(body, **weights)
    expected = plain_run(model, feed, "DISABLE_ALL")
    # a weight in the body of a Constant node and one of a type numpy lacks stay in the model
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=external, location="w.bin", size_threshold=0)
    graph = Graph.load(tmp_path / "m.onnx")
    assert list(weight_arrays(graph)) == ["w"]
    assert equal(Session(graph).run(feed)["y"], expected["y"])


def test_large_constants_inside_nodes_are_filled_in(tmp_path: Path) -> None:
    model = model_of("g (float[16,20] x) => (float y, float z) { z = Relu(x) }")
    table = np.arange(500) % 16
    model.graph.node.insert(0, helper.make_node("Constant", [], ["i"], value=numpy_helper.from_array(table)))
    model.graph.node.append(helper.make_node("Gather", ["x", "i"], ["y"]))
    onnx.save(model, tmp_path / "m.onnx")
    graph = Graph.load(tmp_path / "m.onnx")
    assert len(graph.proto.SerializeToString()) < 1000, "the constant is not lazy: the test shows nothing"
    assert equal(Session(graph).run({"x": X[0, :, 0]})["y"], X[0, :, 0][table])


def test_replaced_and_shared_weights() -> None:
    graph = graph_of("g (float[1,16,20,20] x) => (float y) { y = Conv(x, w, b) }", w=W, b=VECTOR["b"])
    shared = weight_arrays(graph)
    one, two = (Session(graph, weights=shared).run({"x": X})["y"] for _ in range(2))
    assert equal(one, two)
    # a small weight, too, can be replaced; the others come from the graph
    moved = Session(graph, weights={"b": VECTOR["b"] + 1, "unknown": W}).run({"x": X})["y"]
    np.testing.assert_allclose(moved, one + 1, rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match=r"weight 'w' is float32\[16, 16, 3, 3\], not float16\[16, 16, 3, 3\]"):
        Session(graph, weights={"w": W.astype(np.float16)})
    with pytest.raises(UsageError, match=r"not float32\[16, 16, 9\]"):
        Session(graph, weights={"w": W.reshape(16, 16, 9)})


def test_weights_at_odd_places_are_copied_once() -> None:
    buffer = np.empty(W.nbytes + 1, np.uint8)[1:]
    buffer[:] = np.frombuffer(W.tobytes(), np.uint8)
    odd = buffer.view(np.float32).reshape(W.shape)
    graph = graph_of("g (float[1,16,20,20] x) => (float y) { y = Conv(x, w) }", w=W)
    arrays = weight_arrays(graph, {"w": odd})
    assert odd.ctypes.data % 4 and arrays["w"].ctypes.data % 4 == 0
    assert weight_arrays(graph, arrays)["w"] is arrays["w"]
    assert equal(Session(graph, weights={"w": odd}).run({"x": X})["y"], Session(graph).run({"x": X})["y"])


MEMORY = """
import numpy as np, onnx, resource, sys
from onnx import helper, TensorProto
from graphtool.graph import Graph
from graphtool.parity.session import Session, weight_arrays

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024

n = 4096
graph = Graph.from_proto(helper.make_model(helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
    [helper.make_tensor_value_info("x", 1, [1, n])], [helper.make_tensor_value_info("y", 1, [1, n])],
    [helper.make_tensor("w", TensorProto.FLOAT, [n, n], np.ones((n, n), np.float32).tobytes(), raw=True)],
), opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
weights = weight_arrays(graph)
x = {"x": np.ones((1, n), np.float32)}
before = resident()
sessions = [Session(graph, weights=weights, threads=1) for _ in range(4)]
for session in sessions:
    assert session.run(x)["y"][0, 0] == n
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_weight_is_not_copied_into_sessions() -> None:
    root = str(Path(__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", MEMORY], env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40, "four sessions over one 64 MB weight"


def test_inner_tensors_inputs_and_weights_as_outputs() -> None:
    graph = graph_of("g (float[1,16,20,20] x) => (float y) { a = Conv(x, w) b = Relu(a) y = Neg(b) }", w=W)
    found = Session(graph, outputs=["b", "a", "x", "w", "y", "a"]).run({"x": X})
    assert list(found) == ["b", "a", "x", "w", "y"]
    assert equal(found["b"], np.maximum(found["a"], 0)) and equal(found["y"], -found["b"])
    assert equal(found["x"], X) and equal(found["w"], W)
    assert [value.name for value in graph.outputs] == ["y"], "the graph itself is not touched"
    assert equal(Session(graph, outputs=["a"]).run({"x": X})["a"], found["a"])
    with pytest.raises(UsageError, match="no tensor named 'Relu_317'"):
        Session(graph, outputs=["Relu_317"])


def test_inner_tensor_of_unknown_type() -> None:
    graph = graph_of(
        "g (float[N,4] x, int64[K] s) => (float y) { h = Cast<to=10>(x) r = Reshape(h, s) y = Cast<to=1>(r) }"
    )
    found = Session(graph, outputs=["r"]).run({"x": np.ones((2, 4), np.float32), "s": np.array([8])})
    assert found["r"].dtype == np.float16 and found["r"].shape == (8,)


def test_stale_types_of_inner_tensors_are_not_believed() -> None:
    model = model_of("g (float[2,3] x) => (float y) { t = Relu(x) y = Neg(t) }")
    model.graph.value_info.append(helper.make_tensor_value_info("t", TensorProto.INT64, [9]))
    assert Session(Graph.from_proto(model)).run({"x": -np.ones((2, 3), np.float32)})["y"].tolist() == [[0] * 3] * 2


def test_the_same_output_twice_is_returned_once() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y, float[2] y) { y = Relu(x) }")
    assert list(Session(graph).run({"x": np.ones(2, np.float32)})) == ["y"]


def test_overridable_initializer() -> None:
    model = model_of("g (float[1,16,20,20] x, float[16,16,3,3] w) => (float y) { y = Conv(x, w) }", w=W)
    session = Session(Graph.from_proto(model))
    assert equal(session.run({"x": X})["y"], session.run({"x": X, "w": W})["y"])
    assert not session.run({"x": X, "w": np.zeros_like(W)})["y"].any()


def test_sequences_strings_and_types_without_numpy_form() -> None:
    graph = graph_of("g (float[2] x) => (seq(float[N]) y) { z = Neg(x) y = SequenceConstruct(x, z) }")
    found = Session(graph).run({"x": np.array([1, 2], np.float32)})["y"]
    assert found.dtype == object and [item.tolist() for item in found] == [[1, 2], [-1, -2]]
    graph = graph_of("g (string[2] x) => (string[2] y) { y = Identity(x) }")
    assert Session(graph).run({"x": np.array(["a", "bé"], object)})["y"].tolist() == ["a", "bé"]
    # Cast is one of the few kernels for these types
    for code, dtype in ((16, ml_dtypes.bfloat16), (17, ml_dtypes.float8_e4m3fn), (22, ml_dtypes.int4)):
        model = model_of(f"g (float[3] x) => (float[3] y) {{ y = Cast<to={code}>(x) }}", 21, 10)
        model.graph.output[0].type.tensor_type.elem_type = code
        found = Session(Graph.from_proto(model)).run({"x": np.array([1, -2, 3], np.float32)})["y"]
        assert found.dtype == dtype and found.tolist() == [1, -2, 3]
    model = model_of("g (bfloat16[3] x) => (float[3] y) { y = Cast<to=1>(x) }")
    given = np.array([1.5, -2, 3], ml_dtypes.bfloat16)
    assert Session(Graph.from_proto(model)).run({"x": given})["y"].tolist() == [1.5, -2, 3]
    model = model_of("g (int4[2] x) => (float[2] y) { y = Cast<to=1>(x) }", 21, 10)
    assert Session(Graph.from_proto(model)).run({"x": np.ones(2, ml_dtypes.int4)})["y"].tolist() == [1, 1]
    assert "onnxruntime's Python takes no input of type int4" in Session.work.lacking


def test_what_onnxruntime_lacks_the_reference_evaluator_runs_and_it_is_noted() -> None:
    Session.work.lacking.clear()
    graph = graph_of("g (bfloat16[2,3] x) => (bfloat16[N,M] y) { [sum] y = Add(x, x) }")
    x = np.ones((2, 3), ml_dtypes.bfloat16)
    assert Session(graph).run({"x": x})["y"].tolist() == [[2] * 3] * 2
    assert list(Session.work.lacking) == ["onnxruntime has no operator 'Add' for these element types (node 'sum')"]
    graph = graph_of("g (bfloat16[N] x, bfloat16[M] z) => (bfloat16[K] y) { y = Add(x, z) }")
    with pytest.raises(RunError, match="reference evaluator cannot run the graph: Issues with types"):
        Session(graph).run({"x": x[0], "z": x[0, :2]})


@pytest.mark.parametrize("opset", [9, 13, 15])
def test_the_reference_evaluator_takes_a_batch_normalization_for_inference(opset: int) -> None:
    text = "g (%s[1,2,3,3] x) => (%s y) { c = Conv(x, w) y = BatchNormalization<epsilon = 0.01>(c, s, b, m, v) }"
    weights = {name: np.array([0.5, 2.0]) * place for place, name in enumerate("sbmv", 1)}
    weights["w"] = np.ones((2, 2, 1, 1))
    x = np.arange(18, dtype=np.float64).reshape(1, 2, 3, 3)
    double = graph_of(text % ("double", "double"), opset, **weights)
    single = {name: array.astype(np.float32) for name, array in weights.items()}
    wanted = Session(graph_of(text % ("float", "float"), opset, **single)).run({"x": x.astype(np.float32)})["y"]
    Session.work.lacking.clear()
    found = Session(double).run({"x": x})["y"]
    assert "Conv" in str(Session.work.lacking) and found.dtype == np.float64
    assert np.allclose(found, wanted, rtol=1e-5)


ERRORS: list[tuple[str, dict[str, Array], str, str, str | None, str | None]] = [
    (
        "g (float[2,3] x) => (float y) { [pool] y = AdaptiveAvgPool2d<output_size=[1, 2]>(x) }", {},
        "onnxruntime has no operator 'AdaptiveAvgPool2d' in this opset (node 'pool')",
        "op", "AdaptiveAvgPool2d", "pool",
    ),
    (
        "g (float[2,3] x) => (float y) { [bar] y = foo.Bar(x) }", {},
        "onnxruntime has no operator 'foo.Bar' in this opset", "op", "Bar", None,
    ),
    (
        "g (float[2,3] x, float[4] z) => (float[N,M] y) { [sum] y = Add(x, z) }", {},
        "onnxruntime cannot run node 'sum' (Add): Incompatible dimensions", "load", "Add", "sum",
    ),
    (
        "g (float[2,3] x) => (float[N,M] y) { [relu] y = Relu<foo=1>(x) }", {},
        "onnxruntime cannot run node 'relu' (Relu): Unrecognized attribute: foo for operator Relu",
        "load", "Relu", "relu",
    ),
    (
        "g (float[2,3] x) => (float[N,M] y) { y = Relu(q) }", {},
        "onnxruntime cannot run the graph: Invalid model. Node input 'q' is not a graph input, initializer, or "
        "output of a previous node.", "load", None, None,
    ),
    (
        "g (float[2,3] x, int64[1] s) => (float[N] y) { [flat] y = Reshape(x, s) }",
        {"x": np.ones((2, 3), np.float32), "s": np.array([5])},
        "onnxruntime cannot run node 'flat' (Reshape): The input tensor cannot be reshaped to the requested shape. "
        "Input shape:{2,3}, requested shape:{5}", "run", "Reshape", "flat",
    ),
    (
        "g (float[A,B] x, int64[C] i) => (float[N,M] y) { y = Gather(x, i) }",
        {"x": np.ones((2, 3), np.float32), "i": np.array([7])},
        "onnxruntime cannot run a Gather: indices element out of data bounds, idx=7 must be within the inclusive range "
        "[-2,1]", "run", "Gather", None,
    ),
    (
        "g (float[A,B] x, float[C] z) => (float[N,M] y) { [sum] y = Add(x, z) }",
        {"x": np.ones((2, 3), np.float32), "z": np.ones(4, np.float32)},
        "onnxruntime cannot run node 'sum' (Add): Attempting to broadcast an axis by a dimension other than 1. 3 by 4",
        "run", "Add", "sum",
    ),
    (
        "g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }", {"x": np.ones((4, 3), np.float32)},
        "onnxruntime cannot run the graph: Got invalid dimensions for input: x for the following indices index: 0 "
        "Got: 4 Expected: 2", "run", None, None,
    ),
    (
        "g (float[2,3,4] x) => (float y) { [p] y = GlobalMaxPool(x) }", {"x": np.ones((2, 3), np.float32)},
        "onnxruntime cannot run the graph: Invalid rank for input: x Got: 2 Expected: 3", "run", None, None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "feed", "message", "reason", "op", "node"), ERRORS, ids=[e[2][20:60] for e in ERRORS])
def test_errors_are_one_line(
    body: str, feed: dict[str, Array], message: str, reason: str, op: str | None, node: str | None, capfd: Any
) -> None:
    with pytest.raises(RunError) as caught:
        Session(graph_of(body)).run(feed)
    assert str(caught.value) == message
    assert (caught.value.reason, caught.value.op, caught.value.node) == (reason, op, node)
    assert capfd.readouterr() == ("", ""), "onnxruntime's log must not reach the terminal"


def test_no_kernel_logs_to_the_terminal(capfd: Any) -> None:
    # this one warns through onnxruntime's default logger, past the session's own level
    body = """g (float[1,1,4,4] x) => (float y) {
        y = Resize<mode="nearest", coordinate_transformation_mode="tf_half_pixel_for_nn">(x, , s)
    }"""
    graph = graph_of(body, s=np.array([1, 1, 2, 2], np.float32))
    assert Session(graph).run({"x": X[:, :1, :4, :4]})["y"].shape == (1, 1, 8, 8)
    assert capfd.readouterr() == ("", "")


def test_names_from_the_model_never_reach_the_terminal_raw() -> None:
    model = model_of("g (float[2,3] x) => (float y) { [node] y = Nope(x) }")
    model.graph.node[0].name = "a\x1b[31mb"
    with pytest.raises(RunError) as caught:
        Session(Graph.from_proto(model))
    assert "\x1b" not in str(caught.value) and "\\x1b" in str(caught.value)
    assert caught.value.node == "a\x1b[31mb"


def test_feed_is_held_to_the_inputs() -> None:
    session = Session(graph_of("g (float[2] data) => (float[2] y) { y = Relu(data) }"))
    with pytest.raises(FeedError, match=r"the model has no input 'dats'; did you mean 'data'\?"):
        session.run({"dats": np.ones(2, np.float32)})
    with pytest.raises(FeedError, match="the feed has nothing for input 'data'"):
        session.run({})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nudge_moves_one_ulp_either_way(dtype: Any) -> None:
    values = seeded.bell(3, (3, 1000)).astype(dtype)
    up, down = nudge(values, 5, 1), nudge(values, 5, -1)
    assert up.dtype == values.dtype and up.shape == values.shape
    moved = np.where(up > values, np.nextafter(values, dtype(np.inf)), np.nextafter(values, dtype(-np.inf)))
    assert equal(up, moved), "exactly one ulp"
    assert ((up > values) == (down < values)).all(), "the second run lies on the other side"
    assert 0.45 < (up > values).mean() < 0.55
    assert equal(up, nudge(values, 5, 1)) and not equal(up, nudge(values, 6, 1))


def test_nudge_keeps_what_has_no_small_step() -> None:
    top = np.finfo(np.float32).max
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, top, -top] * 40, np.float32)
    for direction in (1, -1):
        moved = nudge(special, 1, direction)
        assert np.isfinite(moved[5::7]).all() and np.isfinite(moved[6::7]).all()
        at_top = np.isin(special, [top, -top])
        assert equal(moved[~at_top], special[~at_top])
    integers = np.arange(5)
    assert nudge(integers, 1, 1) is integers


def test_nudge_does_not_depend_on_the_chunk() -> None:
    long = seeded.bell(3, ((1 << 18) + 70,))
    assert equal(nudge(long, 5, 1)[: 1 << 18], nudge(long[: 1 << 18], 5, 1))
    same = nudge(np.ones(2 << 18, np.float32), 5, 1)
    assert not equal(same[: 1 << 18], same[1 << 18 :]), "each chunk has its own signs"


def test_noise_of_a_graph_leaves_sizes_and_exponents_alone() -> None:
    graph = graph_of(
        """g (float[1,2,4,4] x) => (float y, int64 i) {
            r = Resize<mode="linear">(x, , scales)
            p = Pow(r, two)
            q = Mul(p, factor)
            y = Add(q, two)
            i = Identity(count)
        }""",
        scales=np.array([1, 1, 2, 2], np.float32),
        two=np.array(2, np.float32),
        factor=np.array([3], np.float32),
        count=np.array([4]),
    )
    noisy = nudged_weights(graph, 1, 1)
    assert list(noisy) == ["factor"] and noisy["factor"] != 3
    feed = {"x": seeded.bell(1, (1, 2, 4, 4))}
    before = Session(graph).run(feed)["y"]
    after = Session(graph, weights=noisy).run(nudged_feed(feed, 1, 1))["y"]
    assert 0 < np.abs(after - before).max() < 1e-4


def test_noise_of_a_feed_leaves_sizes_alone() -> None:
    body = """g (float[1,2,4,4] x, float[2] s) => (float y) {
        ones = Constant<value_floats=[1.0, 1.0]>()
        scales = Concat<axis=0>(ones, s)
        y = Resize<mode="linear">(x, , scales)
    }"""
    graph = graph_of(body)
    feed = {"x": seeded.bell(1, (1, 2, 4, 4)), "s": np.array([2, 2], np.float32)}
    moved = nudged_feed(feed, 1, -1, graph)
    assert not equal(moved["x"], feed["x"]) and moved["s"] is feed["s"]
    assert Session(graph).run(moved)["y"].shape == (1, 2, 8, 8)


def test_no_outputs() -> None:
    assert Session(graph_of("g (float[2] x) => (float[2] y) { y = Relu(x) }"), []).run({"x": X[0, 0, 0, :2]}) == {}


def test_a_constant_matrix_and_the_same_matrix_computed_give_the_same_bits() -> None:
    left = X[0].reshape(16, 400)
    weight = left.T.copy()
    constant = graph_of("g (float[16,400] x) => (float y) { y = MatMul(x, w) }", w=weight)
    body = "g (float[16,400] x) => (float y) { t = Transpose<perm=[1,0]>(w) y = MatMul(x, t) }"
    computed = graph_of(body, w=left)
    assert equal(Session(constant).run({"x": left})["y"], Session(computed).run({"x": left})["y"])


def test_an_output_that_is_an_input_does_not_lie_in_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime 1.20 returns the caller's memory there, 1.32 a copy."""
    session = Session(graph_of("g (float[2] x, seq(float[2]) s) => (float[2] x, seq(float[2]) s) { }"))

    class Older:
        def run(self, outputs: list[str], feed: dict[str, Any]) -> list[Any]:
            return [feed[name] for name in outputs]

    monkeypatch.setattr(session, "_session", Older())
    x, item = np.ones(2, np.float32), np.ones(2, np.float32)
    ran = session.run({"x": x, "s": boxed([item])})
    x[:] = item[:] = 7
    assert ran["x"].tolist() == [1, 1] and ran["s"][0].tolist() == [1, 1]
