from __future__ import annotations

import math
import re
import tracemalloc
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphtool import seeded
from graphtool.errors import UsageError
from graphtool.parity.budget import METRICS, Budget, broken, check, parse_budget
from graphtool.parity.eps import eps_of
from graphtool.parity.metrics import compare, equal, finite, lost
from graphtool.rewrite import passfile

Array = np.ndarray
NAN, INF = math.nan, math.inf


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def test_figures_of_a_small_output() -> None:
    figures = compare(f32(1, -4, 0, 2).reshape(2, 2), f32(1, -3, 0.5, 2).reshape(2, 2))
    assert (figures.count, figures.changed) == (4, 2)
    assert (figures.max_abs, figures.mean_abs) == (1.0, 0.375)
    assert figures.worst_index == (0, 1)
    assert figures.before_max == 4.0
    # the zero is measured against eps times the largest magnitude, not against itself
    assert figures.max_rel == 0.5 / (4 * 2**-23)
    a, b = np.array([1, -4, 0, 2.0]), np.array([1, -3, 0.5, 2.0])
    assert figures.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-15)
    assert figures.argmax_agreement == 1.0 and figures.nan_mismatches == figures.inf_mismatches == 0


def test_relative_error_is_relative_to_the_element() -> None:
    assert compare(f32(100, 1), f32(101, 1.5)).max_rel == 0.5


FLOATS = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
OTHERS = [np.bool_, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, ml_dtypes.int4, ml_dtypes.uint4]


@pytest.mark.parametrize("dtype", [*FLOATS, *OTHERS])
def test_every_type(dtype: Any) -> None:
    before = np.array([0, 1, 1, 0], dtype)
    after = np.array([0, 1, 0, 0], dtype)
    figures = compare(before, after)
    assert (figures.changed, figures.max_abs, figures.mean_abs, figures.worst_index) == (1, 1.0, 0.25, (2,))
    assert figures.cosine == pytest.approx(math.sqrt(0.5))
    assert equal(before, before.copy()) and not equal(before, after)
    assert compare(before, before.copy()).changed == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_equals_nan_and_the_zeros_are_one(dtype: Any) -> None:
    before, after = np.array([NAN, 0, -0.0, 2], dtype), np.array([-NAN, -0.0, 0, 2], dtype)
    assert equal(before, after)
    figures = compare(before, after)
    assert (figures.changed, figures.max_abs, figures.cosine, figures.before_max) == (0, 0.0, 1.0, 2.0)
    assert figures.worst_index is None and figures.nan_mismatches == 0


def test_payloads_of_nan_do_not_matter() -> None:
    before, after = (np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0xFFC12345))
    assert equal(before, after) and compare(before, after).changed == 0


@pytest.mark.parametrize(
    ("before", "after", "nan", "inf", "changed", "worst"),
    [
        (f32(1, NAN), f32(1, 2), 1, 0, 1, (1,)),
        (f32(1, 2), f32(NAN, 2), 1, 0, 1, (0,)),
        (f32(INF, 2), f32(INF, 2), 0, 0, 0, None),
        (f32(1, INF), f32(1, -INF), 0, 1, 1, (1,)),
        (f32(5, INF), f32(1, 3e38), 0, 1, 2, (1,)),
        (f32(0, -INF, NAN), f32(1, NAN, INF), 2, 0, 3, (1,)),
    ],
)
def test_mismatched_specials(
    before: Array, after: Array, nan: int, inf: int, changed: int, worst: tuple[int] | None
) -> None:
    figures = compare(before, after)
    assert (figures.nan_mismatches, figures.inf_mismatches, figures.changed) == (nan, inf, changed)
    assert figures.worst_index == worst
    assert equal(before, after) == (changed == 0)
    if changed:
        assert figures.max_abs == figures.mean_abs == figures.max_rel == INF and figures.cosine == 0
    else:
        assert figures.max_abs == 0 and figures.cosine == 1


