"""Where the model of a record comes from, and finding it again. Floor 5.

A record may hold a command. One that is not graphtool's own way to build a reference network is only run where the
caller allows it: a record comes out of a repository, and checking it must not run what a stranger wrote into it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from graphtool.errors import GoldenError, quoted, show
from graphtool.golden.records import Source
from graphtool.guard import phase

MODEL = "{model}"
_PATIENCE = 3600.0  # seconds for a command
_VARIABLE = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)
_HARMLESS = re.compile(r"[\w=-]+", re.ASCII)


class MissingModelError(GoldenError):
    """The model of a record is not here."""


def path_source(model: Path, target: Path) -> Source | None:
    """Return ``model`` relative to the folder of its record; None where it lies neither below this folder nor beside
    the records, so that no path of this machine gets into a record.
    """
    file = Path(os.path.realpath(model))  # resolve would raise for a link to itself
    roots = (Path.cwd().resolve(), target.parent.parent.resolve())
    if not any(file.is_relative_to(root) and target.resolve().is_relative_to(root) for root in roots):
        return None
    return Source("path", Path(os.path.relpath(file, target.resolve())).as_posix())


def variable_source(name: str) -> Source:
    """Return the source that is an environment variable; raises GoldenError for what is no name of one."""
    if not _VARIABLE.fullmatch(name):
        raise GoldenError(f"{quoted(name)} is no name of an environment variable")
    return Source("variable", name)


def command_source(text: str) -> Source:
    """Return the source that is a command; raises GoldenError where it does not say where the model goes."""
    if sum(MODEL in word for word in _words(text)) != 1:
        raise GoldenError(f"{quoted(text)}: write {MODEL} once, for the file that the command is to write")
    return Source("command", text)


@contextmanager
def found(source: Source, target: Path, commands: bool = False) -> Iterator[Path]:
    """Give the model of the record in ``target``; what a command makes is gone at the end.

    ``commands``: whether any command may run. Raises MissingModelError where there is none, GoldenError for a command
    that may not run or fails.
    """
    if source.kind == "command":
        with tempfile.TemporaryDirectory(prefix="graphtool-") as folder:
            model = Path(folder, "model.onnx")
            _run(source.text, model, commands)
            yield model
        return
    if source.kind == "variable":
        value = os.environ.get(source.text, "")
        if not value:
            raise MissingModelError(f"the environment variable {source.text}, which names the model, is not set")
        model = Path(value)
    else:
        model = target / source.text
    if not model.is_file():
        raise MissingModelError(f"the model is not there: {show(os.path.normpath(model))}")
    yield model


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise GoldenError(f"{quoted(text)}: not words of a shell: {show(error)}") from None


def _harmless(words: Sequence[str]) -> bool:
    """Whether a command is ``graphtool zoo NAME {model}`` with plain options: it writes one file, which we name."""
    return words[:2] == ["graphtool", "zoo"] and all(w == MODEL or _HARMLESS.fullmatch(w) for w in words)


def _run(text: str, model: Path, commands: bool) -> None:
    words = _words(text)
    if not commands and not _harmless(words):
        raise GoldenError(f"the model is made by the command {quoted(text)}; --allow-commands runs it")
    own = [sys.executable, "-m", "graphtool.cli.main"] if words[0] == "graphtool" else words[:1]
    try:
        with phase("making the model", _PATIENCE):
            done = subprocess.run(
                own + [word.replace(MODEL, str(model)) for word in words[1:]],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            )  # fmt: skip
    except OSError as error:
        raise GoldenError(f"the command {quoted(text)} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise GoldenError(f"the command {quoted(text)} ended with exit code {done.returncode}: {show(last, 300)}")
    if not model.is_file():
        raise GoldenError(f"the command {quoted(text)} wrote no model to {MODEL}")
