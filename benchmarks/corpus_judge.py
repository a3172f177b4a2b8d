"""Is an optimized model still the same model? Judged with plain onnx and onnxruntime, graphtool's own judge aside.

:func:`judge` takes two files and says what the second lost: interface, operators, documentation, numbers. From
graphtool comes only the drawing of inputs. onnxruntime's optimizations are off, since some models differ between its
own levels.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from corpus_count import all_nodes, bodies, plain_domain
from corpus_feed import LAST_RESORT, feeds, overriding
from onnx import ModelProto

from graphtool.parity.ortvalues import from_ort, is_foreign, to_ort

ort.set_default_logger_severity(4)

GROWTH, GROWTH_BYTES = 1.1, 1 << 16  # how much larger a result may be than the model: a factor, and a fixed amount
ENOUGH = 5.0  # seconds of running the original after which no further feed is tried
# rtol and atol by element type; atol counts in units of max(1, the output's largest magnitude)
TOLERANCES = {"float64": (1e-6, 1e-7), "float32": (1e-4, 1e-5), "float16": (1e-2, 1e-3), "bfloat16": (5e-2, 1e-2)}
_HALVES = {onnx.TensorProto.BFLOAT16: "bfloat16", onnx.TensorProto.FLOAT16: "float16"}  # the coarser first


@dataclass(slots=True)
class Baseline:
    """What the original does: its outputs by run, or why there are none (``unusable``)."""

    path: Path
    model: ModelProto
    runs: list[tuple[str, dict[str, Any], list[Any]]] = field(default_factory=list)
    unusable: str = ""
    random: bool = False
    checks: bool = True
    half: str = ""  # "float16" or "bfloat16" where it computes in that inside, see :func:`half_of`


# -- the original


def baseline(path: Path) -> Baseline:
    """Run the original on its feeds, on the first one twice: a model may disagree with itself."""
    model = onnx.load(path, load_external_data=False)
    found = Baseline(path, model, checks=not checker_fault(path), half=half_of(model))
    try:
        run = session(path)
    except Exception as error:  # whatever onnxruntime has against a model is a result here
        found.unusable = f"does not load: {one_line(error)}"
        return found
    reasons, started = [], time.perf_counter()
    for label, make in feeds(path, model):
        if found.runs and (label in LAST_RESORT or time.perf_counter() - started > ENOUGH):
            break
        try:
            feed = make()
            found.runs.append((label, feed, run(feed)))
        except Exception as error:
            reasons.append(f"{label}: {one_line(error)}")
    if not found.runs:
        found.unusable = f"does not run: {reasons[0]}"
        return found
    overridden = overriding(model, found.runs[0][1])
    if overridden is not None:
        # a default may be a number that allows no other
        with contextlib.suppress(Exception):
            found.runs.append(("defaults of inputs overridden", overridden, run(overridden)))
    # in the same session: a new one would draw the same random numbers, from the same state at its start
    _, feed, outputs = found.runs[0]
    found.random = difference(outputs, run(feed)) != ""
    return found


def half_of(model: ModelProto) -> str:
    """Return the coarser of float16 and bfloat16 that a model has tensors of or casts to; '' where it has neither.

    onnxruntime's CPU computes most operators on halves in float32 and drops casts back and forth between neighbours,
    optimizations off or not: how often a tensor is rounded then depends on which nodes are neighbours.
    """
    kinds = {info.type.tensor_type.elem_type for info in model.graph.input}
    kinds |= {tensor.data_type for tensor in model.graph.initializer}
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.name == "to" and node.op_type == "Cast":
                kinds.add(attribute.i)
            kinds.add(attribute.t.data_type)
        for body in bodies(node):
            kinds |= {tensor.data_type for tensor in body.initializer}
    return next((name for kind, name in _HALVES.items() if kind in kinds), "")


def session(path: Path) -> Callable[[dict[str, Any]], list[Any]]:
    """Return a function that runs a model file: inputs by name to outputs in order."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    made = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    made.disable_fallback()
    names = [value.name for value in made.get_outputs()]
    foreign = any(is_foreign(value.type) for value in made.get_outputs())

    def run(feed: dict[str, Any]) -> list[Any]:
        if not names:
            return []
        small = any(isinstance(array, np.ndarray) and array.dtype.kind == "V" for array in feed.values())
        if foreign or small:  # bfloat16 and smaller go and come as OrtValue only
            given = {name: to_ort(array) for name, array in feed.items()}
            return [from_ort(value) for value in made.run_with_ort_values(names, given)]
        return list(made.run(names, feed))

    return run


