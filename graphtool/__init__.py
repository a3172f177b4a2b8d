"""graphtool: ONNX graph surgery by declared passes, each checked with onnxruntime, ending in ATC command lines.

The names below are loaded when first used, so that ``graphtool --help`` imports neither onnx nor onnxruntime.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from graphtool.errors import GraphtoolError

if TYPE_CHECKING:
    from graphtool.api import compare, diff, load, run
    from graphtool.graph import Graph
    from graphtool.rewrite.surgeon import surgeon_pass

__version__ = "0.1.0"
__all__ = ["Graph", "GraphtoolError", "__version__", "compare", "diff", "load", "run", "surgeon_pass"]

_HOMES = {
    "Graph": "graphtool.graph",
    "compare": "graphtool.api",
    "diff": "graphtool.api",
    "load": "graphtool.api",
    "run": "graphtool.api",
    "surgeon_pass": "graphtool.rewrite.surgeon",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'graphtool' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """The import system binds a subpackage as an attribute of its package; ``graphtool.diff`` is to be the function."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
