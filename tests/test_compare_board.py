"""A model against the files of a board: numberings, types by size, files missing or mixed up, who is at fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clirun import Cli
from numpy.typing import NDArray

from graphtool.cases import model_of
from graphtool.comparator.board_files import outputs_of
from graphtool.comparator.board_types import UnreadableError, bits_of_half, read_output
from graphtool.comparator.half import half_model
from graphtool.errors import FeedError
from graphtool.graph import Graph
from graphtool.parity.session import Session

Array = NDArray[Any]

TEXT = """g (float[1,3,12,16] image) => (float[1,5,12,16] scores, int64[1,12,16] labels)
<float[5,3,3,3] w, float[5,5,1,1] v> {
  a = Conv<pads = [1, 1, 1, 1]>(image, w)
  b = Relu(a)
  scores = Conv(b, v)
  labels = ArgMax<axis = 1, keepdims = 0>(scores)
}"""
STEMS = ("berlin_000000_1", "berlin_000000_2", "ulm.left_3")


def model(text: str = TEXT) -> Graph:
    return model_of(text, 13)


class Desk:
    """A folder with a model, samples, and what a board would have written for them."""

    def __init__(self, cli: Cli) -> None:
        self.cli, self.folder = cli, cli.folder
        self.graph = model()
        self.graph.save(self.folder / "m.onnx")
        self.chip = Session(half_model(self.graph).graph)
        self.onnx = Session(self.graph)
        self.feeds = {
            stem: {"image": np.random.default_rng(k).normal(size=(1, 3, 12, 16)).astype(np.float32)}
            for k, stem in enumerate(STEMS)
        }
        for stem, feed in self.feeds.items():
            self.put(f"in/{stem}.bin", feed["image"])

    def put(self, name: str, array: Array) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, array)
        elif path.suffix == ".txt":
            path.write_text(" ".join(f"{number:.9g}" for number in array.reshape(-1)) + "\n")
        else:
            array.tofile(path)

    def board(
        self, first: int = 1, suffix: str = "bin", folder: str = "out", dtype: str = "float16",
        change: Callable[[Array], Array] = lambda scores: scores,
    ) -> None:  # fmt: skip
        """Write what the chip computes, its outputs numbered from ``first``."""
        for stem, feed in self.feeds.items():
            ran = self.chip.run(feed)
            self.put(f"{folder}/{stem}_{first}.{suffix}", change(ran["scores"]).astype(dtype))
            self.put(f"{folder}/{stem}_{first + 1}.{suffix}", ran["labels"].astype(np.int32))

    def pytorch(self, change: Callable[[Array], Array] = lambda scores: scores) -> None:
        for stem, feed in self.feeds.items():
            ran = self.onnx.run(feed)
            self.put(f"torch/{stem}_0.npy", change(ran["scores"]))
            self.put(f"torch/{stem}_1.npy", ran["labels"])

    def json(self, *words: str, code: int = 0) -> Any:
        ended = self.cli("compare", "m.onnx", "out", "--inputs", "in", "--json", *words)
        assert ended.code == code, ended
        return ended.json()


@pytest.fixture
def desk(cli: Cli) -> Desk:
    return Desk(cli)


@pytest.mark.parametrize(
    ("first", "suffix", "dtype", "numbering"),
    [
        (1, "bin", "float16", "from _1, as benchmark and msame count"),
        (0, "bin", "float32", "from _0, as ais_bench counts"),
        (0, "npy", "float16", "from _0, as ais_bench counts"),
        (1, "txt", "float32", "from _1, as benchmark and msame count"),
    ],
)
def test_both_numberings_and_every_format(desk: Desk, first: int, suffix: str, dtype: str, numbering: str) -> None:
    desk.board(first, suffix, dtype=dtype)
    data = desk.json()
    assert (data["numbering"], data["at_fault"], data["complete"], data["samples"]) == (numbering, "neither", True, 3)
    assert [(row["sample"], row["output"]) for row in data["rows"]] == [
        (stem, name) for stem in STEMS for name in ("scores", "labels")
    ]
    types = {row["output"]: row["dtype"] for row in data["rows"]}
    assert types == ({"scores": dtype, "labels": "int32"} if suffix != "txt" else {"scores": "text", "labels": "text"})
    assert all(0 < row["figures"]["max_abs"] < 0.5 for row in data["rows"] if row["output"] == "scores")
    assert any("struct format 'e'" in note for note in data["notes"]) == (dtype == "float16")


def test_a_folder_named_after_the_time_is_found(desk: Desk) -> None:
    desk.board(0, folder="out/2023_12_01-10_00_00")
    assert desk.json()["folder"] == "out/2023_12_01-10_00_00"
    shutil.copytree(desk.folder / "out/2023_12_01-10_00_00", desk.folder / "out/2023_12_02-10_00_00")
    says = desk.cli.refused("compare", "m.onnx", "out", "--inputs", "in")
    assert says.startswith("'out': 2 folders below it hold outputs, such as '2023_12_01-10_00_00'")


def test_the_conversion_is_at_fault(desk: Desk) -> None:
    desk.board(change=lambda scores: np.roll(scores, 1, axis=3))
    desk.pytorch()
    data = desk.json("--pytorch", "torch", code=1)
    assert data["at_fault"] == "conversion" and not data["ok"]
    assert all(row["beyond"] == (row["output"] == "scores") for row in data["rows"])
    assert all(row["figures"]["changed"] == 0 for row in data["pytorch"])


def test_the_export_is_at_fault(desk: Desk) -> None:
    desk.board()
    desk.pytorch(lambda scores: scores * np.float32(1.001))
    assert desk.json("--pytorch", "torch", code=1)["at_fault"] == "export"
    desk.board(change=lambda scores: scores + np.float32(1))
    assert desk.json("--pytorch", "torch", code=1)["at_fault"] == "both"
    desk.board()
    desk.pytorch(lambda scores: scores + np.float32(1e-6))
    out = desk.cli.ok("compare", "m.onnx", "out", "--inputs", "in", "--pytorch", "torch").splitlines()
    assert out[-1] == ("neither is at fault: files agree with ONNX as closely as float16 allows, and ONNX with PyTorch")


def test_bit_patterns_of_float16_are_seen(desk: Desk) -> None:
    """What the guide's reader makes: float16 files through ``struct.unpack('h')``."""
    for suffix, change in (("npy", np.int16), ("txt", np.float32)):
        desk.board(
            suffix=suffix, dtype="float32", change=lambda s, to=change: s.astype(np.float16).view(np.int16).astype(to)
        )
        data = desk.json()
        rows = [row for row in data["rows"] if row["output"] == "scores"]
        assert data["at_fault"] == "neither" and all(row["dtype"] == "float16 as int16" for row in rows)
        assert all("struct format 'h' in place of 'e'" in row["notes"][0] for row in rows)
        shutil.rmtree(desk.folder / "out")
    assert bits_of_half(np.arange(20)) is None, "labels are no bit patterns"
    assert bits_of_half(np.array([0.5, 2000.0])) is None


