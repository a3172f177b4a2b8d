"""Passes that change inputs and outputs: shapes, order, parts of a graph, what is appended or cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import helper
from rewriting import lines

from graphtool.api import run
from graphtool.cases import model_of
from graphtool.errors import GraphtoolError, PassError, PromiseError
from graphtool.graph import Graph
from graphtool.graph.declared import inference_fault, redeclare_outputs
from graphtool.parity.session import Session
from graphtool.step import Run

TWO = "g (float[2] x, float[2] u) => (float[2] y, float[2] z) { a = Neg(x) y = Add(a, u) z = Exp(a) }"


def changed(text: str | Graph, passes: str, opset: int = 17, **options: object) -> Run:
    """Apply passes, judged, and check that each applied."""
    graph = model_of(text, opset) if isinstance(text, str) else text
    state = run(graph, passes, **options)  # type: ignore[arg-type]
    assert [step.status for step in state.steps] == ["applied"] * len(state.steps), state.steps[-1].reason
    return state


def interface(graph: Graph) -> str:
    """Return inputs and outputs in one line."""
    sides = (graph.inputs, graph.outputs)
    return " -> ".join(", ".join(f"{value.name} {value.type_text()}" for value in side) for side in sides)


def refusal(text: str | Graph, passes: str, opset: int = 17) -> str:
    """Return why a pass cannot do what it is asked for."""
    with pytest.raises(PassError) as error:
        run(model_of(text, opset) if isinstance(text, str) else text, passes)
    return str(error.value)


# -- set_input_shapes

IMAGE = """g (float[N,3,H,W] x, float[N,4] v) => (float[N,4,H,W] y, float[N,4] z) <float[4,3,1,1] w> {
  y = Conv(x, w)  z = Neg(v) }"""


@pytest.mark.parametrize(
    "passes,expected",
    [
        (
            "set_input_shapes:inputs=x:shapes=1x3x32x64",
            "x float32[1,3,32,64], v float32[N,4] -> y float32[1,4,32,64], z float32[N,4]",
        ),
        (
            "set_input_shapes:symbols=N+H:sizes=2+8",
            "x float32[2,3,8,W], v float32[2,4] -> y float32[2,4,8,W], z float32[2,4]",
        ),
        (
            "set_input_shapes:inputs=x+v:shapes=Bx3x-1x-1+Bx4",
            "x float32[B,3,?,?], v float32[B,4] -> y float32[B,4,?,?], z float32[B,4]",
        ),
        (
            r"set_input_shapes:inputs=x:shapes=batch\,3\,max_h\,?:symbols=max_h:sizes=16",
            "x float32[batch,3,16,?], v float32[N,4] -> y float32[batch,4,16,?], z float32[N,4]",
        ),
    ],
)
def test_shapes_of_inputs(passes: str, expected: str) -> None:
    assert interface(changed(IMAGE, passes).graph) == expected


@pytest.mark.parametrize(
    ("passes", "size"),
    [
        ("set_input_shapes:symbols=N:sizes=4", "4"),
        ("set_input_shapes:inputs=x:shapes=4x3", "4"),
        ("set_batch:batch=4", "4"),
        ("set_batch:batch=M", "M"),
    ],
)
def test_declared_sizes_stay_where_inference_finds_none(passes: str, size: str) -> None:
    """onnx infers nothing of the regressors of ai.onnx.ml: what is declared for any N is so for this one."""
    text = """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]> g
      (float[N,3] x) => (float[N,1] y, int64[N] l) {
      y = ai.onnx.ml.LinearRegressor<coefficients=[1.0, 2.0, 3.0], intercepts=[0.5]>(x)
      c = Cast<to=7>(y) o = Constant<value=int64[1]{1}>() l = Squeeze(c, o) }"""
    graph = graph_of(text)
    assert interface(changed(graph, passes).graph).endswith(f"-> y float32[{size},1], l int64[{size}]")


def test_declared_sizes_go_where_an_input_takes_others() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]> g (float[1,3] x) => (float[1,1] y) {
      y = ai.onnx.ml.LinearRegressor<coefficients=[1.0, 2.0, 3.0], intercepts=[0.5]>(x) }"""
    graph = graph_of(text)
    for passes in ("set_input_shapes:inputs=x:shapes=4x3", "set_batch:batch=4"):
        assert interface(changed(graph, passes).graph) == "x float32[4,3] -> y float32[?,?]"