# -- original and result


def judge(before: Baseline, path: Path) -> list[str]:
    """Return what is wrong with the model in ``path``, which was made from ``before``; an empty list where nothing is.

    Of a model that cannot run or is random everything but the numbers is judged.
    """
    model = onnx.load(path, load_external_data=False)
    faults = [*interface_faults(before.model, model), *operator_faults(before.model, model)]
    faults += metadata_faults(before.model, model)
    if before.checks and (fault := checker_fault(path)):
        faults.append(f"onnx.checker refuses it: {fault}")
    allowed = before.path.stat().st_size * GROWTH + GROWTH_BYTES
    if path.stat().st_size > allowed:
        faults.append(f"grew from {before.path.stat().st_size} to {path.stat().st_size} bytes")
    if before.unusable:
        return faults
    try:
        run = session(path)
    except Exception as error:
        return [*faults, f"does not load: {one_line(error)}"]
    for label, feed, expected in before.runs:
        try:
            found = run(feed)
        except Exception as error:
            faults.append(f"does not run ({label}): {one_line(error)}")
            continue
        names = [info.name for info in before.model.graph.output]
        reason = difference(expected, found, names, not before.random, before.half)
        if reason:
            faults.append(f"other numbers ({label}): {reason}")
    return faults


def interface_faults(before: ModelProto, after: ModelProto) -> list[str]:
    """Return what changed of inputs and outputs: names, order, types, ranks and sizes, documentation, defaults."""
    faults = []
    was, now = _asked(before), _asked(after)
    for what, old, new in (("inputs", was, now), ("outputs", list(before.graph.output), list(after.graph.output))):
        if [info.name for info in old] != [info.name for info in new]:
            faults.append(f"{what} were {[i.name for i in old]}, now {[i.name for i in new]}")
            continue
        for a, b in zip(old, new, strict=True):
            if a.SerializeToString(deterministic=True) != b.SerializeToString(deterministic=True):
                faults.append(f"{what[:-1]} {a.name!r} was declared {_text(a)}, now {_text(b)}")
    if before.ir_version >= 4:
        given = {info.name for info in was}
        old_defaults = {t.name: t.SerializeToString() for t in before.graph.initializer if t.name in given}
        new_defaults = {t.name: t.SerializeToString() for t in after.graph.initializer if t.name in given}
        if old_defaults != new_defaults:
            faults.append("the defaults of inputs changed")
    return faults


def _asked(model: ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs; before IR 4, where each weight had to be one too, those that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer} if model.ir_version < 4 else set()
    return [info for info in model.graph.input if info.name not in weights]


def _text(info: onnx.ValueInfoProto) -> str:
    return " ".join(str(info.type).split())


def operator_faults(before: ModelProto, after: ModelProto) -> list[str]:
    """Return domains that the original does not use, and operator sets of another version."""
    faults = []
    known = {plain_domain(node.domain) for node in all_nodes(before)} | {""}
    new = {plain_domain(node.domain) for node in all_nodes(after)} - known
    if new:
        faults.append(f"operators of other domains: {', '.join(sorted(new))}")
    versions: dict[str, set[int]] = {}
    for entry in (*before.opset_import, *(entry for function in before.functions for entry in function.opset_import)):
        versions.setdefault(plain_domain(entry.domain), set()).add(entry.version)
    for entry in after.opset_import:
        if entry.version not in versions.get(plain_domain(entry.domain), ()):
            faults.append(f"opset of {entry.domain or 'ai.onnx'!r} is {entry.version}")
    if before.ir_version != after.ir_version:
        faults.append(f"IR version was {before.ir_version}, is {after.ir_version}")
    return faults


