"""The judge: each parity class accepts what it promises and refuses what it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphtool import pipeline
from graphtool.cases import model_of
from graphtool.errors import FeedError, PromiseError, UsageError
from graphtool.graph import Graph
from graphtool.parity.budget import parse_budget
from graphtool.parity.feed import Feed, draw
from graphtool.rewrite import Catalog, parse_pipeline
from graphtool.step import Run

RESIZE = """g (float[1,8,{size},{size}] x) => (float[1,8,{out},{out}] y) <float[4] s = {{1,1,{scale},{scale}}}> {{
  y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , s) }}"""


def judged(graph: Graph, passes: str, feed: Feed | None = None, budgets: tuple[str, ...] = (), **options: bool) -> Run:
    catalog = Catalog()
    bounds = [parse_budget(text, "min" if "argmax" in text or "cosine" in text else "max") for text in budgets]
    state = pipeline.begin(graph, parse_pipeline(passes, catalog), catalog, feed or draw(graph), bounds)
    for _ in pipeline.advance(state, catalog, **options):
        pass
    return state


def pass_file(folder: Path, name: str, parity: str, body: str, extra: str = "") -> str:
    path = folder / f"{name}.toml"
    path.write_text(f'summary = "test"\nwhy = "test"\nparity = "{parity}"\n{extra}\n{body}\n')
    return str(path)


SCALE = """
[[rewrite]]
match   = 'y = Relu(x)'
replace = 'r = Relu(x)  y = Mul(r, k)'
let     = {{ k = "like({factor}, x)" }}
where   = ["uses(y) >= 0"]
"""


def scaled(folder: Path, parity: str, factor: str) -> str:
    # Relu appears in the result too, so the pass is written over Neg
    body = SCALE.format(factor=factor).replace("Relu", "Neg").replace("r = Neg(x)  y = Mul(r, k)", "y = Mul(x, k)")
    return pass_file(folder, f"scaled_{parity}", parity, body)


NEG = "g (float[4,8] x) => (float[4,8] y) { a = Neg(x) y = Exp(a) }"


def test_exact_accepts_equal_and_refuses_the_last_bit(tmp_path: Path) -> None:
    good = judged(model_of(NEG, 17), scaled(tmp_path, "exact", "-1.0"))
    assert good.ok and good.steps[0].verdict is not None and good.steps[0].verdict.rule == "equal"
    bad = judged(model_of(NEG, 17), scaled(tmp_path, "exact", "-1.0000001"))
    assert bad.steps[0].status == "broken" and "'y'" in bad.steps[0].reason
    assert [node.op_type for node in bad.graph.nodes] == ["Neg", "Exp"], "rolled back"


def test_exact_holds_nan_equal_to_nan_and_minus_zero_to_zero(tmp_path: Path) -> None:
    graph = model_of("g (float[4] x) => (float[4] y) { y = Neg(x) }", 17)
    feed = Feed({"x": np.array([np.nan, 0.0, -0.0, np.inf], np.float32)})
    assert judged(graph, scaled(tmp_path, "exact", "-1.0"), feed).ok


def test_close_accepts_rounding_and_refuses_more(tmp_path: Path) -> None:
    good = judged(model_of(NEG, 17), scaled(tmp_path, "close", "-1.0000002"))
    assert good.ok and good.steps[0].verdict is not None and good.steps[0].verdict.rule == "noise"
    bad = judged(model_of(NEG, 17), scaled(tmp_path, "close", "-1.001"))
    assert bad.steps[0].status == "broken"
    assert "times what noise explains" in bad.steps[0].reason and "from the truth" in bad.steps[0].reason


def test_close_is_held_against_the_start_of_the_segment(tmp_path: Path) -> None:
    """A hundred passes that each drift within noise must not drift a hundredfold."""
    body = """
