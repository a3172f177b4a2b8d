"""How much work a call does, counted and not timed: the same on every machine, so that growth can be asserted."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGE = str(Path(__file__).parents[1] / "graphtool")
_MEASURED = (list, set, dict, frozenset)
# methods that look at, or move, every element: of a list, and of a repeated protobuf field
_WALKING = {"copy", "count", "extend", "index", "insert", "remove", "reverse", "sort"}
_MOST = 20_000_000  # no test needs as much: what never ends, ends here


class TooMuchError(AssertionError):
    """More work than the test allows; raised where the work is done, so that an endless loop ends."""


class _Counter:
    """Counts what is done in graphtool: lines run, elements of containers made, elements that a method walks over.

    Each container that a local variable holds, or a tuple in one, counts once with its length when its function
    returns: a copy of a large set a call is seen although no line of Python makes it.
    """

    def __init__(self, most: int) -> None:
        self.done = 0
        self.most = most
        self.seen: dict[int, Any] = {}  # the containers themselves too: an id is free again when its object is gone

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            return self.trace if frame.f_code.co_filename.startswith(_PACKAGE) else None
        if event == "line":
            self.add(1)
        elif event == "return":
            for value in list(frame.f_locals.values()):
                for one in value if type(value) is tuple and len(value) < 10 else (value,):
                    if isinstance(one, _MEASURED) and id(one) not in self.seen:
                        self.seen[id(one)] = one
                        self.add(len(one))
        return self.trace

    def profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in _WALKING and frame.f_code.co_filename.startswith(_PACKAGE):
            owner = called.__self__
            if not isinstance(owner, str | bytes) and hasattr(owner, "__len__"):
                self.add(len(owner))

    def add(self, count: int) -> None:
        self.done += count
        if self.done > self.most:
            raise TooMuchError(f"more than {self.most} steps")


def work(action: Callable[[], object], most: int = _MOST) -> int:
    """Return how many steps ``action`` takes inside graphtool; raises TooMuchError above ``most``."""
    counter = _Counter(most)
    before = sys.gettrace(), sys.getprofile()
    sys.setprofile(counter.profile)
    sys.settrace(counter.trace)
    try:
        action()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return counter.done


@contextmanager
def little_memory(more: int) -> Iterator[None]:
    """Let this process have ``more`` bytes of addresses beyond what it has: a larger allocation fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
