"""Pictures: they show what they should, are the same bytes each time, and refuse in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphtool.errors import UsageError
from graphtool.report.pictures import curve, error_map, has_map, histogram

pytest.importorskip("matplotlib", reason="the extra 'pictures' is not installed")

RAMP = np.linspace(-1, 1, 2 * 3 * 8 * 16, dtype=np.float32).reshape(2, 3, 8, 16)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_picture_is_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for path in paths:
        histogram(path, RAMP, RAMP + 1e-3, title="y", tolerance=1e-2)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"20" not in paths[0].read_bytes()[:16] and list(tmp_path.iterdir()), "no part is left"


def test_a_histogram_counts_what_differs(tmp_path: Path) -> None:
    other = RAMP.copy()
    other.flat[3], other.flat[5] = 7, np.nan
    histogram(tmp_path / "h.svg", RAMP, other, title="$x$ & <y>")
    text = (tmp_path / "h.svg").read_text()
    assert "768 elements: 1 differ, 766 equal, 1 not comparable" in text and "$x$" in text
    histogram(tmp_path / "equal.svg", RAMP, RAMP, title="same")
    assert ">equal<" in (tmp_path / "equal.svg").read_text()


def test_a_map_shows_one_changed_label_among_a_million(tmp_path: Path) -> None:
    scores = np.zeros((1, 2, 1500, 1100), np.float32)
    scores[0, 0] = 1
    other = scores.copy()
    other[0, 1, 700, 300] = 2
    error_map(tmp_path / "same.png", scores, scores, title="y")
    error_map(tmp_path / "one.png", scores, other, title="y")
    assert (tmp_path / "same.png").read_bytes() != (tmp_path / "one.png").read_bytes()
    error_map(tmp_path / "one.svg", scores, other, title="y")
    assert "label changed at 6.06e-05 %" in (tmp_path / "one.svg").read_text()
    error_map(tmp_path / "ints.svg", RAMP.astype(np.int32), RAMP.astype(np.int32), title="y")
    assert "largest absolute error" in (tmp_path / "ints.svg").read_text()


def test_a_curve_has_its_labels_and_budget(tmp_path: Path) -> None:
    curve(tmp_path / "c.svg", [(0, 0), (1, 0.1), (2, 0.4)], title="t", x_label="n", y_label="d", limit=0.2, chosen=1)
    assert "budget 0.2" in (tmp_path / "c.svg").read_text()


def test_what_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    words = np.array(["a", "b"], object)
    assert not has_map(words) and not has_map(RAMP[0]) and has_map(RAMP)
    for call in (
        lambda: histogram(tmp_path / "a.png", words, words, title="y"),
        lambda: histogram(tmp_path / "a.png", RAMP, RAMP[:1], title="y"),
        lambda: error_map(tmp_path / "a.png", RAMP[0], RAMP[0], title="y"),
        lambda: curve(tmp_path / "a.jpeg", [(0, 0)], title="t", x_label="n", y_label="d"),
    ):
        with pytest.raises(UsageError):
            call()
    assert not list(tmp_path.iterdir())
