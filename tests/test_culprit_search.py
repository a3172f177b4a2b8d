"""Searching subsets that fail: what is found, and with how many tests."""

from __future__ import annotations

import itertools
import math

import pytest

from graphtool.culprit.search import Probe, ddmin, failing_sets, smallest_failing


def probe_of(count: int, *culprits: set[int]) -> Probe[int]:
    return Probe(range(count), lambda chosen: any(culprit <= set(chosen) for culprit in culprits))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 1000])
def test_one_culprit_is_found_in_a_logarithm_of_tests(count: int) -> None:
    for culprit in {0, count // 3, count - 1}:
        test = probe_of(count, {culprit})
        assert smallest_failing(range(count), test) == (culprit,)
        assert test.count <= math.ceil(math.log2(count)) + 1


def test_several_that_are_needed_together_are_found_one_by_one() -> None:
    for group in itertools.combinations(range(9), 3):
        test = probe_of(64, {10 * n % 64 for n in group})
        assert set(smallest_failing(range(64), test)) == {10 * n % 64 for n in group}
        assert test.count <= 3 * (math.log2(64) + 1) + 12


def test_culprits_that_each_break_it_are_all_found() -> None:
    test = probe_of(50, {3}, {20, 21}, {49})
    sets, complete = failing_sets(range(50), test, 8)
    assert {frozenset(found) for found in sets} == {frozenset({3}), frozenset({20, 21}), frozenset({49})}
    assert complete and test.is_monotone
    assert failing_sets(range(50), test, 2)[1] is False


def test_damages_that_cancel_out_are_noticed() -> None:
    """3 breaks it unless 7 is there too; 12 and 13 break it together."""
    test = Probe(range(16), lambda chosen: (3 in chosen and 7 not in chosen) or {12, 13} <= set(chosen))
    found = smallest_failing(range(16), test)
    assert test(found) and not any(test([item for item in found if item != left]) for left in found)
    failing_sets(range(16), test, 8)
    assert not test.is_monotone


def test_ddmin_leaves_nothing_that_can_go() -> None:
    for wanted in ({5}, {0, 31}, {1, 2, 3, 17}, set(range(0, 32, 4))):
        test = probe_of(32, wanted)
        assert set(ddmin(range(32), test)) == wanted
    counted = probe_of(1024, {700})
    assert ddmin(range(1024), counted) == (700,) and counted.count <= 2 * math.log2(1024) + 2


def test_the_same_subset_is_tested_once() -> None:
    test = probe_of(4, {1})
    assert test([1, 2]) and test([2, 1]) and not test([3])
    assert test.count == 2
