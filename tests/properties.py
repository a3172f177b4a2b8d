"""What must hold when a pass is applied to a graph, whatever pass and graph: used on random graphs.

A :class:`Subject` is a model with feeds and what it computes. :meth:`Subject.step` applies a pass to it and holds the
result against the graph before: sound, the interface as declared, the numbers as promised, nothing left to match, and
the same graph whether matches are recorded or not.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper
from randomgraphs import SIZES
from rewriting import stale_rows

from graphtool.errors import PassError
from graphtool.graph import Graph, check
from graphtool.graph.bodies import walk
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.interface import interface_fault
from graphtool.parity.metrics import equal
from graphtool.parity.noise import nudged_feed, nudged_weights
from graphtool.parity.runerror import RunError
from graphtool.parity.session import Session
from graphtool.rewrite import Catalog, Outcome, Pass, Stage, apply_stage
from graphtool.rewrite.params import resolve

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

CATALOG = Catalog()
SPECIAL = [np.nan, 1.5, np.inf, -0.0, -np.inf, 0.0, -2.5, 3e38, 1e-40]

# not applied, and why
LEFT_OUT = {
    "onnxsim": "another tool in a child process",
    "concat_models": "it wants a second file",
    "externalize_weights": "it is about files",
    "internalize_weights": "it is about files",
    "strip_weights": "it is about files",
    "restore_weights": "it is about files",
}
# parameters that make small graphs large enough
PARAMS: dict[str, list[dict[str, object]]] = {
    "avg_pool_split": [{"area": 3, "stride": 1}, {}],
    "avg_pool_to_matmul": [{"area": 2, "stride": 1}, {}],
    "conv1d_to_conv2d": [{"always": True}, {}],
    "fold_constants": [{}, {"slack": 0, "growth": 0.0}],
    "int64_to_int32": [{"always": True}, {}],
    "max_pool_split": [{"area": 3}],
    "pad_channels_16": [{"multiple": 4}],
    "split_large_kernels": [{"longest": 2}],
    "set_input_shapes": [{"symbols": ["N"], "sizes": [SIZES[0]]}],
    "convert_opset": [{"to": to} for to in (11, 13, 17, 18, 21, 23)],
}
# these may refuse a graph, which then is as it was
MAY_REFUSE = {"convert_opset", "set_batch", "set_input_shapes", "extract", "append_argmax", "cut_nms"}


# these leave little of a small graph: a random order has one of them at most
CUTTING = ["append_argmax", "cut_nms", "extract", "prune_outputs", "rename"]


class Broken(AssertionError):  # noqa: N818
    """A property does not hold; the message says which, of what pass, on what graph."""


def exact_and_close() -> list[str]:
    """Return the names of the passes that promise numbers and load."""
    names = []
    for entry, spec in CATALOG.listing():
        if isinstance(spec, Pass) and spec.parity in ("exact", "close") and entry.name not in LEFT_OUT:
            names.append(entry.name)
    return names


def stages(name: str, graph: Graph) -> list[Stage]:
    """Return the pass with each of the settings that this graph is tried with."""
    spec = CATALOG.get(name)
    found: list[Stage] = []
    if name == "append_argmax" and 0 in (graph.outputs[0].shape or ()):
        return found  # onnxruntime has no label among no classes
    for params in PARAMS.get(name, [{}]) + _named(name, graph):
        found.append(Stage(spec, resolve(spec.params, params, name), name))
    return found


def _named(name: str, graph: Graph) -> list[dict[str, object]]:
    """Return parameters that name values of the graph."""
    inputs, outputs = [v.name for v in graph.inputs], [v.name for v in graph.outputs]
    if name == "rename" and inputs:
        return [{"from": [inputs[0], outputs[-1]], "to": [f"{inputs[0]}_renamed", f"{outputs[-1]}_renamed"]}]
    if name == "reorder_interface":
        return [{"inputs": inputs[::-1], "outputs": outputs[::-1]}]
    if name == "prune_outputs":
        return [{"keep": outputs[-1:]}]
    if name == "extract":
        made = [output for node in graph.nodes for output in node.output if output]
        return [{"to": [made[len(made) // 2]]}] if made else []
    return []


# -- feeds


def feed(model: ModelProto, size: int, special: bool = False) -> Feed:
    """Return inputs for a model, the same for the same names; ``special`` has NaN, infinities and minus zero."""
    known = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for info in model.graph.input:
        if info.name in known:
            continue
        tensor = info.type.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else size for dim in tensor.shape.dim]
        rng = np.random.Generator(np.random.PCG64([zlib.crc32(info.name.encode()), size]))
        dtype = numpy_dtype(tensor.elem_type)
        if dtype.kind == "b":
            array = rng.integers(0, 2, dims).astype(dtype)
        elif dtype.kind in "iu":
            array = rng.integers(0, 4, dims).astype(dtype)
        elif special:
            with np.errstate(over="ignore"):
                array = np.resize(np.array(SPECIAL), dims).astype(dtype)
        else:
            array = rng.normal(0, 1.5, dims).astype(dtype)
        found[info.name] = array
    return found


def model_fault(model: ModelProto) -> str:
    """Return why onnx or onnxruntime refuses a model; '' where neither does."""
    try:
        onnx.checker.check_model(model, full_check=True)
        session = Session(Graph.from_proto(model))
        for size in SIZES:
            session.run(feed(model, size))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RunError, ValueError) as error:
        return str(error)
    return ""


# -- the properties


@dataclass
class Subject:
    """A graph under way: ``trail`` is what was applied, ``runs`` each feed with what the graph computes of it."""

    graph: Graph
    runs: list[tuple[Feed, dict[str, Array]]]
    plain: int  # how many of the runs have ordinary numbers; the others are for exact passes
    trail: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, model: ModelProto) -> Subject:
        graph = Graph.from_proto(model)
        check(graph)
        session = Session(graph)
        feeds = [feed(model, size) for size in SIZES]
        if all(node.op_type != "MaxPool" for node in walk(model.graph)):  # what NaN is there depends on the kernel
            feeds.append(feed(model, SIZES[0], special=True))
        return cls(graph, [(given, session.run(given)) for given in feeds], len(SIZES))

    def copy(self) -> Subject:
        return Subject(self.graph.copy(), list(self.runs), self.plain, list(self.trail))

    def step(self, stage: Stage) -> int:
        """Apply a pass, hold it to everything, and return its matches; raises Broken."""
        if stage.spec.name == "set_input_shapes" and any(word.startswith("set_batch") for word in self.trail):
            return 0  # there N is another number
        spec, before = stage.spec, self.graph.copy()
        word = stage.word + "".join(f":{k}={v}" for k, v in stage.params.items() if v != _default(spec, k))
        try:
            outcome = self._applied(stage, before)
        except Broken as error:
            tried = " -> ".join([*self.trail, word])
            text = onnx.printer.to_text(before.full_proto())
            raise Broken(f"{spec.name}: {error}\n  applied: {tried}\n{text}") from None
        if outcome is None or not outcome.applied.matches:
            return 0
        self.trail.append(word)
        return len(outcome.applied.matches)

    def _applied(self, stage: Stage, before: Graph) -> Outcome | None:
        bytes_before = _bytes(before)
        try:
            outcome = apply_stage(self.graph, stage, CATALOG)
        except PassError as error:
            _hold(stage.spec.name in MAY_REFUSE, f"refused: {error}")
            _hold(_bytes(self.graph) == bytes_before, "a refused graph changed")
            return None
        except Exception as error:
            raise Broken(f"crashed: {error!r}") from error
        after = _bytes(self.graph)
        short, full = before.copy(), before.copy()
        apply_stage(short, stage, CATALOG, record=False, tell=False)
        if _bytes(short) != after:  # the graph under way knows names and shapes that a copy does not
            apply_stage(full, stage, CATALOG)
            _hold(_bytes(short) == _bytes(full), "another graph without a record")
        if not outcome.applied.matches:
            _hold(after == bytes_before, "the graph changed without a match")
            return outcome
        self._sound(stage, before, outcome)
        self._settled(stage)
        self._alike(stage, before, outcome)
        return outcome

    def _sound(self, stage: Stage, before: Graph, outcome: Outcome) -> None:
        try:
            check(self.graph)
            onnx.checker.check_model(self.graph.full_proto(), full_check=True)
        except Exception as error:  # of onnx, in several kinds
            raise Broken(f"unsound: {error}\n{onnx.printer.to_text(self.graph.full_proto())}") from None
        _hold(not (stale := stale_rows(self.graph)), f"rows of {stale}")
        fault = interface_fault(before, self.graph, stage.spec.interface, outcome.applied.renamed)
        _hold(fault is None, f"interface: {fault}")

    def _settled(self, stage: Stage) -> None:
        """Nothing matches any more: neither with what is known of the graph by now, nor read anew."""
        if "names" in stage.spec.interface:  # the old names are gone
            return
        for graph in (self.graph.copy(), Graph.from_proto(self.graph.full_proto())):
            try:
                again = apply_stage(graph, stage, CATALOG).applied.matches
            except PassError as error:
                _hold(stage.spec.name in MAY_REFUSE, f"a second run is refused: {error}")
                continue
            places = ", ".join(match.where for match in again)
            _hold(not again, f"a second run matches {places}\n{onnx.printer.to_text(self.graph.full_proto())}")

    def _alike(self, stage: Stage, before: Graph, outcome: Outcome) -> None:
        renamed = outcome.applied.renamed
        fitting = [(place, run) for place, run in enumerate(self.runs) if _fits(self.graph, run[0], renamed)]
        try:
            session = Session(self.graph)
            feeds = [(place, _translated(run[0], self.graph, renamed)) for place, run in fitting]
            found = [(place, given, session.run(given)) for place, given in feeds]
        except RunError as error:
            if "has no operator" in str(error) and stage.spec.name == "convert_opset":
                self.graph = before  # onnxruntime lacks it for this type at that opset
                return
            raise Broken(f"does not run: {error}\n{onnx.printer.to_text(self.graph.full_proto())}") from None
        for place, _, outputs in found:
            known, was = self.runs[place]
            pairs = {name: (was.get(renamed.get(name, name)), now) for name, now in outputs.items()}
            moved = {name: (a, b) for name, (a, b) in pairs.items() if a is not None and not equal(a, b)}
            if moved and (stage.spec.parity == "exact" or place < self.plain):
                self._judge(stage, before, known, moved, renamed, place)
        self.plain = sum(place < self.plain for place, _, _ in found)
        self.runs = [(given, outputs) for _, given, outputs in found]

    def _judge(
        self, stage: Stage, before: Graph, given: Feed, moved: Mapping[str, tuple[Array, Array]],
        renamed: Mapping[str, str], place: int,
    ) -> None:  # fmt: skip
        for name, (was, now) in moved.items():
            _hold(was.dtype == now.dtype and was.shape == now.shape, self._told(place, name, was, now))
            _hold(stage.spec.parity == "close", self._told(place, name, was, now))
        wobbled = [_wobbled(before, given, seed) for seed in range(_WOBBLES)]
        for name, (was, now) in moved.items():
            others = [run[renamed.get(name, name)] for run in wobbled]
            _hold(_close(was, now, others), self._told(place, name, was, now))

    def _told(self, place: int, name: str, was: Array, now: Array) -> str:
        found = f"{was.dtype}{list(was.shape)} became {now.dtype}{list(now.shape)}"
        if was.shape == now.shape and was.dtype == now.dtype and not was.dtype.hasobject:
            was, now = np.atleast_1d(was), np.atleast_1d(now)
            at = np.nonzero(~((was == now) | ((was != was) & (now != now))))  # noqa: PLR0124
            where = [int(axis[0]) for axis in at]
            found = f"{at[0].size} of {was.size} differ, at {where}: {was[at][:4]} became {now[at][:4]}"
        return f"output {name!r} of run {place}: {found}\n{onnx.printer.to_text(self.graph.full_proto())}"


def _default(spec: Pass, name: str) -> object:
    return next((param.default for param in spec.params if param.name == name), None)


def _hold(condition: bool, told: str) -> None:
    if not condition:
        raise Broken(told)


def _bytes(graph: Graph) -> bytes:
    return graph.full_proto().SerializeToString(deterministic=True)


def _fits(graph: Graph, given: Feed, renamed: Mapping[str, str]) -> bool:
    """Whether the feed is still one for the graph, whose inputs a pass may have fixed."""
    for value in graph.inputs:
        array = given.get(renamed.get(value.name, value.name))
        if array is None:
            return False
        if any(isinstance(dim, int) and dim != size for dim, size in zip(value.shape or (), array.shape, strict=False)):
            return False
    return True


def _translated(given: Feed, graph: Graph, renamed: Mapping[str, str]) -> Feed:
    """Return the feed by the names and in the types that the graph has now; what is drawn fits every integer type."""
    found = {}
    for value in graph.inputs:
        array = given[renamed.get(value.name, value.name)]
        found[value.name] = array.astype(numpy_dtype(value.dtype)) if value.dtype else array
    return found


# -- how far rounding may go: the graph before, with every number in it a little off

_WOBBLES = 6
_EPS = 2.0**-23


def _close(was: Array, now: Array, others: list[Array]) -> bool:
    """Whether ``now`` is as near to ``was`` as rounding explains; elements that rounding decides are left out."""
    if was.dtype.hasobject:
        return False
    others = [other for other in others if other.shape == was.shape]
    if not others:
        return False
    if was.dtype.kind not in "fV":
        steady = np.all([other == was for other in others], axis=0)
        return bool(np.all((was == now) | ~steady))
    # minus infinity comes out of some of onnxruntime's pools as the lowest number
    top = float(np.finfo(was.dtype).max) if was.dtype.kind == "f" else np.inf
    a, b, *rest = (np.clip(array.astype(np.float64), -top, top) for array in (was, now, *others))
    steady = (abs(a) < top) & np.all([abs(other) < top for other in rest], axis=0)
    level = np.max(np.abs(a), where=steady, initial=0.0)
    with np.errstate(invalid="ignore"):
        noise = max(np.max(np.abs(other - a), where=steady, initial=0.0) for other in rest)
        eps = max(_EPS, float(np.finfo(was.dtype).eps)) if was.dtype.kind == "f" else 2.0**-7
        near = np.abs(b - a) <= 16 * noise + 64 * eps * level + 1e-37
    return bool(np.all(near | ~steady))


def _wobbled(graph: Graph, given: Feed, seed: int) -> dict[str, Array]:
    """Run a graph with weights, inputs and inner values each off by about one unit in the last place."""
    direction = 1 if seed % 2 else -1
    own = Graph.from_proto(graph.full_proto())
    nudged = nudged_weights(own, seed, direction)
    for tensor in own.proto.graph.initializer:
        if tensor.name in nudged:
            tensor.raw_data = nudged[tensor.name].tobytes()
            tensor.ClearField("float_data")
    model = own.full_proto()
    nodes = []
    rng = random.Random(seed)
    exact = {name for node in model.graph.node if node.op_type in ("Resize", "Range", "Dropout", "Pow", "CastLike")
             for name in node.input[1:]}  # fmt: skip
    for node in model.graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            value = graph.value(name) if name else None
            if node.op_type in ("Constant", "SequenceConstruct") or value is None or name in exact:
                continue
            if value.dtype not in (TensorProto.FLOAT, TensorProto.DOUBLE) or value.kind != "tensor":
                continue
            dims = [dim if isinstance(dim, int) and dim > 0 else 1 for dim in value.shape or ()]
            scale = 1 + np.array([rng.choice([-1, 0, 1]) for _ in range(int(np.prod(dims)))]).reshape(dims) * _EPS
            factor = helper.make_tensor(f"wobble of {name}", value.dtype, dims, scale.reshape(-1).tolist())
            model.graph.initializer.append(factor)
            node.output[place] = f"steady {name}"
            nodes.append(helper.make_node("Mul", [f"steady {name}", factor.name], [name]))
    del model.graph.value_info[:]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    return Session(Graph(model)).run(nudged_feed(given, seed, direction, own))


# -- inference


def strays(graph: Graph, sizes: tuple[int, ...]) -> list[str]:
    """Return the values whose inferred shape or elements are not those that onnxruntime computes."""
    model = graph.full_proto()
    made = [name for node in graph.nodes for name in node.output if name and node.op_type != "SequenceConstruct"]
    session = Session(graph, outputs=made)
    found = []
    for size in sizes:
        for name, array in session.run(feed(model, size)).items():
            value, content = graph.value(name), graph.content(name)
            if value is not None and value.shape is not None and not _agrees(value.shape, array.shape, size):
                found.append(f"{name} is {list(array.shape)}, not {list(value.shape)}, with N={size}")
            if content is not None and not _agrees(content.items, array.reshape(-1).tolist(), size):
                found.append(f"{name} is {array.tolist()}, not {content}, with N={size}")
    return found


def _agrees(known: Sequence[object], actual: Sequence[int], size: int) -> bool:
    dims = [size if dim == "N" else dim for dim in known]
    return len(dims) == len(actual) and all(not isinstance(a, int) or a == b for a, b in zip(dims, actual, strict=True))


# -- orders


def orders(seed: int, names: list[str]) -> list[str]:
    """Return a random subset of passes in a random order, some twice."""
    rng = random.Random(seed)
    names = [name for name in names if name not in CUTTING] + rng.sample(CUTTING, 1)
    chosen = rng.sample(names, rng.randint(2, min(40, len(names))))
    return chosen + rng.sample(chosen, 1)
