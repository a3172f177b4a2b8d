"""The command line as the tests of it call it: in this process, or for real in a child."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.parser

from graphtool.cli.main import main

HEADER = '<ir_version: 8, opset_import: ["": 13]>\n'

# A convolution whose output is an output too, and a linear Resize: what most tests of the commands need.
NET = """g (float[1,3,8,16] x) => (float[1,4,16,32] y, float[1,4,8,16] z)
<float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] s = {1,1,2,2}> {
  [conv] z = Conv(x, w)
  [up] y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(z, , s)
}"""
RELU = "g (float[1,3] x) => (float[1,3] y) { [relu] y = Relu(x) }"

# exact is a lie: numbers change wherever x is negative
LIE = """summary = "Abs in place of Relu"
why = "to be caught"
parity = "exact"
[[rewrite]]
match = "y = Relu(x)"
replace = "y = Abs(x)"
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return stdout, which must be JSON and nothing else."""
        return json.loads(self.out)


class Cli:
    """graphtool, run in this process in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str | Path) -> Ended:
        """Run ``graphtool WORDS...`` in the folder."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n", write_through=True) for _ in range(2))
        argv, sys.argv = sys.argv, ["graphtool", *map(str, words)]
        code = 0
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        finally:
            sys.argv = argv
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return Ended(code, *texts)

    def ok(self, *words: str | Path) -> str:
        """Run a command that must end with 0 and say nothing on stderr; return its stdout."""
        ended = self(*words)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.out

    def apart(self, *words: str | Path) -> str:
        """Run a comparison whose models must differ: exit code 1 and one line on stderr; return its stdout."""
        ended = self(*words)
        assert ended.code == 1 and ended.err.startswith("graphtool: the models differ: output "), ended
        assert ended.err.count("\n") == 1
        return ended.out

    def save(self, name: str, text: str = NET, header: str = HEADER) -> Path:
        """Write a model given as ONNX text; return its path as the command line takes it."""
        onnx.save(onnx.parser.parse_model(text if text.lstrip().startswith("<") else header + text), self.folder / name)
        return Path(name)

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file."""
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return Path(name)

    def listing(self) -> dict[str, str]:
        """Return every file and folder with a digest of its content."""
        found = sorted(self.folder.rglob("*"))
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in found
        }

    def refused(self, *words: str | Path) -> str:
        """Run a command that must be refused: exit code 2, one line on stderr, nothing else said, nothing written."""
        before = self.listing()
        ended = self(*words)
        assert ended.code == 2, ended
        assert ended.out == ""
        assert ended.err.startswith("graphtool: ") and ended.err.count("\n") == 1, ended.err
        assert fit_for_a_terminal(ended.err)
        assert self.listing() == before
        return ended.err.removeprefix("graphtool: ").rstrip("\n")


def fit_for_a_terminal(text: str) -> bool:
    """Whether nothing in ``text`` but its line ends is a control, bidirectional or other unprintable character."""
    return all(letter.isprintable() or letter == "\n" for letter in text)


def child(words: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a child process, as a shell in ``cwd`` would."""
    folder = str(Path(sys.executable).parent)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, "PATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
