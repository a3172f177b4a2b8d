"""graphtool: ONNX graph surgery by declared passes, each checked with onnxruntime, ending in ATC command lines.

The names below are loaded when first used, so that ``graphtool --help`` imports neither onnx nor onnxruntime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from graphtool.errors import GraphtoolError

if TYPE_CHECKING:
    from graphtool.api import compare, diff, load, run
    from graphtool.graph import Graph

__version__ = "0.1.0"
__all__ = ["Graph", "GraphtoolError", "__version__", "compare", "diff", "load", "run"]

_HOMES = {
    "Graph": "graphtool.graph",
    "compare": "graphtool.api",
    "diff": "graphtool.api",
    "load": "graphtool.api",
    "run": "graphtool.api",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'graphtool' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
