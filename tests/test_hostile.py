"""Every kind of wrong or hostile model, on the commands: exit code 0, 1 or 2, one line, no file, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clirun import RELU, Cli, Ended, fit_for_a_terminal
from hostile import DANGEROUS, KINDS

SAFE = [name for name in KINDS if name not in DANGEROUS]
# all of them on all kinds: python tests/fuzz_models.py --kinds
OTHERS: list[Callable[[str], list[str]]] = [
    lambda m: ["diff", m, "good.onnx"],
    lambda m: ["inspect", m, "--json"],
    lambda m: ["optimize", m, "-o", "r.onnx", "--json"],
    lambda m: ["atc", "emit", m, "--soc", "Ascend310", "-o", "a.sh"],
    lambda m: ["compare", "good.onnx", m],
    lambda m: ["passes", "explain", "fold_constants", m],
    lambda m: ["golden", "record", "new", m],
    lambda m: ["run", "-p", "optimize", "--no-check", m, "-o", "r.onnx"],
    lambda m: ["diff", "good.onnx", m, "--json"],
]


def held(ended: Ended, words: list[str]) -> None:
    """Whether a command ended as it must: never by an error of its own."""
    assert ended.code in (0, 1, 2), (words, ended)
    assert "internal error" not in ended.err and "Traceback" not in ended.err, (words, ended)
    assert fit_for_a_terminal(ended.err), (words, ended)
    if ended.code == 2:
        assert ended.err.startswith("graphtool: ") and ended.err.count("\n") == 1, (words, ended)
        assert ended.out == "", (words, ended)


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.fixture
def good(cli: Cli) -> Cli:
    cli.save("good.onnx", RELU)
    return cli


@pytest.mark.parametrize("name", SAFE)
def test_in_this_process(good: Cli, name: str) -> None:
    """Each kind on a command, every second on ``run``, which loads, checks, infers and runs it."""
    path = KINDS[name](good.folder)
    model = os.path.relpath(path) if path.is_relative_to(good.folder) else str(path)
    turn = SAFE.index(name)
    words = ["run", "-p", "remove_identity", model, "-o", "r.onnx"]
    if turn % 2:
        words = OTHERS[turn // 2 % len(OTHERS)](model)
    before = names()
    ended = good(*words)
    held(ended, words)
    if ended.code:  # a broken promise leaves what reproduces it
        left = {file for file in names() - before if ended.code == 2 or not file.endswith(".repro")}
        assert not left, (words, ended)


@pytest.mark.parametrize("name", sorted(DANGEROUS))
def test_in_a_process_of_its_own(good: Cli, tmp_path: Path, name: str) -> None:
    path = KINDS[name](good.folder)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = names()
    words = ["run", "-p", "remove_identity", path.name, "--time-limit", "2", "--memory-limit", "400M"]
    run = subprocess.run(
        [sys.executable, "-m", "graphtool.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(temporary)},
        timeout=600,  # the watchdog: the command itself must end
    )
    held(Ended(run.returncode, run.stdout, run.stderr), words)
    assert run.returncode == 2
    assert names() == before and not list(temporary.iterdir())


def test_there_are_many_kinds() -> None:
    assert len(KINDS) > 250