def test_matching_specials_leave_the_finite_figures_alone() -> None:
    figures = compare(f32(NAN, INF, 1, 3), f32(NAN, INF, 1, 4))
    assert (figures.max_abs, figures.mean_abs, figures.before_max, figures.worst_index) == (1, 0.25, 3, (3,))
    assert figures.cosine == pytest.approx(13 / math.sqrt(10 * 17))


def test_cosine_of_zeros_and_of_extremes() -> None:
    assert compare(f32(0, 0), f32(0, 0)).cosine == 1
    assert compare(f32(0, 0), f32(0, 1)).cosine == 0
    assert compare(f32(1, 2), f32(-1, -2)).cosine == pytest.approx(-1)
    for size in (1e300, 1e-300):
        assert compare(np.array([1, 2.0]) * size, np.array([2, 1.0]) * size).cosine == pytest.approx(0.8)
    assert compare(np.array([1e308]), np.array([-1e308])).max_abs == INF
    tiny = compare(np.array([5e-324, 0]), np.array([5e-324, 5e-324]))
    assert (tiny.changed, tiny.max_abs) == (1, 5e-324) and tiny.cosine == pytest.approx(math.sqrt(0.5))


def test_neighbours_beyond_float64_are_told_apart() -> None:
    figures = compare(np.array([2**62, 5]), np.array([2**62 + 1, 5]))
    assert (figures.changed, figures.max_abs) == (1, 1.0)
    low, high = np.array([-(2**63)]), np.array([2**63 - 1])
    assert compare(low, high).max_abs == compare(high, low).max_abs == 2.0**64
    assert compare(np.array([0], np.uint64), np.array([2**64 - 1], np.uint64)).max_abs == 2.0**64


def test_other_type_or_shape() -> None:
    half = f32(1, 2).astype(np.float16)
    assert compare(f32(1, 2), half).changed == 0 and not equal(f32(1, 2), half)
    assert compare(f32(1, 2), f32(1, 2).astype(ml_dtypes.bfloat16)).changed == 0
    assert compare(f32(1, 300), np.array([1, 300])).max_abs == 0
    assert not equal(f32(1, 2), f32(1, 2).reshape(1, 2))
    with pytest.raises(UsageError, match=re.escape("an output of shape [2] with one of [1, 2]")):
        compare(f32(1, 2), f32(1, 2).reshape(1, 2))


def test_empty_scalar_strided_and_complex() -> None:
    empty = compare(np.zeros((0, 3, 2, 2), np.float32), np.zeros((0, 3, 2, 2), np.float32))
    assert (empty.count, empty.max_abs, empty.cosine, empty.argmax_agreement) == (0, 0.0, 1.0, None)
    scalar = compare(np.float32(1).reshape(()), np.float32(3).reshape(()))
    assert (scalar.max_abs, scalar.worst_index) == (2.0, ())
    grid = np.arange(12.0).reshape(3, 4)
    moved = grid.copy()
    moved[2, 1] += 1
    assert compare(grid.T, moved.T).worst_index == (1, 2)
    turned = compare(np.array([1, 1j], np.complex64), np.array([1, 2j], np.complex64))
    assert (turned.changed, turned.max_abs, turned.worst_index) == (1, 1.0, (1,))


def test_strings_and_sequences() -> None:
    words, others = np.array(["a", "b"], object), np.array(["a", "c"], object)
    assert equal(words, words.copy()) and not equal(words, others)
    figures = compare(words, others)
    assert (figures.changed, figures.max_abs, figures.cosine, figures.worst_index) == (1, INF, 0.0, (1,))
    assert compare(words, words).max_abs == 0

    def sequence(*items: Any) -> Array:
        boxed = np.empty(len(items), object)
        boxed[:] = items
        return boxed

    one, two = sequence(f32(1, 2), f32(3)), sequence(f32(1, 2), f32(4))
    assert equal(one, sequence(f32(1, 2), f32(3))) and not equal(one, two)
    assert (compare(one, two).max_abs, compare(one, two).count) == (1.0, 3)
    assert compare(one, sequence(f32(1, 2), f32(3, 4))).max_abs == INF
    maps, other_maps = sequence({"a": 1.0, "b": NAN}), sequence({"a": 2.0, "b": NAN})
    assert equal(maps, sequence({"a": 1.0, "b": NAN})) and not equal(maps, other_maps)


