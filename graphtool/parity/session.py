"""Run a graph in onnxruntime: the judge's machine. Optimizations off, inner tensors on request, weights by reference.

Weights are handed over as arrays and never serialised into the model. onnxruntime 1.32 takes them in two ways:

- ``SessionOptions.add_initializer`` uses the array where it lies (measured: a 400 MB weight adds 8 MB to the process,
  the second session nothing), but the optimizer looks past it at the model's own tensor. So: optimizations off.
- ``SessionOptions.add_external_initializers`` copies the array into the session, before the optimizer sees it.

Both want the model's tensor to be an external one, and its file to exist. It is ``py.typed`` of this package: a file
that is always there and always empty, so whoever tried to read a weight from it would fail and not get wrong numbers.

Packing of weights is switched off: it copies them once more, and a MatMul with a packed constant differs in the last
bits from a MatMul with the same matrix computed, so that ``exact`` constant folding would be refused.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx import TensorProto

import graphtool
from graphtool import guard, kernels
from graphtool.errors import FeedError, UsageError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.graph.bodies import bodies, has_bodies, tensors
from graphtool.graph.weights import filled, payload_bytes
from graphtool.parity.containers import boxed, each, first, inputs_of, native
from graphtool.parity.eps import is_extension
from graphtool.parity.halves import rounded
from graphtool.parity.ortvalues import from_ort, is_foreign, to_ort
from graphtool.parity.reference import Reference
from graphtool.parity.runerror import RunError, run_error

__all__ = ["RunError", "Session", "weight_arrays"]

Array = NDArray[Any]

_PLACEHOLDER = Path(graphtool.__file__).parent / "py.typed"
_SECONDS_A_BYTE = 4e-6  # of inputs, that a run may take at least; ICNet takes less than a tenth of it
_SMALL = 1024  # bytes; below that a weight stays in the model
_MUCH = 1 << 25  # bytes
_TRIM: Any = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
_PLAIN = {
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8,
    TensorProto.INT16, TensorProto.UINT16, TensorProto.BOOL,
}  # fmt: skip
# shape inference reads integers (shapes, splits), so they stay in the model whatever their size


def weight_arrays(graph: Graph, instead: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Return the graph's large weights of the plain numeric types, for sessions to share.

    Views of the model's file where that is aligned for the type; else one aligned copy. ``instead`` replaces any
    initializers by name, small ones too; names the graph does not have are passed over. Raises UsageError for a
    replacement of another type or shape.
    """
    arrays = {}
    for name, tensor in graph.initializers.items():
        size = payload_bytes(tensor)
        if instead is not None and name in instead:
            array = instead[name]
            wanted = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            if array.shape != tuple(tensor.dims) or array.dtype != wanted:
                has = f"{array.dtype}{list(array.shape)}"
                raise UsageError(f"weight {quoted(name)} is {wanted}{list(tensor.dims)}, not {has}")
            arrays[name] = _aligned(array)
        elif tensor.data_type in _PLAIN and size is not None and size > _SMALL:
            arrays[name] = _aligned(graph.array(tensor))
    return arrays


def _aligned(array: Array) -> Array:
    return np.require(array, requirements=["C", "ALIGNED"])


@dataclass(slots=True)
class Work:
    """How many runs there were, and how many nodes these ran: what growth and cost are counted in.

    ``lacking`` is what onnxruntime lacked where the reference evaluator stood in, each once.
    ``returned``: bytes of outputs since freed memory was last given back to the system.
    """

    runs: int = 0
    nodes: int = 0
    lacking: dict[str, None] = field(default_factory=dict)
    returned: int = 0