[[rewrite]]
match   = 'y = Mul(x, k)'
where   = ["scalar(k) > {low} and scalar(k) < {high}"]
replace = 'y = Mul(x, k2)'
let     = {{ k2 = "like(scalar(k) * 1.000005, x)" }}
"""
    text = "g (float[64] x) => (float[64] y) <float k = {2}> { y = Mul(x, k) }"
    names, at = [], 2.0
    for number in range(12):
        # each pass matches the value that the one before made, and no other
        names.append(pass_file(tmp_path, f"drift_{number}", "close", body.format(low=at - 4e-6, high=at + 4e-6)))
        at *= 1.000005
    state = judged(model_of(text, 17), ",".join(names), keep_going=True)
    first_broken = next(n for n, step in enumerate(state.steps) if step.status == "broken")
    assert 1 <= first_broken < 12, "one step is within what is allowed, all together are not"


def test_close_by_truth_where_onnxruntime_itself_is_off() -> None:
    """Resize computes coordinates in float32; at large sizes the MatMuls are nearer to the truth than it is."""
    graph = model_of(RESIZE.format(size=512, out=1024, scale=2), 17)
    x = np.linspace(-1000, 1000, 8 * 512 * 512, dtype=np.float32).reshape(1, 8, 512, 512)
    feed = Feed({"x": x * np.where(np.indices(x.shape).sum(0) % 2, 1, -1).astype(np.float32)})
    state = judged(graph, "resize_linear_to_matmul", feed)
    verdict = state.steps[0].verdict
    assert verdict is not None and verdict.ok, state.steps[0].reason
    assert verdict.rule == "truth"
    assert verdict.truths[0].after < verdict.truths[0].before


def shifted(tmp_path: Path) -> str:
    text = (Path(__file__).parents[1] / "passes" / "resize_linear_to_matmul.toml").read_text()
    text = text[: text.index("[[case]]")]
    good = "like(interp_matrix(shape(x)[2], shape(y)[2], factors[-2] if len(factors) > 0 else None, mode, "
    assert good in text
    bad = good.replace("like(", "like(concat(float32(full([1, shape(x)[2]], 0.0)), ").replace(
        "shape(y)[2],", "shape(y)[2] - 1,"
    )
    text = text.replace(good, bad).replace("crop[-2], fill), x)", "crop[-2], fill)), x)", 1)
    path = tmp_path / "shifted.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("size", [8, 64])
def test_a_matrix_shifted_by_one_row_is_refused(tmp_path: Path, size: int) -> None:
    graph = model_of(RESIZE.format(size=size, out=2 * size, scale=2), 17)
    state = judged(graph, shifted(tmp_path))
    assert state.steps[0].status == "broken"
    assert "from the truth" in state.steps[0].reason


def test_labels_may_differ_at_ties(tmp_path: Path) -> None:
    """Scores one ulp apart tie when a rewrite rounds otherwise: labels move, and no number is wrong."""
    body = """
