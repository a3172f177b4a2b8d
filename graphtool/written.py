"""Which files graphtool wrote, so that no other is overwritten unasked. Floor 1.

A result without ``-o`` goes to a default name; a file of that name that somebody else put there must stay. Nothing is
stamped into the model: a small record in the user's state folder (XDG Base Directory Specification) holds path, size
and time of each result.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from graphtool.errors import ModelError, quoted
from graphtool.graph.save import write_text

_MOST = 1000  # entries; the oldest go first


def _record_path() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "graphtool" / "written.json"


def _load() -> dict[str, list[int]]:
    try:
        found = json.loads(_record_path().read_text())
    except (OSError, ValueError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark(path: Path) -> list[int]:
    info = path.stat()
    return [info.st_size, info.st_mtime_ns]


def remember(path: Path) -> None:
    """Note that graphtool has just written ``path``."""
    record = _load()
    record.pop(str(path.resolve()), None)
    record[str(path.resolve())] = _mark(path)
    kept = dict(list(record.items())[-_MOST:])
    # without a record the next run asks for -o, which is no harm
    with contextlib.suppress(OSError, ModelError, RuntimeError):
        _record_path().parent.mkdir(parents=True, exist_ok=True)
        write_text(_record_path(), json.dumps(kept, indent=0))


def refuse_foreign(path: Path) -> None:
    """Raise ModelError where ``path`` exists and is not, unchanged, what graphtool wrote there."""
    if not os.path.lexists(path):
        return
    if not path.is_file() or _load().get(str(path.resolve())) != _mark(path):
        raise ModelError(f"{quoted(path)} exists and graphtool did not write it; name the result with -o")
