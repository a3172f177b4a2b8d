"""The tables that ship with graphtool: options of ATC, CANN releases, operators, error codes. Read once, checked.

They lie in ``atc_profiles/tables/*.toml``, each with sources and dates. A table that is wrong is a fault of the
installation, said in one line with table and key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

from graphtool.data import data_dir
from graphtool.errors import GraphtoolError, did_you_mean, quoted

_DATED = re.compile(r"20\d\d|RC\d|\bv\d+\.\d+|\d+\.\d+\.\d+")


@cache
def table(name: str) -> Mapping[str, Any]:
    """Return one table as TOML gives it."""
    path = data_dir("atc_profiles") / "tables" / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as why:
        raise GraphtoolError(f"atc_profiles/tables/{name}.toml: {why}; install graphtool again") from None


def fault(name: str, key: str, reason: str) -> GraphtoolError:
    """Return the error for a wrong entry of a shipped table."""
    return GraphtoolError(f"atc_profiles/tables/{name}.toml: {key}: {reason}")


def fields(name: str, key: str, entry: object, known: Mapping[str, type], needed: tuple[str, ...]) -> dict[str, Any]:
    """Return an entry whose keys and types are checked, its ``source`` dated; raises GraphtoolError."""
    if not isinstance(entry, dict):
        raise fault(name, key, "not a table")
    for word, value in entry.items():
        if word not in known:
            raise fault(name, f"{key}.{word}", f"unknown key{did_you_mean(word, known)}")
        if type(value) is not known[word]:
            raise fault(name, f"{key}.{word}", f"{quoted(value)} is not {known[word].__name__}")
    for word in needed:
        if not entry.get(word):
            raise fault(name, f"{key}.{word}", "missing")
    if "source" in known and not _DATED.search(entry.get("source", "")):
        raise fault(name, f"{key}.source", "has no date or version")
    return entry
