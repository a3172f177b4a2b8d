"""Python code in a child process: a crash, a hang or an exhausted memory there is an answer here, not a dead tool."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from graphtool import guard

# the child limits itself: code between fork and exec is not safe in a process with threads, which onnxruntime starts
_LIMITS = """
import resource
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
most = {memory} if hard == resource.RLIM_INFINITY else min({memory}, hard)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
"""


class Ended(NamedTuple):
    """How a child ended. ``signal`` is the name of what killed it, ``code`` its exit code, ``said`` its last words."""

    code: int
    said: str = ""
    signal: str = ""
    late: bool = False  # stopped for taking too long


def run(script: str, arguments: Sequence[str], seconds: int, memory: int) -> Ended:
    """Run Python source with ``arguments`` in ``sys.argv``, for at most ``seconds`` and ``memory`` bytes of addresses.

    The child reads no input, and takes no module from the current folder.
    """
    try:
        with guard.phase("computing in a child", seconds):
            child = subprocess.run(
                [sys.executable, "-P", "-c", _LIMITS.format(memory=memory) + script, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return Ended(-1, late=True)
    if child.returncode < 0:
        number = -child.returncode
        return Ended(
            child.returncode,
            signal=next((known.name for known in signal.Signals if known == number), f"signal {number}"),
        )
    lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
    return Ended(child.returncode, lines[-1] if lines else "it said nothing")
