"""What a process is at, for whoever has to say where it died. In an unguarded process only this process knows.

Messages to the supervisor are lines on a pipe: a kind, fields, tabs in between.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LONGEST = 300  # characters: a message fits into a pipe in one piece
_FILES = 3  # files that are named

_pipe: int | None = None
_under_way = [""]  # what was begun, outermost first
_files: list[str] = []  # the models that this is about
interrupted = False  # whether Ctrl-C came, which may end in an error that native code makes of it


def connect(pipe: int) -> None:
    """Tell the supervisor at the other end of ``pipe`` from now on."""
    global _pipe  # noqa: PLW0603 (one process has one supervisor)
    _pipe = pipe


def connected() -> bool:
    """Whether this process has a supervisor."""
    return _pipe is not None


def tell(kind: str, *fields: object) -> None:
    """Send one message; without a supervisor, or when it is gone, nothing happens."""
    if _pipe is None:
        return
    words = (str(field)[:4096].replace("\t", " ").replace("\n", " ") for field in fields)
    with suppress(OSError):  # whoever should know may be gone
        os.write(_pipe, ("\t".join((kind, *words)) + "\n").encode("utf-8", "surrogateescape"))


def about(path: object) -> None:
    """Say which file is worked on: it is named wherever this process dies."""
    text = str(path)[:_LONGEST]
    if text not in _files and len(_files) < _FILES:
        _files.append(text)
        tell("file", text)


def begin(text: str, seconds: float = 0) -> None:
    """Say what the command as a whole is at now, such as ``pass fold_constants``; ``seconds`` as for :func:`phase`."""
    _under_way[0] = text[:_LONGEST]
    _say(seconds)


def anew(text: str) -> None:
    """Begin something that has nothing to do with the files of before."""
    _files.clear()
    tell("anew", "")
    begin(text)


@contextmanager
def phase(text: str, seconds: float = 0) -> Iterator[None]:
    """Say what is at work inside the block; ``seconds`` is the time it may take at least, should the limit be lower."""
    _under_way.append(text[:_LONGEST])
    _say(seconds)
    try:
        yield
    except BaseException as error:
        if not hasattr(error, "graphtool_phase"):  # the innermost
            error.graphtool_phase = where()  # type: ignore[attr-defined]
        raise
    finally:
        _under_way.pop()
        _say()


def allow(seconds: float) -> None:
    """Allow each phase from now on so much more time: the model is large."""
    tell("allow", f"{seconds:.3f}")


def waits() -> None:
    """Say that this process only waits, for a user or for others with limits of their own: it does not hang."""
    tell("limits", "", 0)


@contextmanager
def temporary(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let the supervisor remove a file or folder should this process die inside the block."""
    full = os.path.abspath(path)  # noqa: PTH100 (of what is not there yet)
    tell("made", full)
    try:
        yield
    finally:
        tell("kept", full)


def where(error: BaseException | None = None) -> str:
    """Return what is under way, or what was when ``error`` was raised, such as ``loading``; may be empty."""
    found: str = getattr(error, "graphtool_phase", "") or _said()
    return found


def files() -> list[str]:
    """Return the models that this process has been told of."""
    return list(_files)


def _said() -> str:
    """Return what is under way in words: the outermost, and in it the innermost."""
    found = [part for part in dict.fromkeys((_under_way[0], _under_way[-1])) if part]
    return f"{found[0]} ({found[1]})" if len(found) == 2 else "".join(found)


def _say(seconds: float = 0) -> None:
    tell("phase", f"{seconds:.3f}", where())