def boxed_maps(*items: Any) -> Array:
    found = np.empty(len(items), object)
    found[:] = items
    return found


def test_maps_to_numbers_are_measured_by_key() -> None:
    scores = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    moved = scores + np.float32(5e-5)
    before, after = (
        boxed_maps(*({key: float(row[key]) for key in order} for row in array))
        for array, order in ((scores, (0, 1, 2, 3)), (moved, (3, 1, 0, 2)))  # maps have no order
    )
    assert compare(before, after) == compare(scores, moved)
    assert compare(before, before).max_abs == 0 and compare(before, after).argmax_agreement == 1.0
    figures = compare(boxed_maps({"a": 1.0}, {"b": 2.0}), boxed_maps({"a": 1.0}, {"b": 2.5}))
    assert (figures.count, figures.changed, figures.max_abs, figures.worst_index) == (2, 1, 0.5, (1,))
    assert compare(boxed_maps({"a": 0.1}), boxed_maps({"a": 0.1 + 1e-12})).max_abs > 0, "of float64"
    assert compare(boxed_maps({"a": 1.0}), boxed_maps({"b": 1.0})).max_abs == INF
    assert compare(boxed_maps({"a": "x"}), boxed_maps({"a": "y"})).max_abs == INF
    assert compare(boxed_maps({"a": 3, "b": 4}), boxed_maps({"a": 3, "b": 5})).agreement == 0.5


def test_numbers_that_are_lost_in_maps() -> None:
    whole, gone = boxed_maps({0: 1.0, 1: 2.0}, {0: 3.0, 1: INF}), boxed_maps({0: 1.0, 1: NAN}, {0: INF, 1: INF})
    assert finite(boxed_maps({0: 1.0})) and not finite(whole)
    assert (lost(whole, gone), lost(whole, whole), lost(gone, whole)) == (2, 0, 0)
    assert lost(boxed_maps({0: 1.0}), boxed_maps({0: 1.0, 1: NAN})) == 1, "other keys"


def literal_class_figures(before: Array, after: Array) -> tuple[float, float]:
    one, two = before.astype(np.float64).argmax(1), after.astype(np.float64).argmax(1)
    ratios = []
    for label in range(before.shape[1]):
        union = ((one == label) | (two == label)).sum()
        if union:
            ratios.append(((one == label) & (two == label)).sum() / union)
    return float((one == two).mean()), float(np.mean(ratios))


@pytest.mark.parametrize("shape", [(2, 5, 13, 7), (300, 4), (1, 1000, 5, 5), (1, 3, 400, 500)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_class_maps(shape: tuple[int, ...], dtype: Any) -> None:
    before = seeded.bell(1, shape).astype(dtype)
    after = before + seeded.bell(2, shape).astype(dtype) / 4
    agreement, miou = literal_class_figures(before, after)
    figures = compare(before, after)
    assert figures.argmax_agreement == pytest.approx(agreement, abs=1e-12) and 0.1 < agreement < 0.999
    assert figures.miou == pytest.approx(miou, abs=1e-12)
    same = compare(before, before.copy())
    assert same.argmax_agreement == same.miou == 1


def test_ties_go_to_the_first_class_and_absent_classes_do_not_count() -> None:
    before = np.zeros((1, 4, 1, 2), np.float32)
    after = before.copy()
    after[0, 1, 0, 1] = 1
    figures = compare(before, after)
    assert figures.argmax_agreement == 0.5
    assert figures.miou == pytest.approx((0.5 + 0) / 2)  # class 0: 1 of 2; class 1: 0 of 1; 2 and 3 never occur


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 1, 4, 4), np.float32), ((1, 1001, 2, 2), np.float32), ((1, 3, 4), np.float32), ((6,), np.float32),
     ((1, 3, 4, 4), np.int64), ((5, 4), np.bool_)],
)  # fmt: skip
def test_what_is_no_class_map(shape: tuple[int, ...], dtype: Any) -> None:
    array = np.zeros(shape, dtype)
    assert compare(array, array).argmax_agreement is None and compare(array, array).miou is None