class Session:
    """A graph ready to run on the CPU. ``work`` counts what all sessions of this process have run.

    ``outputs`` are the tensors to return, inner ones too; by default the graph's outputs. ``level`` is onnxruntime's
    graph optimization level. ``threads`` is the number of threads inside an operator (default: onnxruntime's choice).
    ``weights`` replaces initializers by name (those not named come from the graph): arrays to share between sessions,
    or nudged ones. Where onnxruntime lacks an operator or its element types, ONNX's reference evaluator stands in.
    Raises RunError where neither can run the graph, UsageError for an unknown output.
    """

    work: ClassVar[Work] = Work()

    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[str] | None = None,
        level: kernels.Level = "off",
        threads: int | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> None:
        self.outputs = list(dict.fromkeys(outputs if outputs is not None else (value.name for value in graph.outputs)))
        self._reference: Reference | None = None
        self._graph, self._weights = graph, weights
        self._holds = inputs_of(graph)
        graph = rounded(graph)
        given = weight_arrays(graph, weights)
        if level != "off":  # the optimizer drops what nobody reads before it looks for what it was given
            given = {name: array for name, array in given.items() if graph.index.uses(name)}
        options = kernels.options(level, threads)
        folder = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(folder, str(_PLACEHOLDER.parent))
        try:
            self._held = {name: to_ort(array) for name, array in given.items()}
        except RunError as error:
            self._stand_in(error)
            return
        if level == "off":
            for name, value in self._held.items():
                options.add_initializer(name, value)
        elif self._held:
            options.add_external_initializers(list(self._held), list(self._held.values()))
        self._arrays = given  # an OrtValue does not keep its array alive
        model = _model(graph, self.outputs, given)
        try:
            with guard.phase("onnxruntime loads the graph"):
                self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            self._stand_in(run_error(error, "load"))
            return
        # what may never end is named, since nobody can be asked while it runs
        loop = next((node for op in ("Loop", "Scan") for node in graph.index.by_type(op)), None)
        in_it = "" if loop is None else f", in it {loop.op_type} {quoted(loop.name or next(iter(loop.output), ''))}"
        self._phase = f"onnxruntime runs the graph{in_it}"
        self._session.disable_fallback()  # it would print
        self._foreign = any(is_foreign(value.type) for value in self._session.get_outputs())
        self._nodes = len(graph.proto.graph.node)
        self._takes = {value.name for value in self._session.get_inputs()}
        self._may_take = {value.name for value in self._session.get_overridable_initializers()}

    @property
    def stood_in(self) -> bool:
        """Whether the reference evaluator runs the graph, in place of onnxruntime."""
        return self._reference is not None

    def _stand_in(self, error: RunError) -> None:
        """Let the reference evaluator run the graph; raises ``error`` where it cannot either."""
        if error.reason != "op":
            raise error from None
        try:
            self._reference = Reference(self._graph, self._weights)
        except RunError:
            raise error from None
        Session.work.lacking[str(error)] = None
        self._nodes = len(self._graph.proto.graph.node)
        self._takes = {value.name for value in self._graph.inputs}
        self._may_take = set(self._graph.initializers)

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name for inputs by name.

        Sequences and optionals are held as ``containers`` says, a map as an array of objects. Raises FeedError for a
        missing or unknown input, RunError where onnxruntime cannot run.
        """
        for name in arrays:
            if name not in self._takes | self._may_take:
                raise FeedError(f"the model has no input {quoted(name)}{did_you_mean(name, self._takes)}")
        for name in self._takes:
            if name not in arrays:
                raise FeedError(f"the feed has nothing for input {quoted(name)}")
        if not self.outputs:
            return {}  # onnxruntime takes an empty list for all outputs
        Session.work.runs += 1
        Session.work.nodes += self._nodes
        try:
            feed = {name: native(array, self._holds.get(name)) for name, array in arrays.items()}
            if self._reference is not None:
                found = self._reference.run(self.outputs, feed)
                return {name: _as_array(value) for name, value in zip(self.outputs, found, strict=True)}
            with guard.phase(self._phase, _SECONDS_A_BYTE * sum(array.nbytes for array in arrays.values())):
                if self._foreign or any(is_extension(first(array).dtype) for array in arrays.values()):
                    values = {name: to_ort(array) for name, array in feed.items()}
                    found = [from_ort(value) for value in self._session.run_with_ort_values(self.outputs, values)]
                else:
                    found = self._session.run(self.outputs, feed)
        except RunError as error:
            if self._reference is not None:
                raise
            self._stand_in(error)  # types that onnxruntime's Python does not take
            return self.run(arrays)
        except Exception as error:
            self._stand_in(run_error(error, "run"))  # it lacks some kernels only where they are called
            return self.run(arrays)
        outputs = {name: _as_array(value) for name, value in zip(self.outputs, found, strict=True)}
        for name in arrays.keys() & outputs.keys():
            # for an input that is an output, onnxruntime 1.20 returns the feed's own memory, which goes with the feed
            outputs[name] = each(outputs[name], np.copy)
        Session.work.returned += sum(array.nbytes for array in outputs.values())
        return outputs


def give_back(much: int = _MUCH) -> None:
    """Give freed memory back to the system, where runs returned ``much`` (bytes) since: before a large run.

    The GNU C library keeps what was allocated in blocks of up to 32 MB: 150 to 240 MB between two runs of ICNet.
    """
    if Session.work.returned >= much and _TRIM is not None:
        _TRIM(0)
        Session.work.returned = 0


def _model(graph: Graph, outputs: Sequence[str], given: Mapping[str, Array]) -> bytes:
    """Serialise the skeleton with the wanted outputs, and placeholders for the given weights."""
    proto = graph.proto
    model = onnx.ModelProto()
    _copy_fields(proto, model, {"graph"})
    # stored types of inner tensors are often wrong, and onnxruntime would believe them
    _copy_fields(proto.graph, model.graph, {"initializer", "output", "value_info"})
    for tensor in proto.graph.initializer:
        own = model.graph.initializer.add()
        if tensor.name in given:
            own.name, own.data_type = tensor.name, tensor.data_type
            own.dims.extend(tensor.dims)
            own.data_location = TensorProto.EXTERNAL
            length = payload_bytes(tensor)
            for key, value in (("location", _PLACEHOLDER.name), ("offset", "0"), ("length", str(length))):
                own.external_data.add(key=key, value=value)
        else:
            own.CopyFrom(tensor)
            graph.weights.bring_in(own)
    for tensor in _in_nodes(model):
        graph.weights.bring_in(tensor)
    declared = {info.name: info for info in proto.graph.output}
    for name in dict.fromkeys([*declared, *outputs]):
        if name in declared:
            model.graph.output.add().CopyFrom(declared[name])
        else:
            _check_exists(graph, name)
            model.graph.output.add(name=name)  # onnxruntime infers the type
    chunks, _ = filled(model.SerializeToString(deterministic=True))
    return chunks[0] if len(chunks) == 1 and isinstance(chunks[0], bytes) else b"".join(chunks)


def _in_nodes(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield the tensors that nodes hold, in bodies and functions too; operators without any are not looked at."""
    for node in model.graph.node:
        if node.op_type == "Constant" or node.domain or has_bodies(node):
            yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))
            for body in bodies(node):
                yield from tensors(body)
    for function in model.functions:
        yield from tensors(function)


def _copy_fields(message: Message, own: Message, skipped: set[str]) -> None:
    """Copy a protobuf message but for some fields; CopyFrom would copy every weight."""
    for one, value in message.ListFields():
        if one.name in skipped:
            continue
        if isinstance(value, MutableSequence):
            getattr(own, one.name).extend(value)
        elif isinstance(value, Message):
            getattr(own, one.name).CopyFrom(value)
        else:
            # text that is not UTF-8 comes out of protobuf as bytes, and is not taken back
            broken = isinstance(value, bytes) and one.type == one.TYPE_STRING
            setattr(own, one.name, value.decode("utf-8", "replace") if broken else value)


def _check_exists(graph: Graph, name: str) -> None:
    known = {value.name for value in graph.inputs} | graph.initializers.keys()
    if name in known or graph.index.producer(name) is not None:
        return
    known.update(output for node in graph.nodes for output in node.output if output)
    raise UsageError(f"no tensor named {quoted(name)}{did_you_mean(name, known)}")


def _as_array(value: Any) -> Array:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list):
        return boxed(value)
    return np.array(value, object) if value is None or isinstance(value, dict) else np.asarray(value)
