"""The ``native`` body: a change that only code can make, called by its registered name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.rewrite.result import Applied

GROUP = "graphtool.natives"  # entry points of installed distributions; a pass file can never name a path or a module


@dataclass(frozen=True, slots=True)
class Native:
    """A call of the native pass ``name``: ``apply(graph, params) -> Applied``."""

    name: str

    def apply(self, graph: Graph, params: Mapping[str, object]) -> Applied:
        """Run the native pass on ``graph`` in place."""
        if self.name in shipped():
            function = importlib.import_module(f"{GROUP}.{self.name}").apply
        else:
            function = next(point.load() for point in entry_points(group=GROUP) if point.name == self.name)
        result = function(graph, params)
        if not isinstance(result, Applied):
            raise PassError(f"native pass {quoted(self.name)} returned {type(result).__name__}, not Applied")
        return result


@lru_cache(maxsize=1)
def shipped() -> frozenset[str]:
    """Return the native passes of this package: one module each in ``graphtool/natives``."""
    folder = Path(__file__).resolve().parent.parent / "natives"
    return frozenset(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))


def check_native(name: str) -> None:
    """Raise PassError unless a native pass of that name is registered."""
    known = shipped() | {point.name for point in entry_points(group=GROUP)}
    if name not in known:
        raise PassError(f"no native pass {quoted(name)} is registered{did_you_mean(name, known)}")