@pytest.mark.parametrize(
    "passes,reason",
    [
        ("set_input_shapes:inputs=x:shapes=9223372036854775808x3x8x8", f"the size {2**63} is more than ONNX can write"),
        ("set_input_shapes:inputs=q:shapes=1x3", "no input named 'q'; the inputs are v, x"),
        ("set_input_shapes:inputs=xx:shapes=1x3", "no input named 'xx'; did you mean 'x'?"),
        ("set_input_shapes:inputs=x:shapes=1x3", "input 'x' has 4 dimensions, float32[N,3,H,W]"),
        ("set_input_shapes:inputs=x+v:shapes=1x3", "'inputs' has 2 names and 'shapes' has 1; give one shape for each"),
        ("set_input_shapes:symbols=N:sizes=1+2", "'symbols' has 1 names and 'sizes' has 2; give one size for each"),
        ("set_input_shapes:symbols=N:sizes=0", "the size 0 of 'N' is not positive"),
        (
            "set_input_shapes:inputs=v:shapes=1x0",
            "'1x0' is no shape: '0' is neither a positive size nor a name",
        ),
    ],
)  # fmt: skip
def test_shapes_that_cannot_be(passes: str, reason: str) -> None:
    assert refusal(IMAGE, passes) == f"set_input_shapes: {reason}"


def test_sizes_that_no_kernel_takes_are_a_broken_promise() -> None:
    with pytest.raises(PromiseError, match="set_input_shapes broke its promise 'close': onnxruntime cannot run"):
        run(model_of(IMAGE, 17), "set_input_shapes:inputs=x:shapes=1x4x8x8")


def test_stored_types_and_bodies_do_not_hold_the_old_shape() -> None:
    graph = graph_of(
        """g (float[1,4] x, bool c) => (float[1,4] y) { a = Neg(x)  y = If(c) <
           then_branch = f () => (float[1,4] t) { t = Neg(a) },
           else_branch = h () => (float[1,4] e) { e = Exp(a) }> }"""
    )
    graph.header.value_info.append(helper.make_tensor_value_info("a", 1, [1, 4]))
    state = changed(graph, "set_input_shapes:inputs=x:shapes=3x4")
    assert interface(state.graph) == "x float32[3,4], c bool[] -> y float32[3,4]"
    assert not state.graph.header.value_info
    onnx.checker.check_model(state.graph.full_proto(), full_check=True)


def test_a_graph_that_holds_the_old_size_is_a_broken_promise() -> None:
    """The sizes fit together, so only the numbers tell: the mean is of the size that a constant holds."""
    text = "g (float[1,4] x) => (float[1,1] y) <float d = {4}> { s = ReduceSum(x) y = Div(s, d) }"
    assert changed(text, "set_input_shapes:inputs=x:shapes=1x6").graph.inputs[0].dims == (1, 6)
    text = "g (float[1,4] x) => (float[1,4] y) <float[1,4] w> { y = Mul(x, w) }"
    assert "does not take these shapes" in refusal(text, "set_input_shapes:inputs=x:shapes=1x6")


def test_a_denotation_stays() -> None:
    graph = model_of("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }", 17)
    graph.header.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    state = changed(graph, "set_input_shapes:inputs=x:shapes=Nx3")
    assert state.graph.header.input[0].type.tensor_type.shape.dim[0].denotation == "DATA_BATCH"


# -- declarations