def test_files_that_changed_places(desk: Desk) -> None:
    desk.board()
    one, two = (desk.folder / f"out/{stem}_1.bin" for stem in STEMS[:2])
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    data = desk.json(code=1)
    assert data["at_fault"] == "files"
    assert [row["belongs_to"] for row in data["rows"] if row["output"] == "scores"] == [
        f"sample {STEMS[1]}", f"sample {STEMS[0]}", "",
    ]  # fmt: skip


def test_missing_surplus_and_truncated_files(desk: Desk) -> None:
    desk.board()
    out = desk.folder / "out"
    (out / f"{STEMS[0]}_2.bin").unlink()
    (out / f"{STEMS[1]}_1.bin").write_bytes((out / f"{STEMS[1]}_1.bin").read_bytes()[:-7])
    (out / f"{STEMS[2]}_1.bin").write_bytes(b"")
    (out / "paris_1.bin").write_bytes(b"1234")
    ended = desk.cli("compare", "m.onnx", "out", "--inputs", "in")
    assert ended.code == 1 and ended.err == "graphtool: 3 files could not be compared\n"
    lines = ended.out.splitlines()
    for says in (
        f"{STEMS[0]}_2.bin: missing",
        f"{STEMS[1]}_1.bin: 1913 bytes, expected 3840 (float32/int32) or 1920 (float16): truncated, 7 bytes short",
        f"{STEMS[2]}_1.bin: empty, expected 3840 (float32/int32) or 1920 (float16)",
        "note: surplus: paris_1.bin belongs to no sample",
    ):
        assert sum(says in text for text in lines) == 1, (says, lines)


