"""Native passes over an onnx-graphsurgeon graph: handed over, changed, taken back with nothing lost.

onnx-graphsurgeon is the surgery API that many users know, and its own round trip loses metadata, documentation,
denotations, quantization annotations, functions, sparse and unused initializers, and turns default values of inputs
into constants. Here those are not handed over but stay where they are, and only what the pass changed is written.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
import traceback
import typing
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from graphtool.errors import GraphtoolError, PassError, show
from graphtool.graph import Graph
from graphtool.rewrite.result import Applied

SurgeonPass = Callable[..., Any]  # (gs.Graph, params) -> gs.Graph | None: the graph to take, or None for the one given
NativePass = Callable[[Graph, Mapping[str, object]], Applied]
_LIBRARY = "onnx_graphsurgeon"


def surgeon_pass(function: SurgeonPass) -> NativePass:
    """Make a native pass out of ``function(graph, params)``, which changes an ``onnx_graphsurgeon.Graph``.

    It changes the graph in place, or returns another one. ``params`` are the pass's parameters by name. What comes back
    as it was keeps its bytes; nodes need not be sorted, and ``cleanup()`` is not asked for: what nothing reads stays.
    """

    @functools.wraps(function)
    def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
        if importlib.util.find_spec(_LIBRARY) is None:
            raise PassError("onnx-graphsurgeon is not installed; run 'pip install onnx-graphsurgeon'")
        from graphtool.rewrite.surgeon_back import take_back
        from graphtool.rewrite.surgeon_out import hand_over

        handed = hand_over(graph)
        found = guarded(function, handed.top.surgeon, dict(params))
        if found is None:
            found = handed.top.surgeon
        if not isinstance(found, type(handed.top.surgeon)):
            raise PassError(f"it returned {type(found).__name__}, not a graph of onnx-graphsurgeon or None")
        return take_back(graph, handed, found)

    apply.__annotations__ = {"graph": Graph, "params": Mapping[str, object], "return": Applied}
    return apply


def wants_surgeon(function: Callable[..., object]) -> bool:
    """Whether the first parameter of ``function`` is annotated as a graph of onnx-graphsurgeon."""
    try:
        first = next(iter(inspect.signature(function).parameters.values()))
    except (TypeError, ValueError, StopIteration):  # no signature to look at, or no parameter
        return False
    kind = first.annotation
    if isinstance(kind, str):
        try:
            kind = typing.get_type_hints(function).get(first.name, kind)
        except Exception:  # whatever evaluating somebody's annotations raises: the library is only imported for types
            names = getattr(function, "__globals__", {})
            head = str(kind).partition(".")[0]
            return str(getattr(names.get(head), "__name__", head)) in (_LIBRARY, "gs") and kind.endswith(".Graph")
    return getattr(kind, "__module__", "").partition(".")[0] == _LIBRARY and getattr(kind, "__name__", "") == "Graph"


def guarded(function: Callable[..., object], *arguments: object) -> object:
    """Call somebody else's code: what it prints goes to stderr, what it raises becomes a PassError with the place."""
    try:
        with redirect_stdout(sys.stderr):  # stdout is for results: --json must stay JSON
            return function(*arguments)
    except (GraphtoolError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() would end the command as if all were well
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename != __file__]
        place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
        raise PassError(f"{type(error).__name__}: {show(error, 300)}{place}") from error
