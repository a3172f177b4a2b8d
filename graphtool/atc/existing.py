"""Files that people have: read with one clear line for each that cannot be used, and written back whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from graphtool.atc import configs
from graphtool.atc.against import against
from graphtool.atc.cann import Cann
from graphtool.atc.explain import Explained, explain
from graphtool.atc.finding import Finding
from graphtool.atc.toprofile import to_profile
from graphtool.errors import GraphtoolError, ProfileError, UsageError, quoted
from graphtool.graph import Graph
from graphtool.graph.save import write_text

_LIMIT = 64 << 20  # bytes; logs at level debug are long


def read_text(name: str) -> str:
    """Return the text of a file, or of stdin for ``-``; bytes that are no UTF-8 become a replacement character."""
    try:
        raw = sys.stdin.buffer.read(_LIMIT + 1) if name == "-" else _bytes(Path(name))
    except (OSError, ValueError) as why:
        raise UsageError(f"{quoted(name)}: {getattr(why, 'strerror', None) or why}") from None
    if len(raw) > _LIMIT:
        raise UsageError(f"{quoted(name)}: larger than {_LIMIT >> 20} MB")
    return raw.decode("utf-8", "replace")


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LIMIT + 1)


def run_explain(text: str, name: str, cann: str | None, model: Path | None) -> list[Explained]:
    """Explain every command in a text, against a release and a model where given."""
    version = Cann.parse(cann) if cann is not None else None
    try:
        found = explain(text, version)
    except UsageError as why:
        raise UsageError(f"{quoted(name)}: {why}") from None
    graph = Graph.load(model) if model is not None else None
    for one in found:
        if graph is not None:
            one.findings += against(one, graph, version)
        one.findings += _files(one, graph)
    return found


def _files(one: Explained, graph: Graph | None) -> Iterator[Finding]:
    """Yield what is wrong in the configurations that a command names, where they are here to be read."""
    for option in configs.FILES:
        path = Path(one.options.get(option, ""))
        if path.name and path.is_file() and path.stat().st_size < _LIMIT:
            text = path.read_bytes().decode("utf-8", "replace")
            for fault in configs.check(option, text, graph, "dynamic_image_size" in one.options):
                yield replace(fault, option=option, reason=f"{quoted(path)}: {fault.option}: {fault.reason}")


def write_profile(path: Path, found: Sequence[Explained]) -> None:
    """Write a profile that says what the commands say; an existing file is not overwritten."""
    if path.suffix != ".toml":
        raise UsageError(f"--to-profile {quoted(path)}: a profile ends in .toml")
    if path.exists():
        raise UsageError(f"--to-profile {quoted(path)}: there is such a file already")
    try:
        write_text(path, to_profile(found))
    except GraphtoolError as why:
        raise ProfileError(f"--to-profile: {why}") from None
