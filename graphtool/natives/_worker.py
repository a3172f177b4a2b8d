"""What runs in the child process that computes constants: onnxruntime and little else, for a quick start.

The folder it is given holds ``model.onnx``, a graph without inputs, and ``request.json``: ``outputs`` (names), ``most``
(bytes that a result may have), ``singly`` (node by node, where the graph as a whole does not run) and ``skip`` (nodes
by first output that killed an earlier child). It leaves ``results.bin`` and ``results.json``: by name element type,
shape, and place of the bytes. ``progress`` says, node by node, what was begun and why a node failed, a JSON line each.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import onnxruntime as ort

from graphtool import kernels

_STRING = 8  # TensorProto.STRING, which has no bytes in one place


def main(path: str) -> None:
    """Compute what the request in folder ``path`` asks for."""
    folder = Path(path)
    request = json.loads((folder / "request.json").read_text())
    if request["singly"]:
        values = _singly(folder, request["skip"])
    else:
        session = _session((folder / "model.onnx").read_bytes())
        values = dict(zip(request["outputs"], _run(session, request["outputs"], {}), strict=True))
    _write(folder, {name: values[name] for name in request["outputs"] if name in values}, request["most"])


def _session(model: bytes) -> Any:
    return ort.InferenceSession(model, kernels.options(), providers=["CPUExecutionProvider"])


def _run(session: Any, outputs: list[str], feed: dict[str, Any]) -> list[Any]:
    return list(session.run_with_ort_values(outputs, feed))


def _write(folder: Path, values: dict[str, Any], most: int) -> None:
    places = {}
    with (folder / "results.bin").open("wb") as file:
        for name, value in values.items():
            if not value.is_tensor() or value.element_type() == _STRING:
                continue
            size = value.tensor_size_in_bytes()
            held = size <= most
            places[name] = {"type": value.element_type(), "shape": value.shape(), "size": size, "held": held}
            if held and size:
                file.write((ctypes.c_char * size).from_address(value.data_ptr()))
    (folder / "results.json").write_text(json.dumps(places))


def _singly(folder: Path, skip: list[str]) -> dict[str, Any]:
    """Return the value of each node that could be computed; a session a node."""
    import onnx  # slow to import, and most graphs run as a whole
    from onnx import helper

    model = onnx.load(folder / "model.onnx")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    values: dict[str, Any] = {}
    with (folder / "progress").open("w") as progress:

        def say(**words: str) -> None:
            progress.write(json.dumps(words) + "\n")
            progress.flush()  # the next step may be the last

        for node in model.graph.node:
            key = next(filter(None, node.output))
            if key in skip or any(n and n not in constants and n not in values for n in node.input):
                continue
            say(begun=key)
            feed = {name: values[name] for name in node.input if name in values}
            outputs = [name for name in node.output if name]
            inputs = [helper.make_tensor_value_info(n, v.element_type(), v.shape()) for n, v in feed.items()]
            tensors = [constants[name] for name in dict.fromkeys(node.input) if name in constants]
            infos = [onnx.ValueInfoProto(name=name) for name in outputs]
            one = helper.make_model(
                helper.make_graph([node], "one", inputs, infos, tensors),
                opset_imports=list(model.opset_import),
                ir_version=model.ir_version,
            )
            try:
                values |= zip(outputs, _run(_session(one.SerializeToString()), outputs, feed), strict=True)
            except Exception as error:  # whatever onnxruntime raises: this node stays
                say(failed=key, reason=str(error))
    return values