def test_outputs_are_declared_as_inference_finds_them() -> None:
    graph = model_of("g (float[2,3] x) => (float[9,9] y, float[K,3] z) { y = Relu(x) z = Neg(x) }", 17)
    assert redeclare_outputs(graph, only_wrong=True) == ["y"]
    assert interface(graph) == "x float32[2,3] -> y float32[2,3], z float32[K,3]"
    assert redeclare_outputs(graph) == ["z"]
    assert inference_fault(graph) is None


# -- reorder_interface


def test_order_of_inputs_and_outputs() -> None:
    state = changed(TWO, "reorder_interface:inputs=u:outputs=z")
    assert interface(state.graph) == "u float32[2], x float32[2] -> z float32[2], y float32[2]"


def test_weights_that_are_inputs_stay_behind() -> None:
    graph = graph_of(
        """<ir_version: 3, opset_import: ["": 7]>
        g (float[2] x, float[2] w = {1, 2}, float[2] u) => (float[2] y) { a = Add(x, w) y = Add(a, u) }"""
    )
    state = changed(graph, "reorder_interface:inputs=u")
    assert [info.name for info in state.graph.header.input] == ["u", "x", "w"]


def test_names_to_order_by() -> None:
    assert refusal(TWO, "reorder_interface:inputs=y") == "reorder_interface: no input named 'y'"
    assert refusal(TWO, "reorder_interface:outputs=y+y") == "reorder_interface: an output is named twice"


# -- extract


def test_a_part_in_the_middle_is_judged_on_what_goes_in_there() -> None:
    state = changed(TWO, "extract:from=a+u:to=y")
    assert interface(state.graph) == "a float32[2], u float32[2] -> y float32[2]"
    assert state.judge is not None and sorted(state.judge.feed) == ["a", "u"]
    later = run(state.graph, "remove_unused").steps[0]
    assert later.status == "unmatched"


def test_later_passes_are_judged_on_the_part() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Neg(x) i = Identity(a) b = Exp(i) y = Neg(b) }"
    state = changed(text, "extract:from=a:to=b,remove_identity,output_fp16,input_cast")
    assert lines(state.graph) == [
        "a/float32 = Cast<to=1>(a)", "b/float32 = Exp(a/float32)", "b = Cast<to=10>(b/float32)"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "passes,reason",
    [
        ("extract:to=bb", "no tensor named 'bb'; did you mean 'b'?"),
        (
            "extract:from=a:to=y",
            "what is asked for also needs the inputs u; name them in 'from', or tensors behind them",
        ),
        ("extract:from=a+u:to=z", "'u' is not needed for 'z'; leave it out of 'from'"),
        ("extract:from=a:to=a", "'a' is where the part begins: it cannot be one of its outputs too"),
        ("extract:to=x", "'x' is where the part begins: it cannot be one of its outputs too"),
        ("extract:from=w:to=v", "'w' is a weight; 'from' and 'to' name tensors that are computed, or inputs"),
        ("extract:to=two", "node 'two' makes 'p', 'q'; name one of them in 'to'"),
    ],
)
def test_a_part_that_cannot_be(passes: str, reason: str) -> None:
    text = """g (float[2] x, float[2] u) => (float[2] y, float[2] z, float[2] v, float[1] q) <float[2] w> {
      a = Neg(x) b = Relu(a) y = Add(b, u) z = Exp(a) v = Mul(x, w) [two] p, q = Split<axis=0>(u) }"""
    assert refusal(text, passes, 11) == f"extract: {reason}"


def test_captures_are_needed_too() -> None:
    graph = graph_of(
        """g (float[2] x, bool c) => (float[2] y) { k = Exp(x)  y = If(c) <
           then_branch = a () => (float[2] t) { t = Neg(k) },
           else_branch = b () => (float[2] e) { e = Relu(k) }> }"""
    )
    assert "also needs the inputs k" not in interface(changed(graph, "extract:from=k+c:to=y").graph)
    assert refusal(graph, "extract:from=c:to=y").startswith("extract: what is asked for also needs the inputs x")