def test_fewer_outputs_than_the_model_has(desk: Desk) -> None:
    desk.board()
    for stem in STEMS:
        (desk.folder / f"out/{stem}_2.bin").unlink()
    data = desk.json()
    assert {row["output"] for row in data["rows"]} == {"scores"}
    assert data["notes"][0].startswith("the board wrote 1 outputs and the model has 2: taken for 'scores'")
    for stem, feed in desk.feeds.items():
        desk.put(f"out/{stem}_1.bin", desk.chip.run(feed)["labels"].astype(np.int32))
    data = desk.json("--map", "1=labels")
    assert {row["output"] for row in data["rows"]} == {"labels"} and data["at_fault"] == "neither"


def test_a_budget_decides_in_place_of_float16(desk: Desk) -> None:
    desk.board()
    assert desk.json("--max", "scores:max_abs=1")["at_fault"] == "neither"
    ended = desk.cli("compare", "m.onnx", "out", "--inputs", "in", "--max", "scores:max_abs=1e-6")
    assert ended.code == 1 and f"over the budget: {STEMS[0]}: output 'scores': max_abs" in ended.err


# -- one file


EXPECTED = np.random.default_rng(5).normal(size=(1, 19, 4, 6)).astype(np.float32)


def written(path: Path, array: Array) -> Path:
    array.tofile(path)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_types_from_sizes(tmp_path: Path, dtype: str) -> None:
    assert read_output(written(tmp_path / "a.bin", EXPECTED.astype(dtype)), EXPECTED).dtype == dtype
    labels = (EXPECTED * 10).astype(np.int64)
    for kind in ("int32", "int64", "int8", "int16"):
        found = read_output(written(tmp_path / "b.bin", labels.astype(kind)), labels)
        assert found.dtype == kind and np.array_equal(found.array, labels)


def test_one_size_and_several_types(tmp_path: Path) -> None:
    image = np.arange(228, dtype=np.float32).reshape(1, 3, 4, 19)
    found = read_output(written(tmp_path / "a.bin", image.astype(np.uint8)), image)
    assert found.dtype == "uint8" and found.notes == (
        "read as uint8, which fits better than int8; --dtype says otherwise",
    )
    assert read_output(tmp_path / "a.bin", image, "int8").array.min() < 0
    with pytest.raises(UnreadableError, match=r"228 bytes, expected 912 \(float32\)"):
        read_output(tmp_path / "a.bin", image, "float32")


def test_the_chips_own_layout_is_unpacked(tmp_path: Path) -> None:
    padded = np.zeros((1, 32, 4, 6), np.float16)
    padded[:, :19] = EXPECTED
    blocks = padded.reshape(1, 2, 16, 4, 6).transpose(0, 1, 3, 4, 2)
    found = read_output(written(tmp_path / "a.bin", np.ascontiguousarray(blocks)), EXPECTED)
    assert np.array_equal(found.array, EXPECTED.astype(np.float16)) and "NC1HWC0" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.npy", b"\x93NUMPY", "not a sound .npy file"),
        ("a.npy", b"", "not a sound .npy file"),
        ("a.txt", b"1 2 3", "3 numbers, expected 456: truncated, 453 short"),
        ("a.txt", b"x " * 456, "a text with words that are no numbers"),
        ("a.bin", bytes(8000), "8000 bytes, expected 1824"),
    ],
)
def test_a_broken_file(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableError) as caught:
        read_output(tmp_path / name, EXPECTED)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


