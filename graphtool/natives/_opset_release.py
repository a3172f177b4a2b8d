"""What goes with an opset beside the nodes: the imports, and the IR version of the ONNX release that brought it."""

from __future__ import annotations

from onnx import FunctionProto, ModelProto, TensorProto, helper

from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors, walk
from graphtool.graph.fields import keep_only
from graphtool.natives._opset_steps import NEWEST

_DOMAINS = ("", "ai.onnx")
_OVERRIDABLE = 4  # the IR version since which an initializer that is also an input is only its default
# what a model may hold that an older IR version lacks (comments of onnx.proto), by element type
_TYPES = {
    **dict.fromkeys((17, 18, 19, 20), 9),  # the first float8
    TensorProto.UINT4: 10,
    TensorProto.INT4: 10,
    TensorProto.FLOAT4E2M1: 11,
    TensorProto.FLOAT8E8M0: 12,
}


def version_of(owner: ModelProto | FunctionProto) -> int | None:
    """Return the opset of the default domain that a model or function imports."""
    return next((entry.version for entry in owner.opset_import if entry.domain in _DOMAINS), None)


def check_known(model: ModelProto) -> None:
    """Raise PassError for a model that cannot be converted at all."""
    for owner in (model, *model.functions):
        version = version_of(owner)
        if version is not None and not 1 <= version <= NEWEST:
            raise PassError(f"the model is of opset {version}, and opsets 1 to {NEWEST} are known")
    if model.training_info:
        raise PassError("the model has a training graph, which is not converted; remove it first")


def set_versions(owner: ModelProto | FunctionProto, target: int) -> None:
    """Let a model or function import the default domain at opset ``target``."""
    for entry in owner.opset_import:
        if entry.domain in _DOMAINS:
            entry.version = target


def set_opset(graph: Graph, target: int) -> None:
    """Set the opset of a model, and the IR version of the release that brought it, as far as the model allows.

    A runtime of that release refuses a newer IR version. A model from before IR 4 has no overridable initializers:
    its weights cease to be inputs where it gets IR 4 or later.
    """
    model = graph.proto
    source = version_of(model) or target
    set_versions(model, target)
    fitting = helper.OP_SET_ID_VERSION_MAP[("ai.onnx", target)]
    before = model.ir_version
    if target > source:
        model.ir_version = max(before, fitting)
    elif before > fitting:
        model.ir_version = min(before, max(fitting, _least(model)))
    if before < _OVERRIDABLE <= model.ir_version:
        given = graph.initializers.keys() | {tensor.values.name for tensor in graph.header.sparse_initializer}
        keep_only(graph.header.input, lambda info: info.name not in given)


def _least(model: ModelProto) -> int:
    """Return the oldest IR version that has all that a model holds."""
    nodes = [node for owner in (model.graph, *model.functions) for node in walk(owner)]
    least = _OVERRIDABLE
    if model.functions:
        least = 8
    if any(part.metadata_props for part in (model.graph, *model.functions, *nodes)) or any(n.overload for n in nodes):
        least = 10
    if any(node.device_configurations for node in nodes) or model.configuration:
        least = max(least, 11)
    types = {tensor.data_type for tensor in all_tensors(model)}
    return max(least, *(_TYPES.get(code, NEWEST if code > TensorProto.FLOAT8E8M0 else 0) for code in types), 0)