# -- append_argmax, argmax_below_upsampling, cut_nms


def test_labels_take_the_place_of_scores_and_later_passes_see_them() -> None:
    text = """g (float[1,4,4,4] x) => (float[1,5,8,8] y, float[1,4,4,4] z) <float[5,4,1,1] w, float[4] s = {1,1,2,2}> {
      c = Conv(x, w)  y = Resize<mode="nearest">(c, , s)  z = Relu(x) }"""
    passes = "append_argmax:to=uint8:labels=map,argmax_below_upsampling,output_fp16"
    state = changed(text, passes)
    assert interface(state.graph) == "x float32[1,4,4,4] -> map uint8[1,8,8], z float16[1,4,4,4]"
    ops = [node.op_type for node in state.graph.nodes]
    assert ops == ["Conv", "ArgMax", "Cast", "Resize", "Squeeze", "Relu", "Cast", "Cast"] or ops.index(
        "ArgMax"
    ) < ops.index("Resize")


def test_labels_of_a_graph_that_was_rewritten_before() -> None:
    """The original, the start of the segment and the step before have other nodes; all get the ArgMax."""
    text = "g (float[2,5] x) => (float[2,5] y) { i = Identity(x) t = Transpose<perm=[0,1]>(i) y = Softmax(t) }"
    state = changed(text, "rename:from=x:to=image,remove_identity,append_argmax")
    assert interface(state.graph) == "image float32[2,5] -> y/argmax int64[2]"


def test_wrong_labels_are_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphtool.natives import append_argmax

    original = append_argmax._append

    def along_another_axis(graph: Graph, scores: str, labels: str, axis: int, to: int, kept: bool) -> None:
        original(graph, scores, labels, axis, to, kept)
        graph.set_input(graph.index.slots_of_type("Neg")[0], 0, "u")

    monkeypatch.setattr(append_argmax, "_append", along_another_axis)
    text = "g (float[2,5] x, float[2,5] u) => (float[2,5] y) { a = Neg(x) y = Add(a, u) }"
    with pytest.raises(PromiseError, match="append_argmax broke its promise 'exact': output 'y/argmax'"):
        run(model_of(text, 17), "append_argmax")


@pytest.mark.parametrize(
    "passes,reason",
    [
        ("append_argmax:output=q", "no output named 'q'; the outputs are 'y', 'i'"),
        ("append_argmax:axis=2", "output 'y' is float32[2,300]: it has no axis 2"),
        ("append_argmax:to=uint8", "uint8 does not hold the labels of 300 classes; give to=int32"),
        ("append_argmax:labels=i", "'i' is another tensor's name already; give 'labels' another name"),
    ],
)
def test_labels_that_cannot_be(passes: str, reason: str) -> None:
    text = "g (float[2,300] x) => (float[2,300] y, int64[2,300] i) { y = Relu(x) i = Cast<to=7>(x) }"
    assert refusal(text, passes) == f"append_argmax: {reason}"


def test_an_output_without_scores_is_no_match() -> None:
    text = "g (float[2,3] x) => (float[2,3] y, int64[2,3] i) { a = Relu(x) y = Neg(a) i = Cast<to=7>(x) }"
    for output, reason in (("i", "it is int64[2,3]"), ("a", "it is an inner tensor, not an output")):
        step = run(model_of(text, 17), f"append_argmax:output={output}").steps[0]
        assert step.status == "unmatched" and reason in step.reason


RESIZED = """g (float[1,{classes},2,2] x) => ({kind}[1,1,4,4] y) <float[4] s = {{1,1,2,2}}{more}> {{
  r = {resize}  l = ArgMax<axis=1>(r)  y = Cast<to={to}>(l) }}"""
NEAREST = 'Resize<mode="nearest"{more}>(x, , s)'


