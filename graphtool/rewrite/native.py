"""The ``native`` body: a change that only code can make, called by its registered name.

Natives are the modules of ``graphtool/natives``, and functions that installed distributions register under the entry
point group ``graphtool.natives``: ``function(graph, params) -> Applied`` over a :class:`Graph`, or one over a graph of
onnx-graphsurgeon, told by its annotation or made with :func:`graphtool.surgeon_pass`. A name of the package cannot be
taken by a distribution; a name that two distributions register is an error.
"""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple

from graphtool.data import data_dir
from graphtool.errors import GraphtoolError, PassError, did_you_mean, quoted, show
from graphtool.graph import Graph
from graphtool.rewrite.params import Param
from graphtool.rewrite.result import Applied
from graphtool.rewrite.selection import Offer
from graphtool.rewrite.surgeon import guarded, surgeon_pass, wants_surgeon

GROUP = "graphtool.natives"  # entry points of installed distributions; a pass file can never name a path or a module


class Native(NamedTuple):
    """A call of the native pass ``name``: ``apply(graph, params) -> Applied``."""

    name: str

    @property
    def chooses(self) -> bool:
        """Whether it works match by match, so that some can be left out: a shipped one whose module says ``UNITS``."""
        return self.name in shipped() and getattr(importlib.import_module(f"{GROUP}.{self.name}"), "UNITS", False)

    def apply(self, graph: Graph, params: Mapping[str, object], offer: Offer | None = None) -> Applied:
        """Run the native pass on ``graph`` in place; raises PassError for whatever somebody else's code raises.

        One that ``chooses`` offers each match, by label and alias, before it applies it.
        """
        if self.name in shipped():
            _check_params(self.name, params)
            module = importlib.import_module(f"{GROUP}.{self.name}")
            try:
                result = module.apply(graph, params, *([offer] if offer is not None and self.chooses else []))
            except OSError as error:  # a file that a parameter names
                raise PassError(f"{show(error.filename or self.name)}: {error.strerror or show(error)}") from None
            except OverflowError as error:  # a number that is one for Python and too large for what it is given to
                raise PassError(f"native pass {quoted(self.name)}: a parameter is too large: {show(error)}") from None
        else:
            result = self._foreign(graph, params)
        if not isinstance(result, Applied):
            raise PassError(f"native pass {quoted(self.name)} returned {type(result).__name__}, not Applied")
        return result

    def is_tracked(self, applied: Applied) -> bool:
        """Whether a run of the native that found this made all its edits, if any, by methods of the graph."""
        if self.name not in shipped():
            return False
        return not applied.matches or getattr(importlib.import_module(f"{GROUP}.{self.name}"), "TRACKED", False)

    def _foreign(self, graph: Graph, params: Mapping[str, object]) -> object:
        point = _entry_point(self.name)
        where = f"native pass {quoted(self.name)} of {_distribution(point)}"
        try:
            function = point.load()
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:  # importing somebody else's module raises what it likes, SystemExit too
            raise PassError(f"{where} cannot be loaded: {type(error).__name__}: {show(error, 300)}") from error
        if not callable(function):
            raise PassError(f"{where} is {type(function).__name__}, not a function")
        before = graph.snapshot()
        try:
            result = guarded(surgeon_pass(function) if wants_surgeon(function) else function, graph, params)
            graph.commit()
            graph.reindex()  # it may have edited the protobuf itself
        except PassError as error:
            raise PassError(f"{where}: {error}") from error.__cause__
        except GraphtoolError as error:
            raise PassError(f"{where}: {error}") from error
        if isinstance(result, Applied) and not result.matches and graph.snapshot() != before:
            raise PassError(f"{where} changed the graph and returned no match; nobody would look at what it did")
        return result


@lru_cache(maxsize=1)
def shipped() -> frozenset[str]:
    """Return the native passes of this package: one module each in ``graphtool/natives``."""
    folder = Path(__file__).resolve().parent.parent / "natives"
    return frozenset(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))


def installed() -> dict[str, list[EntryPoint]]:
    """Return what installed distributions register, by name. It costs some milliseconds."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        others = found.setdefault(point.name, [])
        if all((point.value, _distribution(point)) != (other.value, _distribution(other)) for other in others):
            others.append(point)  # a distribution that is on the path twice counts once
    return found


def check_native(name: str) -> None:
    """Raise PassError unless exactly one native pass of that name is registered."""
    if name not in shipped():
        _entry_point(name)


@lru_cache(maxsize=64)
def _takes(name: str) -> tuple[Param, ...]:
    """Return the parameters that a shipped native reads: those of the shipped pass of the same name."""
    path = data_dir("passes") / f"{name}.toml"
    text = path.read_text().partition("\n[[case]]")[0] if path.is_file() else ""  # cases come last
    tables = tomllib.loads(text).get("params", {}) if "params" in text else {}  # most have none: spare them the parser
    return tuple(
        Param(key, table["type"], table["default"], table["help"], tuple(table.get("choices", ())))
        for key, table in tables.items()
    )


def _check_params(name: str, params: Mapping[str, object]) -> None:
    """Raise PassError where a pass file that is not the shipped one calls a shipped native with other parameters."""
    for param in _takes(name):
        where = f"native pass {quoted(name)} takes parameter {quoted(param.name)} of type {param.type}"
        if param.name not in params:
            raise PassError(f"{where}, which the pass does not declare")
        value = params[param.name]
        try:
            same = type(param.checked(value)) is type(value)
        except PassError:
            same = False
        if not same:
            raise PassError(f"{where}, not {quoted(value)}")


def _entry_point(name: str) -> EntryPoint:
    found = installed().get(name, [])
    if len(found) > 1:
        owners = " and ".join(sorted(_distribution(point) for point in found))
        raise PassError(f"native pass {quoted(name)} is registered by {owners}; uninstall one")
    if not found:
        known = shipped() | installed().keys()
        raise PassError(f"no native pass {quoted(name)} is registered{did_you_mean(name, known)}")
    return found[0]


def _distribution(point: EntryPoint) -> str:
    return show(point.dist.name) if point.dist is not None else "an unnamed distribution"
