"""Figures beyond the largest error, and budgets on each of them, for the whole pipeline and for one pass."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from clirun import Cli

from graphtool.errors import UsageError
from graphtool.parity.budget import METRICS, broken, check, parse_budget
from graphtool.parity.metrics import compare
from graphtool.parity.spread import EXACT
from graphtool.report.figures import figure_text

R = np.random.default_rng(0)
BEFORE = R.normal(size=40_000).astype(np.float32)


def moved(size: int, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    before = R.normal(size=size).astype(np.float32)
    error = R.normal(size=size).astype(np.float32) * (np.arange(size) < share * size)
    return before, before + error * np.float32(0.01)


@pytest.mark.parametrize(("size", "share"), [(999, 1.0), (999, 0.3), (4 * EXACT, 1.0), (4 * EXACT, 0.05)])
def test_quantiles_are_those_of_all_elements(size: int, share: float) -> None:
    before, after = moved(size, share)
    found = compare(before, after)
    distance = np.abs(after.astype(np.float64) - before)
    relative = distance / np.maximum(np.abs(before.astype(np.float64)), np.finfo(np.float32).eps * np.abs(before).max())
    for spread, errors in ((found.abs, distance), (found.rel, relative)):
        assert spread.mean == pytest.approx(errors.mean())
        for name, q in (("median", 0.5), ("q90", 0.9), ("q99", 0.99), ("q999", 0.999)):
            exact = float(np.quantile(errors, q, method="inverted_cdf"))
            value = getattr(spread, name)
            assert value == exact if size <= EXACT else exact <= value <= exact * (1 + 1 / 128)


def test_infinite_errors_count_at_the_top() -> None:
    for size in (1000, 2 * EXACT):
        before, after = moved(size, 1.0)
        after[: size // 50] = np.nan
        found = compare(before, after)
        assert found.abs.q999 == found.abs.q99 == math.inf and 0 < found.abs.q90 < 1 and found.abs.mean == math.inf
    same = compare(BEFORE, BEFORE)
    assert same.abs.q999 == 0 and same.snr == same.psnr == math.inf and same.worst_pair is None


def test_snr_and_psnr_by_their_definitions() -> None:
    before, after = moved(5000)
    found = compare(before, after)
    square = np.mean((after.astype(np.float64) - before) ** 2)
    assert found.snr == pytest.approx(10 * np.log10(np.mean(before.astype(np.float64) ** 2) / square))
    assert found.psnr == pytest.approx(10 * np.log10(float(np.ptp(before)) ** 2 / square))
    huge = compare(before.astype(np.float64) * 1e200, after.astype(np.float64) * 1e200)
    assert huge.snr == pytest.approx(found.snr) and huge.psnr == pytest.approx(found.psnr)
    assert compare(np.zeros(3, np.float32), np.ones(3, np.float32)).snr == -math.inf
    assert found.worst_index is not None and found.worst_pair == (before[found.worst_index], after[found.worst_index])


def test_the_five_largest_classes() -> None:
    before = np.arange(20, dtype=np.float32).reshape(2, 10)
    after = before.copy()
    after[0, 0] = 100  # one of five is another, and the first too
    found = compare(before, after)
    assert found.top5_agreement == 0.9 and found.argmax_agreement == 0.5
    assert compare(before[:, :5], after[:, :5]).top5_agreement is None
    assert compare(before.astype(ml_dtypes.bfloat16), after.astype(ml_dtypes.bfloat16)).top5_agreement == 0.9


def test_labels_agree_by_elements() -> None:
    """Distances between labels mean nothing: how many are the same does."""
    before = np.arange(8, dtype=np.int64).reshape(2, 4)
    after = before.copy()
    after[0, 0] = 7
    found = compare(before, after)
    assert found.agreement == 0.875 and figure_text(found) == "87.50 % equal, max 7"
    assert compare(before, after.astype(np.uint8)).agreement == 0.875
    assert compare(before > 3, after > 3).agreement == 0.875
    assert compare(before, after.astype(np.float32)).agreement is None and compare(before, before).agreement == 1
    assert broken([parse_budget("agreement=0.9", "min")], {"y": found}) != []
    with pytest.raises(UsageError, match="agreement is only known for whole numbers or truth values"):
        broken([parse_budget("agreement=0.9", "min")], {"y": compare(before / 2, after / 2)})


def test_every_metric_can_be_bounded() -> None:
    before = R.normal(size=(40, 10)).astype(np.float32)
    scores = compare(before, before + np.float32(0.1) * R.normal(size=before.shape).astype(np.float32))
    labels = compare(np.arange(9), np.arange(9) // 2)
    for metric, (kind, value) in METRICS.items():
        found = labels if metric == "agreement" else scores
        has = value(found)
        assert has is not None
        near = 1e-6 if kind == "max" else -1e-6
        assert check(parse_budget(f"{metric}={has + near!r}", kind), "y", found) is None
        assert metric in (check(parse_budget(f"{metric}={has - near!r}", kind), "y", found) or "")


def test_a_pass_is_named_before_the_first_slash() -> None:
    budget = parse_budget("resize_nearest/a/b:c:cosine=0.9", "min", {"resize_nearest"})
    assert (budget.scope, budget.output, budget.metric) == ("resize_nearest", "a/b:c", "cosine")
    assert budget.text() == "--min resize_nearest/a/b:c:cosine=0.9"
    assert parse_budget("a/b:cosine=0.9", "min", {"resize_nearest"}).output == "a/b"
    assert parse_budget("resize_nearest/cosine=0.9", "min", {"resize_nearest"}).output is None
    with pytest.raises(UsageError, match="'resize_nearst' is no pass of this pipeline"):
        parse_budget("resize_nearst/cosine=0.9", "min", {"resize_nearest"})
    assert broken([budget], {}) == [], "the whole pipeline is not held to it"


def test_a_pass_is_held_to_what_it_changes_alone(cli: Cli) -> None:
    cli.save(
        "m.onnx",
        """g (float[1,3,8,8] x) => (float[1,3,16,16] y) <float[4] s = {1,1,2,2}> {
      y = Resize<mode="linear">(x, , s) }""",
    )
    words = ["run", "m.onnx", "-p", "resize_nearest,output_fp16"]
    assert cli(*words, "--max", "output_fp16/max_abs=1e-2").code == 0
    whole = cli(*words, "--max", "max_abs=1e-2")
    assert whole.code == 1 and "resize_nearest is over its budget" in whole.err
    ended = cli(*words, "--max", "output_fp16/y:max_abs=1e-9")
    assert ended.code == 1 and "output_fp16 is over its budget: output 'y': max_abs" in ended.err
    assert "--max output_fp16/y:max_abs=1e-09" in ended.out, "it can be reproduced"
    said = cli.refused(*words, "--max", "fuse_gelu/max_abs=1")
    assert "'fuse_gelu' is no pass of this pipeline" in said


def test_a_close_pass_is_held_to_a_budget_too(cli: Cli) -> None:
    cli.save(
        "m.onnx",
        """g (float[1,3,8,8] x) => (float[1,3,15,15] y) <int64[4] n = {1,3,15,15}> {
      y = Resize<mode="linear">(x, , , n) }""",
    )
    assert cli("run", "m.onnx", "-p", "resize_linear_to_matmul").code == 0
    ended = cli("run", "m.onnx", "-p", "resize_linear_to_matmul", "--max", "resize_linear_to_matmul/max_abs=1e-12")
    assert ended.code == 1 and "resize_linear_to_matmul is over its budget" in ended.err


def test_the_report_tells_the_worst_place_and_the_tolerance_that_accepts(cli: Cli) -> None:
    cli.save(
        "m.onnx",
        """g (float[1,3,8,8] x) => (float[1,3,16,16] y) <float[4] s = {1,1,2,2}> {
      y = Resize<mode="linear">(x, , s) }""",
    )
    ended = cli("run", "m.onnx", "-p", "resize_nearest", "--json")
    verdict = ended.json()["steps"][0]["verdict"]
    figures = verdict["figures"]["y"]
    assert figures["median_abs"] < figures["q99_abs"] <= figures["max_abs"] == verdict["least_tolerance"]["y"]
    assert abs(figures["worst_pair"][0] - figures["worst_pair"][1]) == pytest.approx(figures["max_abs"], rel=1e-5)
    out = cli.ok("run", "m.onnx", "-p", "resize_nearest")
    assert "worst at [0, " in out and "least tolerance that accepts: " in out and " dB" in out


def test_a_figure_just_beyond_its_budget_is_not_shown_as_equal_to_it() -> None:
    before, after = np.zeros(2, np.float32), np.array([0.1, 0], np.float32)  # 0.1 is 0.10000000149 in float32
    reason = check(parse_budget("max_abs=0.1", "max"), "y", compare(before, after))
    assert reason == "output 'y': max_abs 0.10000000149011612 is above the budget 0.1"