@pytest.mark.parametrize("to,kind", [(6, "int32"), (2, "uint8"), (1, "float")])
def test_the_cast_behind_labels_reads_float16(to: int, kind: str) -> None:
    text = RESIZED.format(classes=200, kind=kind, to=to, resize=NEAREST.format(more=""), more="")
    state = changed(text, "argmax_below_upsampling")
    assert sum(node.op_type == "Cast" for node in state.graph.nodes) == 2


def test_labels_that_a_narrow_type_would_wrap_stay_int64_before_it() -> None:
    text = RESIZED.format(classes=300, kind="uint8", to=2, resize=NEAREST.format(more=""), more="")
    state = changed(text, "argmax_below_upsampling")
    assert [node.op_type for node in state.graph.nodes] == ["ArgMax", "Cast", "Resize", "Cast", "Cast"]


@pytest.mark.parametrize("mode", ["asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_every_nearest_upsampling_commutes_with_argmax(mode: str, nearest: str) -> None:
    attributes = f', coordinate_transformation_mode="{mode}", nearest_mode="{nearest}"'
    text = f"""g (float[2,7,3,5] x) => (int64[2,7,12] y) <float[4] s = {{1, 1, 2.5, 2.4}}> {{
      r = Resize<mode="nearest"{attributes}>(x, , s)  y = ArgMax<axis=1, keepdims=0>(r) }}"""
    assert changed(text, "argmax_below_upsampling").steps[0].nodes == (2, 5)


def test_made_up_pixels_do_not_commute() -> None:
    roi = ", float[8] q = {0,0,0.2,0.2,1,1,0.9,0.9}"
    more = ', coordinate_transformation_mode="tf_crop_and_resize"'
    resize = NEAREST.format(more=more).replace("(x, ,", "(x, q,")
    text = RESIZED.format(classes=5, kind="int32", to=6, resize=resize, more=roi)
    step = run(model_of(text, 17), "argmax_below_upsampling").steps[0]
    assert step.status == "unmatched" and "makes up pixels" in step.reason


def test_argmax_in_a_body_moves_too() -> None:
    graph = graph_of(
        """g (float[1,5,2,2] x, bool c) => (int64[1,1,4,4] y) <float[4] s = {1,1,2,2}> { y = If(c) <
           then_branch = a () => (int64[1,1,4,4] t) { r = Resize<mode="nearest">(x, , s) t = ArgMax<axis=1>(r) },
           else_branch = b () => (int64[1,1,4,4] e) { q = Resize<mode="linear">(x, , s) e = ArgMax<axis=1>(q) }> }"""
    )
    step = changed(graph, "argmax_below_upsampling").steps[0]
    assert [match.where for match in step.matches] == ["ArgMax(t)"] and step.misses[0].where == "ArgMax(e)"


DETECTOR = """g (float[1,6,4] x, float[1,2,6] s) => (int64[K,3] i, int64[M,3] j) <int64 m = {{3}}> {{
  b = Relu(x)  p = Sigmoid(s)  i = NonMaxSuppression({0})  c = Cast<to=1>(i)  j = {1} }}"""


def test_what_is_behind_a_non_max_suppression_goes() -> None:
    state = changed(DETECTOR.format("b, p, m", "Neg(i)"), "cut_nms")
    assert interface(state.graph) == "x float32[1,6,4], s float32[1,2,6] -> b float32[1,6,4], p float32[1,2,6]"
    assert lines(state.graph) == ["b = Relu(x)", "p = Sigmoid(s)"] and not state.graph.initializers


def test_boxes_that_are_an_input_cannot_be_cut() -> None:
    assert "there is nothing to cut before it" in refusal(DETECTOR.format("x, p, m", "Neg(i)"), "cut_nms")


# -- concat_models


def saved(folder: Path, name: str, text: str, external: bool = False, opset: int = 17) -> Path:
    path = folder / name
    graph = model_of(text, opset)
    graph.outside = 1 if external else None
    graph.save(path)
    return path


@pytest.mark.parametrize("external", [False, True], ids=["inline", "external"])
def test_a_model_behind_another(tmp_path: Path, external: bool) -> None:
    first = model_of(
        "g (float[2,8] x) => (float[2,8] y, float[2,8] z) <float[8,8] w> { [n] y = MatMul(x, w) z = Neg(y) }", 17
    )
    tail = """g (float[2,8] a, float[8] y) => (float[2,8] z, float[2,8] q) <float[8,8] w> {
      [n] b = MatMul(a, w)  z = Add(b, y)  q = Exp(a) }"""
    path = saved(tmp_path, "tail.onnx", tail, external)
    state = changed(first, f"concat_models:path={path}:outputs=y:inputs=a")
    graph = state.graph
    assert [value.name for value in graph.inputs] == ["x", "tail/y"]
    assert [value.name for value in graph.outputs] == ["z", "tail/z", "q"]
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    other = Graph.load(path)
    feed = {"x": np.ones((2, 8), np.float32), "tail/y": np.arange(8, dtype=np.float32)}
    found, middle = Session(graph).run(feed), Session(first).run({"x": feed["x"]})
    expected = Session(other).run({"a": middle["y"], "y": feed["tail/y"]})
    assert np.array_equal(found["tail/z"], expected["z"]) and np.array_equal(found["q"], expected["q"])
    (tmp_path / "elsewhere").mkdir()
    graph.save(tmp_path / "elsewhere" / "both.onnx")
    again = Session(Graph.load(tmp_path / "elsewhere" / "both.onnx")).run(feed)
    assert np.array_equal(again["tail/z"], found["tail/z"])


def test_bodies_of_the_other_model_get_free_names(tmp_path: Path) -> None:
    tail = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] a, bool c) => (float[2] r) { r = If(c) <
           then_branch = f () => (float[2] y) { y = Neg(a) }, else_branch = h () => (float[2] x) { x = Exp(a) }> }"""
    )
    onnx.save(tail, tmp_path / "tail.onnx")
    first = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }", 17)
    state = changed(first, f"concat_models:path={tmp_path / 'tail.onnx'}:outputs=y:inputs=a")
    onnx.checker.check_model(state.graph.full_proto(), full_check=True)


def test_outputs_that_feed_can_stay(tmp_path: Path) -> None:
    path = saved(tmp_path, "tail.onnx", "g (float[2] y) => (float[2] z) { z = Neg(y) }")
    first = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }", 17)
    assert (
        interface(changed(first, f"concat_models:path={path}:keep=true").graph)
        == "x float32[2] -> y float32[2], z float32[2]"
    )


@pytest.mark.parametrize(
    "inputs,more,opset,reason",
    [
        ("float[2] a", "", 11, "the models have opsets 17 and 11 of the default domain; convert one of them first"),
        ("float[3] a", "", 17, "output 'y' is float32[2], input 'a' takes float32[3]"),
        ("double[2] a", "", 17, "output 'y' is float32[2], input 'a' takes float64[2]"),
        ("float[2] a", ":outputs=y:inputs=b", 17, "no input of the other model named 'b'; there are 'a'"),
        ("float[2] a", ":outputs=y", 17, "'outputs' has 1 names and 'inputs' has 0; give one for each other"),
        (
            "float[2] a, float[2] b", "", 17,
            "which output feeds which input? outputs: 'y'; inputs of the other model: 'a', 'b'; "
            "give outputs=a+b:inputs=c+d",
        ),
    ],
)  # fmt: skip
def test_models_that_do_not_fit(tmp_path: Path, inputs: str, more: str, opset: int, reason: str) -> None:
    path = saved(tmp_path, "tail.onnx", f"g ({inputs}) => (float z) {{ z = Neg(a) }}", opset=opset)
    first = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    assert refusal(first, f"concat_models:path={path}{more}") == f"concat_models: {reason}"


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(GraphtoolError, match=r"concat_models: no file 'nowhere.onnx'"):
        run(model_of(TWO, 17), "concat_models:path=nowhere.onnx")