@given(
    before=hnp.arrays(np.float32, 40, elements=st.floats(width=32)),
    after=hnp.arrays(np.float32, 40, elements=st.floats(width=32)),
    same=hnp.arrays(np.bool_, 40),
)
@settings(max_examples=200, deadline=None)
def test_any_floats(before: Array, after: Array, same: Array) -> None:
    after = np.where(same, before, after)
    figures = compare(before, after)
    agrees = (before == after) | (np.isnan(before) & np.isnan(after))
    assert figures.changed == np.count_nonzero(~agrees)
    assert equal(before, after) == bool(agrees.all()) == (figures.changed == 0)
    assert figures.max_abs >= figures.mean_abs >= 0 and -1 <= figures.cosine <= 1
    assert not math.isnan(figures.max_rel + figures.before_max)
    if np.isfinite(before).all() and np.isfinite(after).all():
        distance = np.abs(after.astype(np.float64) - before)
        assert figures.max_abs == distance.max()
        assert figures.worst_index is None or distance[figures.worst_index] == figures.max_abs
    if figures.changed:
        assert figures.worst_index is not None and not agrees[figures.worst_index]


def test_chunks_do_not_show() -> None:
    before = seeded.bell(1, (3, 70_001))
    after = before.copy()
    after[1, 69_999] += 2
    after[2, 70_000] -= 3
    figures = compare(before, after)
    assert (figures.changed, figures.worst_index) == (2, (2, 70_000))
    assert figures.max_abs == pytest.approx(3) and figures.mean_abs == pytest.approx(5 / before.size)
    flat = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    cosine = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert figures.cosine == pytest.approx(cosine, abs=1e-13)
    assert not equal(before, after) and equal(before, before.copy())


def test_a_large_output_is_compared_in_little_memory() -> None:
    before = seeded.bell(1, (1, 19, 256, 512))
    after = before + np.float32(0.01)
    tracemalloc.start()
    compare(before, after)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20 < before.nbytes


@pytest.mark.parametrize(
    ("dtype", "eps"),
    [(np.float32, 2**-23), (np.float64, 2**-52), (np.float16, 2**-10), (ml_dtypes.bfloat16, 2**-7),
     (np.complex64, 2**-23), (np.int32, 0), (np.bool_, 0), (ml_dtypes.int4, 0), (object, 0)],
)  # fmt: skip
def test_eps(dtype: Any, eps: float) -> None:
    assert eps_of(dtype) == eps


