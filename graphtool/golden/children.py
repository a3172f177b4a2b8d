"""All records checked, each in a process of its own: one that crashes or hangs is a row of the table. Floor 5."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from graphtool.errors import show
from graphtool.golden.checking import Options
from graphtool.golden.entry import failed
from graphtool.guard import phases
from graphtool.kernels import THREADS

COMMAND = (sys.executable, "-m", "graphtool.cli.main")
TIME_LIMIT = 3600.0  # seconds for a record, where nothing guards the child; its own limits are those of every command
_LONG = 2000  # characters of what a child said last


def check_all(
    names: Sequence[str],
    folder: Path,
    options: Options,
    jobs: int | None = None,
    time_limit: float = TIME_LIMIT,
    watch: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Check the records ``names`` in ``folder``, ``jobs`` at a time (default: one a core); return each as plain data.

    The cores are shared out among them. ``time_limit`` is in seconds for each record.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = max(1, min(jobs or cores, len(names)))
    environment = {THREADS: str(max(1, cores // jobs)), **os.environ}
    done: dict[str, dict[str, Any]] = {}
    phases.waits()
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(check_one, name, folder, options, time_limit, environment): name for name in names}
        try:
            for future in as_completed(running):
                done[running[future]] = future.result()
                watch(f"golden records: {len(done)} of {len(names)}")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [done[name] for name in names]


def check_one(
    name: str,
    folder: Path,
    options: Options,
    time_limit: float = TIME_LIMIT,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Check one record in a child and return it as the entry of ``golden check --json``."""
    words = [*COMMAND, "golden", "check", name, f"--dir={folder}", "--json"]
    words += ["--allow-missing"] * options.allow_missing + ["--allow-commands"] * options.commands
    try:
        ended = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=time_limit, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return failed(name, f"no result within {time_limit:g} s")
    except OSError as error:
        return failed(name, f"no process could be started: {error.strerror}")
    if ended.returncode in (0, 1) and (entry := _entry(ended.stdout, name)) is not None:
        return entry
    last = ended.stderr.strip().rpartition("\n")[2].removeprefix("graphtool: ")
    if ended.returncode < 0:
        return failed(name, f"the check was ended by {_signal(-ended.returncode)}" + (f": {last}" if last else ""))
    return failed(name, show(last, _LONG) or f"the check ended with exit code {ended.returncode}")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _entry(text: str, name: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(text)["records"][0]
    except (ValueError, LookupError, TypeError):
        return None
    return entry if isinstance(entry, dict) and entry.get("name") == name else None
