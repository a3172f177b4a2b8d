"""Saving is atomic and deterministic."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import graph_of

from graphtool.errors import ModelError
from graphtool.graph import Graph
from graphtool.graph import save as save_module

TEXT = "g (float[2] x) => (float[2] y) { y = Relu(x) }"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot write '.*/no/out\.onnx': No such file"):
        graph_of(TEXT).save(tmp_path / "no" / "out.onnx")


def test_a_folder_that_takes_no_files() -> None:
    with pytest.raises(ModelError, match=r"cannot write '/proc/out.onnx'"):
        graph_of(TEXT).save("/proc/out.onnx")


def test_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot write .*: Not a directory"):
        graph_of(TEXT).save(tmp_path / "file" / "out.onnx")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot write .*: File name too long"):
        graph_of(TEXT).save(tmp_path / ("n" * 300 + ".onnx"))
    graph_of(TEXT).save(tmp_path / ("名" * 80 + ".onnx"))  # 245 bytes
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("target", ["folder", "fifo", "."])
def test_a_target_that_is_no_file_stays(target: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    before = [(p.name, p.stat().st_ino) for p in sorted(tmp_path.iterdir())]
    with pytest.raises(ModelError, match=r"it is a folder|it is not a regular file"):
        graph_of(TEXT).save(tmp_path / target)
    assert [(p.name, p.stat().st_ino) for p in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ModelError, r"cannot write .*: No space left"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
@pytest.mark.parametrize("existing", [True, False])
def test_a_write_that_ends_early_leaves_what_was_there(
    raised: BaseException,
    expected: type[BaseException],
    message: str | None,
    existing: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "out.onnx"
    if existing:
        path.write_bytes(b"old")

    def chunks(serialised: bytes) -> tuple[Iterator[bytes], int]:
        def parts() -> Iterator[bytes]:
            yield serialised[:10]
            assert len(list(tmp_path.iterdir())) == 1 + existing  # half written, under another name
            raise raised

        return parts(), len(serialised)

    monkeypatch.setattr(save_module, "filled", chunks)
    with pytest.raises(expected, match=message):
        graph_of(TEXT).save(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == ([("out.onnx", b"old")] if existing else [])


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_mode_follows_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        graph_of(TEXT).save(tmp_path / "out.onnx")
        save_module.write_text(tmp_path / "out.txt", "line\n")
    finally:
        os.umask(before)
    for name in ("out.onnx", "out.txt"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


def test_text_keeps_its_line_ends(tmp_path: Path) -> None:
    save_module.write_text(tmp_path / "out.txt", "é\nb\n")
    assert (tmp_path / "out.txt").read_bytes() == b"\xc3\xa9\nb\n"


def test_a_path_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph_of(TEXT).save("out.onnx")
    assert [v.name for v in Graph.load("out.onnx").inputs] == ["x"]


EDIT = """
import sys
from onnx import helper
import numpy as np
from graphtool.graph import Graph, check
from graphtool.graph.sort import remove_unused
graph = Graph.load(sys.argv[1])
for slot in graph.index.slots_of_type("Relu"):
    node = graph.node(slot)
    mid = graph.names.fresh_value("mid")
    weight = graph.add_initializer("weight", np.ones(2, np.float32))
    graph.remove_node(slot)
    graph.add_node(helper.make_node("Mul", [node.input[0], weight], [mid], graph.names.fresh_node("mul")), slot, 0)
    graph.add_node(helper.make_node("Abs", [mid], list(node.output), graph.names.fresh_node("abs")), slot, 1)
graph.replace_uses("p", "q")
remove_unused(graph)
check(graph)
graph.save(sys.argv[2])
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    graph_of("""
        g (float[2] x, bool c) => (float[2] y)
        <float[2] p = {1, 2}, float[2] q = {3, 4}, float[2] unused_1 = {5, 6}, float[2] unused_2 = {7, 8}>
        {
            a = Relu(x)
            b = Relu(a)
            dead = Sum(unused_1, unused_2, p)
            y = If(c) <
                then_branch = t () => (float[2] o) { o = Sum(a, b, p, q, x) },
                else_branch = e () => (float[2] o) { o = Sum(q, p, b, a) }
            >
        }
    """).save(tmp_path / "in.onnx")
    for seed in ("1", "2", "3"):
        words = [sys.executable, "-c", EDIT, tmp_path / "in.onnx", tmp_path / f"{seed}.onnx"]
        subprocess.run(words, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
    saved = {(tmp_path / f"{seed}.onnx").read_bytes() for seed in ("1", "2", "3")}
    assert len(saved) == 1
    assert [n.op_type for n in Graph.load(tmp_path / "1.onnx").nodes] == ["Mul", "Abs", "Mul", "Abs", "If"]