@pytest.mark.parametrize(
    ("text", "kind", "budget"),
    [
        ("argmax_agreement=0.85", "min", Budget("argmax_agreement", 0.85, None, "min")),
        ("794:argmax_agreement=0.85", "min", Budget("argmax_agreement", 0.85, "794", "min")),
        ("max_abs=1e-3", "max", Budget("max_abs", 1e-3, None, "max")),
        ("scope/up:0:max_rel=0.1", "max", Budget("max_rel", 0.1, "scope/up:0", "max")),
        ("a=b:c=d:mean_abs=2", "max", Budget("mean_abs", 2.0, "a=b:c=d", "max")),
        ("cosine:cosine=0.9", "min", Budget("cosine", 0.9, "cosine", "min")),
    ],
)
def test_parse_budget(text: str, kind: Any, budget: Budget) -> None:
    assert parse_budget(text, kind) == budget
    assert parse_budget(budget.text().split(" ", 1)[1], kind) == budget


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("cosine", "min", "--min cosine: expected METRIC=NUMBER or OUTPUT:METRIC=NUMBER"),
        ("argmax_agreemnt=0.9", "min", "unknown metric 'argmax_agreemnt'; did you mean 'argmax_agreement'?"),
        ("794=0.9", "min", "unknown metric '794'  (one of max_abs, mean_abs, median_abs, "),
        (":miou=0.9", "min", "no output is named before the colon"),
        ("max_abs=1", "min", "--min max_abs=1: a good max_abs is small: bound it from above, with --max"),
        ("y:cosine=0.9", "max", "a good cosine is large: bound it from below, with --min"),
        ("max_abs=small", "max", "'small' is not a number"),
        ("max_abs=nan", "max", "'nan' is not a finite number"),
        ("max_abs=inf", "max", "'inf' is not a finite number"),
        ("max_abs=-1", "max", "max_abs is never negative"),
        ("argmax_agreement=85", "min", "argmax_agreement lies between 0 and 1"),
        ("cosine=-2", "min", "cosine lies between -1 and 1"),
    ],
)
def test_budgets_that_make_no_sense(text: str, kind: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_budget(text, kind)


def test_names_in_budget_errors_are_fit_for_a_terminal() -> None:
    with pytest.raises(UsageError) as caught:
        parse_budget("a\x1b[31m=1", "max")
    assert "\x1b" not in str(caught.value)


MAP = compare(np.zeros((1, 3, 2, 2), np.float32), np.ones((1, 3, 2, 2), np.float32))
LIST = replace(MAP, argmax_agreement=None, miou=None)


def test_check() -> None:
    assert check(parse_budget("max_abs=1", "max"), "y", MAP) is None
    reason = check(parse_budget("max_abs=0.5", "max"), "y", MAP)
    assert reason == "output 'y': max_abs 1 is above the budget 0.5"
    assert check(parse_budget("z:max_abs=0.5", "max"), "y", MAP) is None
    low = replace(MAP, argmax_agreement=0.84)
    assert check(parse_budget("argmax_agreement=0.84", "min"), "y", low) is None
    reason = check(parse_budget("argmax_agreement=0.85", "min"), "y", low)
    assert reason == "output 'y': argmax_agreement 0.84 is below the budget 0.85"
    with pytest.raises(UsageError, match="only known for a class map, and output 'y' is none; name the output"):
        check(parse_budget("miou=0.5", "min"), "y", LIST)
    with pytest.raises(UsageError, match=r"only known for a class map, and output 'y' is none$"):
        check(parse_budget("y:miou=0.5", "min"), "y", LIST)


def test_a_mismatch_breaks_every_budget_but_agreement() -> None:
    worst = compare(f32(1, NAN), f32(1, 2))
    for metric in ("max_abs", "mean_abs", "max_rel"):
        assert check(Budget(metric, 1e300, None, "max"), "y", worst)
    assert check(Budget("cosine", 0.1, None, "min"), "y", worst)
    assert tuple(METRICS) == passfile.METRICS


def test_broken_budgets_of_several_outputs() -> None:
    figures = {"794": MAP, "788": replace(LIST, max_abs=2.0)}
    budgets = [parse_budget("max_abs=1.5", "max"), parse_budget("794:miou=0.5", "min")]
    assert broken(budgets, figures) == ["output '788': max_abs 2 is above the budget 1.5"]
    assert broken([], figures) == []
    with pytest.raises(
        UsageError, match=re.escape("no output named '749'; did you mean '794'?  (outputs: '794', '788')")
    ):
        broken([parse_budget("749:max_abs=1", "max")], figures)
    with pytest.raises(UsageError, match="'788' is none"):
        broken([parse_budget("miou=0.5", "min")], figures)
