"""Outputs are kept with their types and judged again without a model; pictures are drawn of them."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from clirun import LIE, Cli

from graphtool.errors import FeedError, UsageError
from graphtool.parity.budget import parse_budget
from graphtool.parity.metrics import equal
from graphtool.parity.saved import read_outputs, write_outputs
from graphtool.rejudge import rejudge

X = np.arange(-3, 3, dtype=np.float32)


def boxed(*items: object) -> np.ndarray:
    found = np.empty(len(items), object)
    for place, item in enumerate(items):
        found[place] = item
    return found


EVERY = {
    "float": X, "a/b:0": X.astype(np.float16), "": X.astype(np.int64), "empty": X[:0].reshape(0, 3),
    "scalar": np.array(2.5), "special": np.array([np.nan, np.inf, -np.inf, -0.0]), "bool": X > 0,
    "complex": X.astype(np.complex64),
    **{t: X.astype(getattr(ml_dtypes, t)) for t in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4")},
    "uint4": np.abs(X).astype(ml_dtypes.uint4), "words": np.array([["a", ""], ["zero\0", "gr\u00f6\u00dfe"]], object),
    "sequence": boxed(X, X[:2].astype(ml_dtypes.bfloat16)), "none": np.array(None, object), "no items": boxed(),
}  # fmt: skip


def test_outputs_come_back_as_they_were(tmp_path: Path) -> None:
    write_outputs(tmp_path / "o", [("first", EVERY), ("second", {"y": X})])
    (first, found), (second, _) = read_outputs(tmp_path / "o")
    assert (first, second) == ("first", "second") and found.keys() == EVERY.keys()
    for name, array in EVERY.items():
        assert equal(array, found[name]), name
    again = (tmp_path / "o/feed_0.npz").read_bytes()
    write_outputs(tmp_path / "o", [("first", EVERY)])
    assert (tmp_path / "o/feed_0.npz").read_bytes() == again and not (tmp_path / "o/feed_1.npz").exists()


def test_a_map_and_a_foreign_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="is a map"):
        write_outputs(tmp_path / "m", [("f", {"y": boxed({1: 2.0})})])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("x")
    with pytest.raises(FeedError, match="did not write"):
        write_outputs(tmp_path / "mine", [])


@pytest.mark.parametrize(
    "index",
    ["", "[]", "{}", '{"format": "graphtool/outputs/2", "feeds": []}',
     '{"format": "graphtool/outputs/1", "feeds": [{"feed": "f", "file": "../feed_0.npz", "outputs": {}}]}',
     '{"format": "graphtool/outputs/1", "feeds": [{"feed": "f", "file": "feed_0.npz", "outputs": {"y": 3}}]}',
     '{"format": "graphtool/outputs/1", "feeds": [{"feed": "f", "file": "feed_0.npz",'
     ' "outputs": {"y": {"kind": "tensor", "key": "y", "type": "float64"}}}]}'],
)  # fmt: skip
def test_an_index_that_is_not_sound_is_one_line(tmp_path: Path, index: str) -> None:
    write_outputs(tmp_path, [("f", {"y": X})])
    (tmp_path / "outputs.json").write_text(index)
    with pytest.raises(FeedError) as caught:
        read_outputs(tmp_path)
    assert "\n" not in str(caught.value)


def test_plain_files_are_judged_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=X, z=X, w=X[:2])
    np.savez(tmp_path / "b.npz", y=X + 1, w=X)
    found = rejudge(tmp_path / "a.npz", tmp_path / "b.npz", [parse_budget("max_abs=0.5", "max")])
    assert found.broken == ("output 'y': max_abs 1 is above the budget 0.5",) and len(found.notes) == 2
    with pytest.raises(UsageError, match="no output"):
        np.savez(tmp_path / "c.npz", q=X)
        rejudge(tmp_path / "a.npz", tmp_path / "c.npz")


NET = """g (float[1,3,8,8] x) => (float[1,3,16,16] y, float[1,3,8,8] z) <float[4] s = {1,1,2,2}> {
  z = Relu(x) y = Resize<mode="linear">(z, , s) }"""


def test_a_run_is_judged_again_with_other_budgets(cli: Cli) -> None:
    cli.save("m.onnx", NET)
    out = cli.ok("run", "m.onnx", "-p", "resize_nearest", "--save-outputs", "kept")
    assert "graphtool judge kept/before kept/after" in out
    (cli.folder / "m.onnx").unlink()
    assert "drawn with seed 1" in cli.ok("judge", "kept/before", "kept/after", "--min", "cosine=0.5")
    ended = cli("judge", "kept/before", "kept/after", "--max", "y:max_abs=0.01")
    assert ended.code == 1 and "output 'y': max_abs" in ended.err
    assert cli("judge", "kept/before", "kept/after", "--json").json()["feeds"][1]["outputs"]["z"]["changed"] == 0
    assert "no such folder" in cli.refused("judge", "kept/before", "missing")


def test_the_outputs_of_a_step_that_was_refused_are_kept(cli: Cli) -> None:
    cli.save("m.onnx", NET)
    assert cli("run", "m.onnx", "-p", "resize_nearest", "--max", "max_abs=1e-6", "--save-outputs", "kept").code == 1
    assert cli("judge", "kept/before", "kept/after", "--max", "max_abs=1e-6").code == 1
    assert cli("judge", "kept/before", "kept/after", "--max", "max_abs=100").code == 0
    cli.write("lie.toml", LIE)
    assert cli("run", "m.onnx", "-p", "./lie.toml", "--save-outputs", "kept").code == 1
    assert cli("judge", "kept/before", "kept/after", "--json").json()["feeds"][0]["outputs"]["z"]["changed"] > 0


def test_a_comparison_is_kept_too(cli: Cli) -> None:
    cli.save("a.onnx", NET)
    cli.save("b.onnx", NET.replace('"linear"', '"nearest"'))
    assert "graphtool judge kept/before kept/after" in cli.apart(
        "compare", "a.onnx", "b.onnx", "--save-outputs", "kept"
    )
    assert cli("judge", "kept/before", "kept/after", "--max", "y:max_abs=1e-3").code == 1
    assert "they are for two models" in cli.refused("compare", "a.onnx", "--as-ascend", "--save-outputs", "x")


def test_pictures_of_a_run(cli: Cli) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'pictures' is not installed")
    cli.save("m.onnx", NET)
    out = cli.ok("run", "m.onnx", "-p", "resize_nearest", "--feeds", "1", "--pictures", "shown")
    assert "4 pictures in shown" in out
    names = ["y.errors.png", "y.map.png", "z.errors.png", "z.map.png"]
    assert sorted(path.name for path in (cli.folder / "shown").iterdir()) == names
    assert "there are none" in cli.refused("run", "m.onnx", "-p", "resize_nearest", "--no-check", "--pictures", "p")
    cli.write("file", "x")
    assert "is not a folder" in cli.refused("run", "m.onnx", "-p", "resize_nearest", "--pictures", "file")
