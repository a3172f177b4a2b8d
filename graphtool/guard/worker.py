"""Calls in a process of their own, one after another: a call that dies is an error here, and the next one goes on.

For work on many models: one :class:`Worker` a thread, each call under limits of its own. Started anew and not forked,
since onnxruntime's threads do not survive a fork: about a second for the first call, nothing for the next.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from graphtool.errors import GraphtoolError, UsageError, quoted, show
from graphtool.guard.limits import Limits
from graphtool.guard.phases import anew
from graphtool.guard.watch import TICK, Watch

T = TypeVar("T")

_LENGTH = struct.Struct("<Q")


class GuardError(GraphtoolError):
    """A guarded process crashed, or was stopped at a limit of memory or time."""


class Worker:
    """A guarded process, started at the first call; a context manager that ends it.

    ``limits`` are those of the process as a whole for memory, and of each phase for time. On systems other than Linux
    calls run in this process, without limits.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        self._pipes: tuple[int, ...] = ()
        self._answers = -1

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Return ``function(*arguments)``, or raise what it raises.

        Function, arguments and result must be what ``pickle`` takes: a function of a module, plain data. Raises
        GuardError with one line where the process dies or is stopped, UsageError for a function of the script itself.
        """
        if getattr(function, "__module__", None) == "__main__":
            name = quoted(getattr(function, "__name__", "the function"))
            raise UsageError(f"{name} is in the script that runs, which a worker does not import; put it into a module")
        if sys.platform != "linux":
            return function(*arguments)
        if self._process is None:
            self._start()
        request = pickle.dumps((function, arguments))
        process, watch = self._process, self._watch
        assert process is not None and process.stdin is not None and watch is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                _send(process.stdin, request)
            answer = self._answer(watch)
        except BaseException:
            self.close()
            raise
        if answer is None:
            status = process.wait()
            watch.clean()
            message = watch.told(status)
            self.close()
            raise GuardError(message)
        fine, value = pickle.loads(answer)
        if not fine:
            raise value
        return value  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process."""
        process, watch, self._process = self._process, self._watch, None
        if process is None or watch is None:
            return
        watch.kill()
        process.wait()
        watch.clean()
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        for pipe in self._pipes:
            os.close(pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        from graphtool.guard.command import temporary_folder

        folder = temporary_folder()
        (life, held), (messages, told), (chatter, printed), (answers, answered) = (os.pipe() for _ in range(4))
        given = (life, told, printed, answered)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, *map(str, given), folder or ""],
            stdin=subprocess.PIPE,
            pass_fds=given,
        )
        for pipe in given:
            os.close(pipe)
        self._pipes, self._answers = (held, messages, chatter, answers), answers
        self._watch = Watch(self._process.pid, messages, chatter, self._limits)
        if folder is not None:
            self._watch.made[folder] = None
        assert self._process.stdin is not None
        _send(self._process.stdin, pickle.dumps((sys.path, self._limits)))

    def _answer(self, watch: Watch) -> bytes | None:
        """Return the answer, or None where the process has ended."""
        got = b""
        while len(got) < _LENGTH.size or len(got) < _LENGTH.size + _LENGTH.unpack_from(got)[0]:
            if select.select([self._answers], [], [], TICK)[0]:
                part = os.read(self._answers, 1 << 20)
                if not part:
                    return None
                got += part
            watch.look()
        return got[_LENGTH.size :]


def call(function: Callable[..., T], *arguments: object, limits: Limits | None = None) -> T:
    """Return ``function(*arguments)``, computed in a guarded process of its own; see :meth:`Worker.call`."""
    with Worker(limits) as worker:
        return worker.call(function, *arguments)


_MAIN = """
import sys, pickle
from graphtool.guard.worker import serve
serve(sys.argv[1:])
"""


def serve(words: list[str]) -> None:
    """Answer calls until there are none; what runs in the worker."""
    from graphtool.guard.child import settle

    life, told, printed, answered = map(int, words[:4])
    requests = os.fdopen(os.dup(0), "rb")
    sys.path[:], limits = pickle.loads(_received(requests))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who called is interrupted, and ends this
    settle(life, told, printed, words[4] or None, limits)
    with os.fdopen(answered, "wb") as answers:
        while request := _received(requests):
            try:
                function, arguments = pickle.loads(request)
                anew(getattr(function, "__name__", "the call"))
                answer = pickle.dumps((True, function(*arguments)))
            except Exception as error:
                answer = pickle.dumps((False, _portable(error)))
            _send(answers, answer)


def _portable(error: Exception) -> Exception:
    """Return the error as one that can be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return GraphtoolError(str(error) if isinstance(error, GraphtoolError) else show(repr(error), 500))
    return error


def _send(file: IO[bytes], data: bytes) -> None:
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def _received(file: IO[bytes]) -> Any:
    head = file.read(_LENGTH.size)
    return file.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
