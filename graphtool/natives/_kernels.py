"""Constants computed by onnxruntime, in a guarded child process: all nodes in one session, the judge's own kernels.

Where the session cannot be made or does not end, the nodes are tried one by one in a child of their own, past at most
a few that kill it; what is not computed then is reported with its reason. The tool itself is never at risk.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

import graphtool
from graphtool.errors import show
from graphtool.graph import Graph
from graphtool.natives import _child
from graphtool.natives._call import Array

_SCRIPT = "import sys; sys.path.insert(0, sys.argv[1]); from graphtool.natives._worker import main; main(sys.argv[2])"
_MEMORY = 16 << 30  # bytes of address space, of which onnxruntime uses a part
_LARGEST = 1 << 30  # bytes of constants: a protobuf ends at 2 GiB
_CHILDREN = 4  # that may die before the rest is given up
_SINGLY = 2000  # nodes that are tried one by one, about 1 ms each


@dataclass(slots=True)
class Computed:
    """``values`` by name; ``sizes`` in bytes of those too large to be held; by first output why a node failed."""

    values: dict[str, Array] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def first_output(node: NodeProto) -> str:
    """Return the name by which a node is known here: that of its first output."""
    return next(filter(None, node.output), "")


def compute(
    graph: Graph,
    nodes: Sequence[NodeProto],
    constants: Mapping[str, Array],
    outputs: Sequence[str],
    seconds: int,
    most: int,
) -> Computed:
    """Return ``outputs`` of ``nodes``, which are in order and read nothing but ``constants`` and each other.

    A child has ``seconds``; results of more than ``most`` bytes are only measured.
    """
    everywhere = {first_output(node) for node in nodes}
    if sum(array.nbytes for array in constants.values()) > _LARGEST:
        reason = f"its constants and those folded with it have more than {_LARGEST >> 30} GiB"
        return Computed(failed=dict.fromkeys(everywhere, reason))
    with tempfile.TemporaryDirectory(prefix="graphtool-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(_model(graph, nodes, constants, outputs))
        ended = _run(folder, outputs, seconds, most, singly=False)
        if _is_fine(ended):
            return _results(folder)
        if len(nodes) > _SINGLY:
            return Computed(failed=dict.fromkeys(everywhere, _why(ended, seconds)))
        return _one_by_one(folder, nodes, outputs, seconds, most)


def _one_by_one(folder: Path, nodes: Sequence[NodeProto], outputs: Sequence[str], seconds: int, most: int) -> Computed:
    killers: dict[str, str] = {}
    while True:
        ended = _run(folder, outputs, seconds, most, singly=True, skip=killers)
        begun, failed = _progress(folder)
        if _is_fine(ended):
            found = _results(folder)
            found.failed = {**killers, **failed}
            return found
        if begun is None or begun in killers or len(killers) + 2 > _CHILDREN:
            left = {first_output(node) for node in nodes}
            return Computed(failed=dict.fromkeys(left, _why(ended, seconds)) | failed | killers)
        killers[begun] = _why(ended, seconds)


def _model(graph: Graph, nodes: Iterable[NodeProto], constants: Mapping[str, Array], outputs: Iterable[str]) -> bytes:
    tensors = [tensor_of(array, name) for name, array in constants.items()]
    # types are onnxruntime's to infer
    infos = [onnx.ValueInfoProto(name=name) for name in outputs]
    model = helper.make_model(
        helper.make_graph(list(nodes), "constants", [], infos, tensors),
        opset_imports=[entry for entry in graph.proto.opset_import if entry.domain in ("", "ai.onnx")],
        ir_version=max(graph.proto.ir_version, 4),  # before, an initializer must be an input too
    )
    return bytes(model.SerializeToString())


def tensor_of(array: Array, name: str) -> TensorProto:
    """Return an array, views and types without a numpy form too, as a tensor; text is bytes."""
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def _run(
    folder: Path, outputs: Sequence[str], seconds: int, most: int, singly: bool, skip: Iterable[str] = ()
) -> _child.Ended:
    request = {"outputs": list(outputs), "most": most, "singly": singly, "skip": list(skip)}
    (folder / "request.json").write_text(json.dumps(request))
    for name in ("results.json", "progress"):
        (folder / name).unlink(missing_ok=True)
    package = Path(graphtool.__file__).parent.parent
    return _child.run(_SCRIPT, [str(package), str(folder)], seconds, _MEMORY)


def _is_fine(ended: _child.Ended) -> bool:
    return ended.code == 0


def _why(ended: _child.Ended, seconds: int) -> str:
    if ended.late:
        return f"onnxruntime was stopped after {seconds} seconds"
    return f"onnxruntime crashed ({ended.signal})" if ended.signal else _one_line(ended.said)


def _one_line(text: str) -> str:
    said = re.sub(r".*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(text.split()))
    return f"onnxruntime cannot compute it: {show(said, 200)}"


def _progress(folder: Path) -> tuple[str | None, dict[str, str]]:
    """Return the node that was begun last and the reasons of those that failed."""
    path = folder / "progress"
    begun, failed = None, {}
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        if "begun" in entry:
            begun = entry["begun"]
        else:
            failed[entry["failed"]] = _one_line(entry["reason"])
    return begun, failed


def _results(folder: Path) -> Computed:
    found = Computed()
    places: dict[str, dict[str, Any]] = json.loads((folder / "results.json").read_text())
    data = (folder / "results.bin").read_bytes()
    at = 0
    for name, place in places.items():
        if not place["held"]:
            found.sizes[name] = place["size"]
            continue
        raw = data[at : at + place["size"]]
        at += place["size"]
        tensor = TensorProto(data_type=place["type"], dims=place["shape"], raw_data=raw)
        found.values[name] = numpy_helper.to_array(tensor)
    return found