def metadata_faults(before: ModelProto, after: ModelProto) -> list[str]:
    """Return documentation, metadata and annotations that are gone, of what is still there."""
    faults = []
    for field_name in ("doc_string", "producer_name", "producer_version", "domain", "model_version", "metadata_props"):
        if getattr(before, field_name) != getattr(after, field_name):
            faults.append(f"the model's {field_name} changed")
    for field_name in ("name", "doc_string", "metadata_props"):
        if getattr(before.graph, field_name) != getattr(after.graph, field_name):
            faults.append(f"the graph's {field_name} changed")
    now = {key: node for node in after.graph.node for key in _handles(node)}
    for node in before.graph.node:
        kept = next((now[key] for key in _handles(node) if key in now), None)
        if kept is None:
            continue
        said = {(prop.key, prop.value) for prop in kept.metadata_props}
        if kept.doc_string != node.doc_string or not {(p.key, p.value) for p in node.metadata_props} <= said:
            faults.append(f"documentation or metadata of node {node.name!r} is lost")
    tensors = {info.name for info in (*after.graph.input, *after.graph.output)}
    tensors |= {name for node in after.graph.node for name in node.output} | {t.name for t in after.graph.initializer}
    notes = {note.tensor_name: note for note in after.graph.quantization_annotation}
    for note in before.graph.quantization_annotation:
        if note.tensor_name in tensors and notes.get(note.tensor_name) != note:
            faults.append(f"the quantization annotation of {note.tensor_name!r} is lost")
    return faults


def _handles(node: onnx.NodeProto) -> list[tuple[str, str]]:
    """Return by what a node is known again: its name, else its first output. Of two that became one, either stays."""
    if node.name:
        return [(node.op_type, f"name {node.name}")]
    return [(node.op_type, f"output {name}") for name in node.output[:1]]


def difference(
    before: list[Any], after: list[Any], names: list[str] | None = None, values: bool = True, half: str = ""
) -> str:
    """Return where two lists of outputs first differ, '' where they do not.

    ``values`` off: types and shapes only. ``half`` is the type whose tolerance holds for float32 too, '' for none.
    """
    if len(before) != len(after):
        return f"{len(before)} outputs, now {len(after)}"
    for place, (a, b) in enumerate(zip(before, after, strict=True)):
        if reason := _differs(a, b, values, half):
            name = names[place] if names and place < len(names) else place
            return f"output {name!r}: {reason}"
    return ""


def _differs(a: Any, b: Any, values: bool, half: str) -> str:
    if isinstance(a, list) and isinstance(b, list):
        return f"a sequence of {len(a)}, now {len(b)}" if len(a) != len(b) else difference(a, b, None, values, half)
    if isinstance(a, dict) and isinstance(b, dict):
        same_keys = list(a) == list(b)
        return difference([*a.values()], [*b.values()], None, values, half) if same_keys else "other keys"
    if a is None or b is None:
        return "" if a is b else "an optional is empty on one side only"
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype != y.dtype or x.shape != y.shape:
        return f"{x.dtype}{list(x.shape)}, now {y.dtype}{list(y.shape)}"
    return _values_differ(x, y, half) if values else ""


def _values_differ(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], half: str) -> str:
    floating = x.dtype.kind in "fc" or "float" in x.dtype.name
    if not floating:
        unequal = np.asarray(x != y)
        return f"{int(unequal.sum())} of {x.size} elements of type {x.dtype} differ" if unequal.any() else ""
    kind = {"complex64": "float32", "complex128": "float64"}.get(x.dtype.name, x.dtype.name)
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    p, q = x.astype(wide), y.astype(wide)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (p == q) | (np.isnan(p) & np.isnan(q))
        # types of one byte have so few digits that only equal ones are close
        if kind in TOLERANCES:
            rtol, atol = max(TOLERANCES[kind], TOLERANCES.get(half, TOLERANCES[kind]))
            finite = np.isfinite(p) & np.isfinite(q)
            scale = max(1.0, float(np.abs(p[finite]).max())) if finite.any() else 1.0
            same |= finite & (np.abs(p - q) <= atol * scale + rtol * np.abs(p))
    if same.all():
        return ""
    at = np.unravel_index(int(np.argmin(same)), x.shape) if x.shape else ()
    return f"{int((~same).sum())} of {x.size} differ, first at {list(map(int, at))}: {x[at]} now {y[at]}"


# -- words


def checker_fault(path: Path) -> str:
    """Return why onnx.checker refuses a file, '' where it does not."""
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:  # it raises ValidationError, and others for what it did not foresee
        return one_line(error)
    return ""


def one_line(error: BaseException, limit: int = 200) -> str:
    """Return an error as one short line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:limit]
