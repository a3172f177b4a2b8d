"""What a guarded child does to itself before it works: limits that the kernel holds, and streams of its own."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

from graphtool.guard import phases
from graphtool.guard.limits import Limits

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_STACK = 64 << 20  # bytes; recursive C++ code (onnx, onnxruntime) on a deep graph needs more than the usual 8 MiB
_SLACK = 1 << 30  # bytes of addresses beyond the limit of memory: what is reserved is not all used


def settle(lifeline: int, messages: int, chatter: int, folder: str | None, limits: Limits) -> None:
    """Prepare this process: it dies with its supervisor, leaves no core file, and is the first that the kernel kills.

    ``lifeline`` is the read end of a pipe that the supervisor holds open, ``messages`` and ``chatter`` are write ends,
    ``folder`` takes all temporary files.
    """
    # when the supervisor is gone its end closes and the kernel sends SIGIO, which ends even a process stuck in C
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    _lower(resource.RLIMIT_CORE, 0)
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK if hard < 0 else min(_STACK, hard), hard))
    limit_memory(limits)
    phases.connect(messages)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = _own(getattr(sys, name), number, chatter)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.close(chatter)
    if folder is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = folder


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """Interrupt once: a signal to the group and one passed on must not interrupt the putting in order as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    phases.interrupted = True
    raise KeyboardInterrupt


def limit_memory(limits: Limits) -> None:
    """Let an allocation beyond the limit fail at once: the error then says where."""
    if limits.bytes:
        _lower(resource.RLIMIT_DATA, limits.bytes + _SLACK)


def _lower(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))


def _own(stream: TextIO | None, number: int, chatter: int) -> TextIO | None:
    """Give Python's ``stream`` a descriptor of its own, and send what native code writes to ``number`` to ``chatter``.

    onnxruntime and protobuf print warnings, and a message when they abort; none of it belongs among results.
    """
    try:
        if stream is None or stream.fileno() != number:
            return stream
    except (OSError, ValueError):  # a stream without a descriptor
        return stream
    stream.flush()
    own = os.dup(number)
    os.dup2(chatter, number)
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(own, "wb")),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty() or number == 2,
    )


class _Patient(io.FileIO):
    """A descriptor; the time until somebody reads on (``| less``) is not the time of the phase."""

    def write(self, data: Buffer, /) -> int:
        phases.tell("pause")
        try:
            return super().write(data)
        finally:
            phases.tell("resume")
