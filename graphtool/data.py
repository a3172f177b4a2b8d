"""Where the files that ship with graphtool are. Floor 0."""

from __future__ import annotations

from pathlib import Path

from graphtool.errors import GraphtoolError


def data_dir(kind: str) -> Path:
    """Return the folder of the shipped files of a kind, ``passes`` or ``atc_profiles``.

    A wheel carries them inside the package (``graphtool/_data/KIND``). In a checkout they lie beside the package;
    that folder counts only next to a ``pyproject.toml``, so that a stray ``site-packages/passes`` is never taken.
    """
    package = Path(__file__).resolve().parent
    inside = package / "_data" / kind
    if inside.is_dir():
        return inside
    beside = package.parent / kind
    if beside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return beside
    raise GraphtoolError(f"the installed graphtool has no {kind}; install it again")
