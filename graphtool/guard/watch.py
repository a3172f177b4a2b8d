"""The supervisor's eyes: what a child says, how much memory it and its children hold, how long a phase has taken.

Linux only: it reads /proc.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from graphtool.errors import quoted, show
from graphtool.guard.limits import SECONDS, Limits, size_text

TICK = 0.05  # seconds between two looks
_FAMILY_TICKS = 10  # looks between two searches for children of the child
_GRACE = 10.0  # seconds beyond what a phase asks for: it has a limit of its own
_TIMES = 10  # a phase may take as many times the longest before it
_TAIL = 4096  # bytes kept of what native libraries print


class Watch:
    """Watches one child: its pipe of messages, its pipe of chatter, its memory and time."""

    def __init__(self, pid: int, messages: int, chatter: int, limits: Limits) -> None:
        self.pid = pid
        self.limits = limits
        self.bytes = limits.bytes
        self.phase = ""
        self.files: list[str] = []
        self.made: dict[str, None] = {}  # what to remove should the child die, in order
        self.fault = ""  # why it was killed
        self.interrupted = False
        self.over = False  # it came to its end, and was not ended by some code that it called
        self._pipes = {messages: b"", chatter: b""}
        self._messages, self._chatter = messages, chatter
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
        self._allowed = self._asked = self._taken = self._longest = 0.0
        self._looked = time.monotonic()
        self._ticks = 0
        self._paused = False  # it waits for whoever reads its output
        self._family = [pid]

    # -- what the child says

    def listen(self) -> None:
        """Take in what has been said since the last look."""
        for pipe in self._pipes:
            with contextlib.suppress(BlockingIOError):
                while got := os.read(pipe, 65536):
                    self._pipes[pipe] = (self._pipes[pipe] + got)[-_TAIL if pipe == self._chatter else 0 :]
        *lines, self._pipes[self._messages] = self._pipes[self._messages].split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                self._heard(line.decode("utf-8", "surrogateescape").split("\t"))

    def _heard(self, message: list[str]) -> None:
        match message:
            case "phase", seconds, text:
                if self.phase:  # before the first one modules were imported
                    self._longest = max(self._longest, self._taken)
                self._taken, self._asked, self.phase = 0.0, float(seconds), text
            case "anew", _:
                self.files.clear()
            case "file", path:
                self.files.append(path)
            case ["pause" | "resume" as which]:
                self._paused = which == "pause"
            case "allow", seconds:
                self._allowed += float(seconds)
            case "made", path:
                self.made[path] = None
            case "kept", path:
                self.made.pop(path, None)
            case ["over"]:
                self.over = True
            case "limits", memory, seconds:
                self.limits = Limits(
                    int(memory) if memory else self.limits.memory, float(seconds) if seconds else self.limits.seconds
                )
                self.bytes = self.limits.bytes

    @property
    def seconds(self) -> float:
        """How long the phase under way may take; 0 for no limit."""
        if self.limits.seconds is not None and self.phase:
            return self.limits.seconds
        return max(SECONDS + self._allowed + _TIMES * self._longest, self._asked and self._asked + _GRACE)

    # -- what it takes

    def look(self) -> None:
        """Listen, then kill the child where it is over a limit; :attr:`fault` says which."""
        self.listen()
        now = time.monotonic()
        if not self._paused:
            self._taken += min(now - self._looked, 20 * TICK)  # a stopped or suspended process takes no time
        self._looked = now
        if self._ticks % _FAMILY_TICKS == 0:
            self._family = family(self.pid)
        self._ticks += 1
        if self.bytes and sum(map(resident, self._family)) > self.bytes:
            self.kill(
                f"was stopped: it took more than {size_text(self.bytes)} of memory; --memory-limit SIZE allows more"
            )
        elif self.seconds and self._taken > self.seconds:
            self.kill(
                f"was stopped after {self.seconds:.0f} seconds: it hangs, or needs longer; "
                "--time-limit SECONDS gives it more"
            )

    def kill(self, fault: str = "") -> None:
        """End the child and all that it has started."""
        self.fault = self.fault or fault
        for pid in family(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- how it ended

    def clean(self) -> None:
        """Remove what a dead child left half done."""
        self.listen()
        for name in reversed(self.made):
            path = Path(name)
            with contextlib.suppress(OSError):
                if not path.is_dir() or path.is_symlink():
                    path.unlink()
                elif os.listdir(path):  # noqa: PTH208
                    import shutil

                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.rmdir()
        self.made.clear()

    def told(self, status: int) -> str:
        """Return in one line how the child died; ``status`` is the negative number of the signal, or its exit code."""
        what = f"{', '.join(map(quoted, self.files))}{': ' if self.files else ''}{self.phase or 'the start'}"
        if self.fault:
            return f"{what} {self.fault}"
        if status == -signal.SIGKILL:
            return f"{what} was killed (SIGKILL), most likely because the machine ran out of memory"
        name = next((known.name for known in signal.Signals if known == -status), f"signal {-status}")
        how = f"crashed ({name})" if status < 0 else f"ended with exit code {status} and said nothing"
        last = self._pipes[self._chatter].decode("utf-8", "replace").strip().splitlines()
        return f"{what} {how}" + (f": {show(last[-1].strip(), 200)}" if last and status < 0 else "")


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it, itself first."""
    found = [pid]
    for one in found:  # grows on the way
        found += _children(one)
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 (twenty times a second)
    except OSError:
        return
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
            yield from map(int, file.read().split())


def resident(pid: int) -> int:
    """Return the bytes of memory that a process alone holds: not those of mapped files, which can be dropped."""
    total = 0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith((b"RssAnon:", b"RssShmem:", b"VmSwap:")):
                total += int(line.split()[1]) * 1024
    return total