[[rewrite]]
match   = 'y = Neg(x)'
replace = 'd = Sub(c, x)  y = Sub(d, c)'
let     = { c = "like(8.0, x)" }
"""
    graph = model_of("g (float[1,2,64,64] x) => (int64[1,1,64,64] y) { n = Neg(x) y = ArgMax<axis=1>(n) }", 17)
    x = draw(graph).arrays["x"].copy()
    x[:, 1] = np.nextafter(x[:, 0], -np.inf)
    good = judged(graph, pass_file(tmp_path, "rounds", "close", body), Feed({"x": x}))
    verdict = good.steps[0].verdict
    assert verdict is not None and good.ok, good.steps[0].reason
    assert verdict.rule == "noise" and verdict.figures["y"].changed > 0
    assert "tie" in verdict.notes[0]


def test_labels_that_change_for_another_reason_are_refused(tmp_path: Path) -> None:
    text = "g (float[4,8] x) => (int64[4,1] y) { a = Neg(x) y = ArgMax<axis=1>(a) }"
    bad = judged(model_of(text, 17), scaled(tmp_path, "close", "1.0"))
    assert bad.steps[0].status == "broken" and "values changed" in bad.steps[0].reason


def test_truth_follows_the_passes_of_a_sequence(tmp_path: Path) -> None:
    scaled(tmp_path, "close", "-1.01")
    text = "g (float[4,8] x) => (float[4,8] y) { i = Identity(x) a = Neg(i) y = Exp(a) }"
    catalog = Catalog([*Catalog().folders, tmp_path])
    (tmp_path / "both.toml").write_text(
        'summary = "s"\nwhy = "w"\nparity = "close"\nsequence = ["remove_identity", "scaled_close"]\n'
    )
    catalog = Catalog([*Catalog().folders, tmp_path])
    graph = model_of(text, 17)
    state = pipeline.begin(graph, parse_pipeline("both", catalog), catalog, draw(graph))
    step = next(pipeline.advance(state, catalog))
    assert step.status == "broken" and step.verdict is not None
    assert [truth.ok for truth in step.verdict.truths] == [True, False], "the Identity holds, the factor does not"


@pytest.mark.parametrize(
    ("first", "text", "truths", "reason"),
    [
        (
            "merge_equal_nodes",
            "g (float[300] x) => (float[300] y) { a = Neg(x) b = Neg(x) y = Add(a, b) }",
            [False],
            "from the truth",
        ),
        (
            "fold_constants_float16",  # onnxruntime does not round in between
            "g (float16[9] x) => (float16[9] y) <float16[9] k> { e = Exp(k) f = Mul(e, k) m = Mul(x, f) y = Neg(m) }",
            [],
            "fold_constants_float16 changes numbers and does not say which nodes it replaced",
        ),
    ],
)
def test_code_in_a_sequence_needs_no_truth_where_it_changes_nothing(
    tmp_path: Path, first: str, text: str, truths: list[bool], reason: str
) -> None:
    scaled(tmp_path, "close", "-1.5")
    pass_file(tmp_path, "both", "close", f'sequence = ["{first}", "scaled_close"]')
    catalog = Catalog([*Catalog().folders, tmp_path])
    graph = model_of(text, 17)
    state = pipeline.begin(graph, parse_pipeline("both", catalog), catalog, draw(graph))
    step = next(pipeline.advance(state, catalog))
    assert step.status == "broken" and step.verdict is not None
    assert [truth.ok for truth in step.verdict.truths] == truths
    assert reason in step.reason


def test_float16_is_equal_after_the_cast() -> None:
    state = judged(model_of(NEG, 17), "output_fp16")
    verdict = state.steps[0].verdict
    assert verdict is not None and verdict.ok and verdict.rule == "cast"
    assert verdict.figures["y"].max_abs > 0, "rounding to float16 is real"


@pytest.mark.parametrize(("values", "words"), [([1e5, 1], "become infinite"), ([np.nan, 1], "NaN")])
def test_float16_refuses_overflow_and_nan(values: list[float], words: str) -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }", 17)
    state = judged(graph, "output_fp16", Feed({"x": np.array(values, np.float32)}))
    assert state.steps[0].status == "broken" and words in state.steps[0].reason


def test_an_infinity_that_was_there_is_no_overflow() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }", 17)
    assert judged(graph, "output_fp16", Feed({"x": np.array([np.inf, 1], np.float32)})).ok


def test_lossy_is_measured_and_held_to_budgets() -> None:
    def graph() -> Graph:
        return model_of(RESIZE.format(size=16, out=32, scale=2), 17)

    free = judged(graph(), "resize_nearest")
    verdict = free.steps[0].verdict
    assert verdict is not None and verdict.rule == "measured" and verdict.figures["y"].max_abs > 0.1
    assert judged(graph(), "resize_nearest", budgets=("cosine=0.1",)).ok
    held = judged(graph(), "resize_nearest", budgets=("cosine=0.9999",))
    assert held.steps[0].status == "broken" and "below the budget" in held.steps[0].reason


def test_lossy_is_measured_against_original_and_step_before() -> None:
    text = """g (float[1,4,8,8] x) => (float[1,4,16,16] y, float[1,4,16,16] z) <float[4] s = {1,1,2,2}> {
      y = Resize<mode="linear">(x, , s) z = Relu(y) }"""
    state = judged(model_of(text, 17), "output_fp16,resize_nearest")
    verdict = state.steps[1].verdict
    assert verdict is not None and verdict.against == "the original" and set(verdict.step) == {"y", "z"}


def test_repair_needs_the_graph_after_to_run() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Clip<min=0.0, max=6.0>(x) }"
    state = judged(model_of(text, 17), "clip_topk_inputs,output_fp16")
    assert [step.status for step in state.steps] == ["applied", "applied"]
    assert state.steps[0].verdict is not None and state.steps[0].verdict.rule == "runs"


def test_a_graph_that_cannot_run_is_an_error_for_other_passes() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Identity(x) y = Clip<min=0.0, max=6.0>(a) }"
    graph = model_of(text, 17)
    with pytest.raises(Exception, match="onnxruntime"):
        judged(graph, "remove_identity")


def test_a_model_that_disagrees_with_itself_is_named() -> None:
    text = "g (float[64] x) => (float[64] y) { r = RandomNormalLike(x) i = Identity(r) y = Add(x, i) }"
    with pytest.raises(PromiseError, match=r"disagrees with itself: output 'y' .*RandomNormalLike_0"):
        judged(model_of(text, 17), "remove_identity")


def test_a_custom_op_is_judged_by_its_declared_meaning() -> None:
    text = "g (float[1,3,8,5] x) => (float[1,3,3,2] y) { a = Relu(x) y = AdaptiveAvgPool2d<output_size=[3,2]>(a) }"
    state = judged(model_of(text, 11), "adaptive_pool_exact")
    assert state.ok and {node.op_type for node in state.graph.nodes} == {"Relu", "MatMul"}
    lossy = judged(model_of(text, 11), "adaptive_pool_to_avg_pool")
    verdict = lossy.steps[0].verdict
    assert verdict is not None and verdict.figures["y"].max_abs > 0.01, "8 is not a multiple of 3"
    kept = judged(model_of(text, 11), "output_fp16")
    assert kept.ok and "AdaptiveAvgPool2d" in {node.op_type for node in kept.graph.nodes}, "the result keeps the op"


def test_shapes_are_known_behind_a_custom_op() -> None:
    text = """g (float[1,3,8,6] x) => (float[1,3,6,4] y) <float[4] s = {1,1,2,2}> {
      a = AdaptiveAvgPool2d<output_size=[3,2]>(x) y = Resize<mode="linear">(a, , s) }"""
    state = judged(model_of(text, 17), "resize_linear_to_matmul")
    assert [len(step.matches) for step in state.steps] == [1]
    assert any("onnxruntime has no AdaptiveAvgPool2d" in note for note in state.notes)


def test_a_pass_that_brings_in_a_custom_op_says_so() -> None:
    text = """g (float[1,3,8,6] x) => (float[1,3,3,2] y) <int64[2] n = {3,2}> {
      y = org.pytorch.aten.ATen<operator="adaptive_avg_pool2d">(x, n) }"""
    state = judged(model_of(text, 17), "adaptive_pool_to_ascend")
    verdict = state.steps[0].verdict
    assert verdict is not None and any("AdaptiveAvgPool2d" in note for note in verdict.notes)


def test_adaptive_pooling_means_what_pytorch_defines() -> None:
    graph = model_of("g (float[1,2,7,5] x) => (float[1,2,3,2] y) { y = AdaptiveAvgPool2d<output_size=[3,2]>(x) }", 11)
    feed = draw(graph)
    state = judged(graph, "adaptive_pool_exact", feed)
    x = feed.arrays["x"].astype(np.float64)
    expected = np.empty((1, 2, 3, 2))
    for i in range(3):
        for j in range(2):
            rows = slice(i * 7 // 3, -(-(i + 1) * 7 // 3))
            columns = slice(j * 5 // 2, -(-(j + 1) * 5 // 2))
            expected[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    assert state.judge is not None
    np.testing.assert_allclose(state.judge.outputs()["y"], expected, rtol=1e-5, atol=1e-6)


def test_an_input_cast_draws_on_values_that_the_type_can_hold() -> None:
    state = judged(model_of(NEG, 17), "input_cast")
    assert state.ok and state.judge is not None
    assert state.graph.inputs[0].dtype == 10
    fed = state.judge.feed["x"]
    assert fed.dtype == np.float16
    assert state.judge.original is not None
    np.testing.assert_array_equal(state.judge.original.feed["x"], fed.astype(np.float32))


def test_indices_are_cast_by_value() -> None:
    text = "g (float[5,2] t, int64[3] i) => (float[3,2] y) { y = Gather(t, i) }"
    assert judged(model_of(text, 17), "inputs_int32").ok


def test_a_cast_brings_the_default_domain_to_a_model_without_it() -> None:
    """Models of scikit-learn import ai.onnx.ml alone; the release of their IR version says which opset fits."""
    node = helper.make_node("Normalizer", ["x"], ["y"], domain="ai.onnx.ml", norm="L2")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy"]
    proto = helper.make_model(
        helper.make_graph([node], "g", infos[:1], infos[1:]),
        opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)],
        ir_version=6,
    )
    state = judged(Graph(proto), "output_fp16")
    assert state.ok, state.steps[0].reason
    assert state.graph.opset() == 11


def test_names_are_followed_through_a_pipeline() -> None:
    state = judged(model_of(NEG, 17), "rename:from=y+x:to=logits+image,output_fp16,rename:from=logits:to=out")
    assert state.ok, [step.reason for step in state.steps]
    assert [v.name for v in (*state.graph.inputs, *state.graph.outputs)] == ["image", "out"]


def test_a_cut_is_judged_by_tapping_the_graph_before() -> None:
    state = judged(model_of(NEG, 17), "output_fp16,prune_outputs:keep=a")
    assert state.ok and [v.name for v in state.graph.outputs] == ["a"]


def test_an_undeclared_change_of_the_interface_is_a_broken_promise(tmp_path: Path) -> None:
    body = """
