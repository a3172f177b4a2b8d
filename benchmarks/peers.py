"""The other tools, each by its default call: a model in, a model out. A tool that is not installed is left out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from onnx import ModelProto

Tool = Callable[[ModelProto], ModelProto]


def _onnxsim(model: ModelProto) -> ModelProto:
    import onnxsim

    return onnxsim.simplify(model)[0]


def _onnxslim(model: ModelProto) -> ModelProto:
    import onnxslim

    return onnxslim.slim(model)


def _onnxscript(model: ModelProto) -> ModelProto:
    from onnxscript import optimizer

    return optimizer.optimize(model)


def _onnxoptimizer(model: ModelProto) -> ModelProto:
    import onnxoptimizer

    return onnxoptimizer.optimize(model)


TOOLS: dict[str, Tool] = {
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
    "onnxscript": _onnxscript,
    "onnxoptimizer": _onnxoptimizer,
}


def installed(name: str) -> bool:
    """Whether a tool's package is there, without importing it."""
    return importlib.util.find_spec(name.partition(".")[0]) is not None
