"""How much memory and time a guarded process may take: what a user says, and what holds where nothing is said."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from graphtool.errors import UsageError, show

SECONDS = 30.0  # of one phase, for a model of a few nodes; more nodes and bytes allow more
_SHARE = 0.9  # of the memory that the machine, or the container, has
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Limits(NamedTuple):
    """``memory`` in bytes, of a process and those it starts together; ``seconds`` of wall time for one phase.

    None is the default: of memory a share of what there is, of time what :class:`graphtool.guard.watch.Watch` computes
    from the model's size and what earlier phases took. 0 is no limit.
    """

    memory: int | None = None
    seconds: float | None = None

    @property
    def bytes(self) -> int:
        """The limit of memory in bytes; 0 for none."""
        return int(available() * _SHARE) if self.memory is None else self.memory


def of_environment() -> Limits:
    """Return the limits of GRAPHTOOL_MEMORY_LIMIT and GRAPHTOOL_TIME_LIMIT; raises UsageError."""
    memory, seconds = os.environ.get("GRAPHTOOL_MEMORY_LIMIT"), os.environ.get("GRAPHTOOL_TIME_LIMIT")
    return Limits(
        size_of(memory, "GRAPHTOOL_MEMORY_LIMIT") if memory else None,
        seconds_of(seconds, "GRAPHTOOL_TIME_LIMIT") if seconds else None,
    )


def say(memory: str | None, seconds: str | None) -> None:
    """Take the limits of the command line: this process holds the one of memory, the supervisor both."""
    from graphtool.guard import phases

    size = None if memory is None else size_of(memory, "--memory-limit")
    time = None if seconds is None else seconds_of(seconds, "--time-limit")
    if (size is not None or time is not None) and phases.connected():
        from graphtool.guard.child import limit_memory

        for name, given in (("GRAPHTOOL_MEMORY_LIMIT", memory), ("GRAPHTOOL_TIME_LIMIT", seconds)):
            if given is not None:
                os.environ[name] = given  # graphtool in a process that this one starts has them too
        if size is not None:
            limit_memory(Limits(size))
        phases.tell("limits", "" if size is None else size, "" if time is None else time)


def size_of(text: str, option: str) -> int:
    """Return ``500M`` or ``8G`` in bytes; raises UsageError, which names ``option``."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise UsageError(f"{option} {show(text)}: expected a size such as 500M or 8G, or 0 for no limit")
    size = int(float(found[1]) * _UNITS[found[2].upper()])
    if 0 < size < 2**26:
        raise UsageError(f"{option} {show(text)}: less than 64M, which Python alone needs")
    return size


def seconds_of(text: str, option: str) -> float:
    """Return a number of seconds; raises UsageError, which names ``option``."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)s?", text.strip())
    if not found:
        raise UsageError(f"{option} {show(text)}: expected seconds such as 90, or 0 for no limit")
    return float(found[1])


def size_text(size: int) -> str:
    """Return a size as it is said: ``20.7 GiB``, ``500 MiB``."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def available() -> int:
    """Return the memory in bytes that the machine has, or the container where that is less."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_cgroup_limits()])


def _cgroup_limits() -> Iterator[int]:
    """Yield the memory limits of the control groups around this process, of version 1 and 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, inner = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup")
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        folder = root / inner.lstrip("/")
        while folder == root or root in folder.parents:
            try:
                text = (folder / file).read_text().strip()
            except OSError:
                text = ""
            if text.isdecimal() and 0 < int(text) < 2**60:  # version 1 says "none" by a number near 2**63
                yield int(text)
            folder = folder.parent