[[rewrite]]
match   = 'y = Exp(x)'
replace = 'y = Cast<to = 10>(x)'
"""
    state = judged(model_of(NEG, 17), pass_file(tmp_path, "sneaky", "lossy", body))
    assert state.steps[0].status == "broken", "the output is declared float32 and became float16"
    assert [node.op_type for node in state.graph.nodes] == ["Neg", "Exp"]


def test_a_budget_for_no_class_map_is_refused() -> None:
    with pytest.raises(UsageError, match="class map"):
        judged(
            model_of(RESIZE.format(size=4, out=8, scale=2).replace("1,8", "1,1"), 17),
            "resize_nearest",
            budgets=("argmax_agreement=0.5",),
        )


def test_truth_can_be_asked_for_where_noise_would_do() -> None:
    catalog = Catalog()
    graph = model_of(RESIZE.format(size=16, out=32, scale=2), 17)
    state = pipeline.begin(graph, parse_pipeline("resize_linear_to_matmul", catalog), catalog, draw(graph), truth=True)
    verdict = next(pipeline.advance(state, catalog)).verdict
    assert verdict is not None and verdict.ok and verdict.rule == "truth" and len(verdict.truths) == 1


def test_a_feed_for_another_model_is_refused() -> None:
    with pytest.raises(FeedError, match="no input 'z'"):
        judged(model_of(NEG, 17), "output_fp16", Feed({"z": np.zeros((4, 8), np.float32)}))


def test_a_lossy_pass_must_not_lose_numbers(tmp_path: Path) -> None:
    """A mask by arithmetic in place of a Where: minus infinity times zero, say."""
    (tmp_path / "masked.toml").write_text(
        'summary = "s"\nwhy = "w"\nparity = "lossy"\n[[rewrite]]\nmatch = "y = Relu(x)"\n'
        'replace = "z = Sub(x, x)  y = Div(z, z)"\n'
    )
    run = judged(model_of("g (float[4] s) => (float[4] y) { y = Relu(s) }", 17), str(tmp_path / "masked.toml"))
    assert (run.steps[0].status, run.steps[0].reason) == ("broken", "output 'y': 4 numbers became infinite or NaN")
