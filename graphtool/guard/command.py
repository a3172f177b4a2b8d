"""A command in a child of its own: the parent waits, watches, passes signals on, and has the last word."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from graphtool.errors import show
from graphtool.guard import child, phases
from graphtool.guard.limits import Limits
from graphtool.guard.watch import TICK, Watch

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
_FAULT = 2
_PATIENCE = 5.0  # seconds in which an interrupted child may put things in order
_HEAVY = ("numpy", "onnx", "onnxruntime")  # they start threads, which a fork would lose


def possible() -> bool:
    """Whether this process can be forked: Linux, nothing heavy imported, no threads, GRAPHTOOL_GUARD is not ``off``."""
    return (
        sys.platform == "linux"
        and os.environ.get("GRAPHTOOL_GUARD") != "off"
        and not any(name in sys.modules for name in _HEAVY)
        and threading.active_count() == 1
    )


def run(action: Callable[[], None], limits: Limits) -> int:
    """Run ``action`` in a child and return the exit code: the child's own, or 2 after one line on why it died."""
    passed = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
    passed = {number for number in passed if signal.getsignal(number) != signal.SIG_IGN}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the child's status away
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*passed, signal.SIGCHLD})
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    folder = temporary_folder()
    (life, held), (messages, told), (chatter, printed) = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        for pipe in (held, messages, chatter):
            os.close(pipe)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _end(action, lambda: child.settle(life, told, printed, folder, limits))
    for pipe in (life, told, printed):
        os.close(pipe)
    watch = Watch(pid, messages, chatter, limits)
    if folder is not None:
        watch.made[folder] = None
    try:
        status = _wait(watch, {*passed, signal.SIGCHLD})
    finally:
        watch.clean()
        for pipe in (held, messages, chatter):
            os.close(pipe)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return _code(watch, status)


def temporary_folder() -> str | None:
    """Make the folder for all temporary files of the child; None where there is no place for one."""
    for parent in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp"):
        if parent:
            name = os.path.join(parent, f"graphtool-{os.urandom(8).hex()}")  # noqa: PTH118
            with contextlib.suppress(OSError):
                os.mkdir(name, 0o700)  # noqa: PTH102
                return name
    return None


def _end(action: Callable[[], None], prepare: Callable[[], None]) -> None:
    """Do the work of the child, which never comes back from here."""
    code = 1
    try:
        prepare()
        action()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except KeyboardInterrupt:
        code = INTERRUPTED
        with contextlib.suppress(OSError, ValueError):
            print("graphtool: interrupted", file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        import atexit

        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        phases.tell("over")
        os._exit(code)


def _wait(watch: Watch, signals: set[signal.Signals]) -> int:
    """Wait for the child; return its exit code, or the negative number of the signal that ended it."""
    patience = 0.0
    while True:
        got = signal.sigtimedwait(signals, TICK)
        pid, status = os.waitpid(watch.pid, os.WNOHANG)
        if pid:
            watch.listen()
            watch.interrupted = watch.interrupted or bool(signal.sigtimedwait({signal.SIGINT}, 0))
            return os.waitstatus_to_exitcode(status)
        if got is not None and got.si_signo != signal.SIGCHLD:
            now = time.monotonic()
            if patience and now > patience - _PATIENCE + 0.5:  # asked twice, not once in two ways
                watch.kill()
            patience = patience or now + _PATIENCE
            if got.si_code <= 0:  # from a process, to this one alone; what a terminal sends, the child has got too
                os.kill(watch.pid, got.si_signo)
        if patience and time.monotonic() > patience:  # native code holds it
            watch.kill()
        watch.look()
        watch.interrupted = watch.interrupted or (patience > 0 and not watch.fault)


def _code(watch: Watch, status: int) -> int:
    if status >= 0 and watch.over:
        return status
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr.isatty():  # a progress line may be half drawn, and the cursor hidden
            sys.stderr.write("\r\x1b[2K\x1b[?25h")
    if status in (-signal.SIGTERM, -signal.SIGHUP, -signal.SIGQUIT):  # whoever sent it expects this process to end so
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    message = "interrupted" if watch.interrupted else watch.told(status)
    with contextlib.suppress(OSError, ValueError):
        print(f"graphtool: {show(message, 2000)}", file=sys.stderr)
    return INTERRUPTED if watch.interrupted else _FAULT