# -- inputs


def test_several_inputs_and_a_fixed_batch(cli: Cli) -> None:
    graph = model("g (float[2,4] x, int64[2,1] n) => (float[2,4] y) { f = Cast<to = 1>(n) y = Mul(x, f) }")
    graph.save(cli.folder / "m.onnx")
    for folder in ("xs", "ns", "out"):
        (cli.folder / folder).mkdir()
    for k in range(3):
        x = np.arange(4, dtype=np.float32) + k
        x.tofile(cli.folder / f"xs/s{k}.bin")
        np.array([k + 1], np.int64).tofile(cli.folder / f"ns/s{k}.bin")
        (x * (k + 1)).tofile(cli.folder / f"out/s{k}_output_0.bin")
    out = cli.ok("compare", "m.onnx", "out", "--inputs", "xs", "--inputs", "n=ns")
    assert out.count("equal") == 3, "three samples in runs of two, the last of which is half full"


BAD: list[tuple[list[str], str]] = [
    (["out"], "give --inputs DIR"),
    (["out", "--inputs", "gone"], "--inputs: no folder 'gone'"),
    (["gone", "--inputs", "in"], "no folder 'gone'"),
    (["out", "--inputs", "empty"], "--inputs: folder 'empty' holds no .bin and no .npy"),
    (["empty", "--inputs", "in"], "'empty': no output file of any sample, such as berlin_000000_1_1.bin"),
    (["out", "--inputs", "in", "--inputs", "in"], "the model has 1 inputs, 'image'; one folder each"),
    (["out", "--inputs", "in", "--dtype", "half"], "--dtype half: 'half' is none of bfloat16"),
    (["out", "--inputs", "in", "--dtype", "scoers=float16"], "no output 'scoers'; did you mean 'scores'?"),
    (["out", "--inputs", "in", "--map", "a=scores"], "--map a=scores: expected NUMBER=OUTPUT"),
    (["out", "--inputs", "in", "--map", "9=scores"], "no file is numbered 9"),
    (["out", "--inputs", "in", "--map", "1=scoers"], "no output 'scoers'; did you mean 'scores'?"),
    (["out", "--inputs", "in", "--max", "scoers:max_abs=1"], "no output named 'scoers' was compared"),
    (["out", "--inputs", "in", "--layers"], "--layers: a model and a folder are compared on --inputs"),
    (["m.onnx", "--pytorch", "out"], "--pytorch: they are about a folder of files"),
]


def test_bad_words(desk: Desk) -> None:
    desk.board()
    (desk.folder / "empty").mkdir()
    for stem in STEMS:
        desk.put(f"small/{stem}.bin", np.zeros(3, np.float32))
    for words, says in BAD:
        assert says in desk.cli.refused("compare", "m.onnx", *words), words
    says = desk.cli.refused("compare", "m.onnx", "out", "--inputs", "small")
    assert (
        "'out': no file could be compared; the first: berlin_000000_1: input file 'small/berlin_000000_1.bin'" in says
    )


def test_two_files_of_one_output(tmp_path: Path) -> None:
    for name in ("a_1.bin", "a_1.npy"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FeedError, match=r"'a_1\.bin' and 'a_1\.npy' are one output"):
        outputs_of(tmp_path, ["a"])
    (tmp_path / "a_1.npy").unlink()
    assert outputs_of(tmp_path, ["a"]).first == 1


def test_what_is_no_tensor_of_numbers_and_what_is_empty(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no tensor of numbers"):
        read_output(written(tmp_path / "a.bin", EXPECTED), np.array(["a", "b"], object))
    assert read_output(written(tmp_path / "b.bin", EXPECTED[:, :0]), EXPECTED[:, :0]).array.shape == (1, 0, 4, 6)
