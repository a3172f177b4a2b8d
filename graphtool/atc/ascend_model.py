"""What an Ascend 310 computes from a model, as far as public sources tell: a model of it that runs in onnxruntime.

Two steps, each a change to a copy of the graph. *Semantics*: where the ONNX plugins of CANN's operator library compute
something else than ONNX says, the node is rewritten to that. *float16*: ``precision_mode`` is ``force_fp16`` where ATC
is told nothing (GE v2.0.0, ge/offline/main.cc), see :mod:`graphtool.comparator.half`. Nothing of this was tried on a
device. Sources are the operator library's plugins as of the dates in :data:`RULES`; tables as of 2022-06.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from onnx import NodeProto, helper

from graphtool.comparator.half import HalfModel, Weight, first_overflow, half_model
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.declared import declare
from graphtool.parity.metrics import Figures, compare
from graphtool.parity.runerror import RunError
from graphtool.parity.session import Session
from graphtool.rewrite.result import label

Array = NDArray[Any]
Watch = Callable[[str], None]

AS_OF = "2022-06"
_KEPT_COORDINATES = frozenset({"pytorch_half_pixel", "align_corners", "asymmetric"})
_LARGEST_WINDOW, _LARGEST_STRIDE = 255, 63


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which a plugin departs from ONNX, where that is known from, and as of when."""

    id: str
    says: str
    source: str
    date: str


RULES = {
    rule.id: rule
    for rule in (
        Rule(
            "RSZ2",
            "coordinate_transformation_mode is asymmetric unless it is pytorch_half_pixel or align_corners",
            "operator library, resize_plugin.cc",
            "2022-03-26",
        ),
        Rule(
            "RSZ3",
            "nearest_mode is ignored: floor for asymmetric; elsewhere the nearer one, halves upward (inferred from "
            "TensorFlow's kernels, which the operator follows)",
            "operator library, resize_plugin.cc",
            "2022-03-26",
        ),
        Rule(
            "AVG2",
            "an AveragePool whose window or stride is too large is padded with zeros that count, and rounds down "
            "whatever ceil_mode says (refused before 2021-04-26)",
            "operator library, average_pool_plugin.cc, the branch of Transpose, PadV2 and AvgPool",
            "2021-04-26",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Change:
    """A node that is computed in another way: what ONNX says and what the plugin does."""

    node: str
    rule: Rule
    onnx: str
    ascend: str


@dataclass(frozen=True, slots=True)
class Overflow:
    """A result that float16 cannot hold: ``value`` is the float32 number furthest out."""

    node: str
    tensor: str
    value: float


@dataclass(frozen=True, slots=True)
class Ascend:
    """ONNX against the model of the chip, by output: ``semantics`` alone, ``half`` on top of that, and ``both``.

    An output is missing where a change of semantics gives it another shape (``shapes``: by output, ONNX's and the
    plugin's). ``fault`` says why the graph with the plugin's semantics does not run, where only ``half`` is left.
    ``overflows`` are in graph order; ``unmodelled`` names what is known to differ and is not in the model.
    """

    changes: tuple[Change, ...]
    semantics: Mapping[str, Figures]
    half: Mapping[str, Figures]
    both: Mapping[str, Figures]
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    overflows: tuple[Overflow, ...]
    weights: tuple[Weight, ...]
    fault: str
    unmodelled: tuple[str, ...]


def with_semantics(graph: Graph) -> tuple[Graph, list[Change]]:
    """Return a copy of ``graph`` that computes what the plugins do, and what was changed."""
    own = graph.copy()
    changes: list[Change] = []
    for slot in own.live_slots():
        node = own.node(slot)
        if node is not None and node.domain in ("", "ai.onnx"):
            changes += _CHANGES.get(node.op_type, _unchanged)(own, node)
    if any("ceil_mode" in change.onnx for change in changes):  # sizes are others behind it
        for info in own.header.output:
            declare(info, info.type.tensor_type.elem_type, None)
    own.reindex()
    return own, changes


def _unchanged(_: Graph, __: NodeProto) -> Iterator[Change]:
    return iter(())


def _resize(graph: Graph, node: NodeProto) -> Iterator[Change]:
    version = graph.opset()
    if (version or 1) < 11:  # asymmetric and floor are all there was
        return
    mode = ops.effective(node, "mode", version)
    coordinates = str(ops.effective(node, "coordinate_transformation_mode", version))
    if coordinates not in _KEPT_COORDINATES:
        yield Change(label(node), RULES["RSZ2"], coordinates, "asymmetric")
        coordinates = "asymmetric"
        _set(node, "coordinate_transformation_mode", coordinates)
    if mode != "nearest":
        return
    nearest = str(ops.effective(node, "nearest_mode", version))
    wanted = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
    if nearest != wanted:
        yield Change(label(node), RULES["RSZ3"], nearest, wanted)
        _set(node, "nearest_mode", wanted)


def _average_pool(graph: Graph, node: NodeProto) -> Iterator[Change]:
    version = graph.opset()
    kernel = ops.effective(node, "kernel_shape", version)
    strides = ops.effective(node, "strides", version) or [1, 1]
    if not isinstance(kernel, list) or len(kernel) != 2 or not isinstance(strides, list):
        return
    if kernel[0] * kernel[1] <= _LARGEST_WINDOW and max(strides) <= _LARGEST_STRIDE:
        return
    pads = ops.effective(node, "pads", version) or []
    if isinstance(pads, list) and any(pads) and not ops.effective(node, "count_include_pad", version):
        yield Change(label(node), RULES["AVG2"], "count_include_pad=0", "padding is counted")
        _set(node, "count_include_pad", 1)
    if ops.effective(node, "ceil_mode", version):
        yield Change(label(node), RULES["AVG2"], "ceil_mode=1", "sizes are rounded down")
        _set(node, "ceil_mode", 0)


_CHANGES: Mapping[str, Callable[[Graph, NodeProto], Iterator[Change]]] = {
    "Resize": _resize,
    "AveragePool": _average_pool,
}


def _set(node: NodeProto, name: str, value: int | str) -> None:
    own = ops.attribute_of(node, name)
    made = helper.make_attribute(name, value)
    if own is None:
        node.attribute.append(made)
    else:
        own.CopyFrom(made)


# -- what is known to differ and is not modelled


def unmodelled(graph: Graph) -> list[str]:
    """Return a line for each node that the plugins refuse or compute in a way that this model does not follow."""
    version = graph.opset()
    found = []
    for node in graph.nodes:
        if node.domain in ("", "ai.onnx"):
            found += [f"{label(node)}: {text}" for text in _LEFT_OUT.get(node.op_type, _nothing)(node, version)]
    return found


def _nothing(_: NodeProto, __: int | None) -> Iterator[str]:
    return iter(())


def _left_out_resize(node: NodeProto, version: int | None) -> Iterator[str]:
    if ops.effective(node, "mode", version) == "cubic":
        yield "the plugin refuses mode cubic; computed as ONNX says (resize_plugin.cc, 2022-03-26)"
    if ops.effective(node, "antialias", version):
        yield "what becomes of antialias is not known; computed as ONNX says"


def _left_out_pool(node: NodeProto, version: int | None) -> Iterator[str]:
    dilations = ops.effective(node, "dilations", version)
    if node.op_type == "MaxPool" and isinstance(dilations, list) and any(size != 1 for size in dilations):
        yield "dilations may be ignored; computed as ONNX says (max_pool_plugin.cc, tables of 2022-06)"
    auto = ops.effective(node, "auto_pad", version)
    if node.op_type == "AveragePool" and auto not in (None, "NOTSET", "VALID"):
        kernel = ops.effective(node, "kernel_shape", version)
        if isinstance(kernel, list) and len(kernel) == 2 and kernel[0] * kernel[1] > _LARGEST_WINDOW:
            yield f"what becomes of auto_pad={auto} in so large a window is not known; computed as ONNX says"


def _left_out_mod(node: NodeProto, version: int | None) -> Iterator[str]:
    if ops.effective(node, "fmod", version):
        yield "fmod is ignored with a warning; computed as ONNX says (tables of 2022-06)"


def _left_out_gather(node: NodeProto, version: int | None) -> Iterator[str]:
    if ops.effective(node, "batch_dims", version):
        yield "batch_dims is ignored with a warning; computed as ONNX says (tables of 2022-06)"


_LEFT_OUT: Mapping[str, Callable[[NodeProto, int | None], Iterator[str]]] = {
    "Resize": _left_out_resize,
    "MaxPool": _left_out_pool,
    "AveragePool": _left_out_pool,
    "Mod": _left_out_mod,
    "GatherND": _left_out_gather,
}


# -- the whole


def chip_model(graph: Graph, watched: bool = False) -> HalfModel:
    """Return ``graph`` rounded to float16; what a linear Resize makes is float32 (RSZ7, tables of 2022-06)."""
    linear = [
        node.output[0]
        for node in graph.index.by_type("Resize")
        if ops.effective(node, "mode", graph.opset()) == "linear"
    ]
    return half_model(graph, full=linear, watched=watched)


def compare_ascend(graph: Graph, feed: Mapping[str, Array], watch: Watch = lambda _: None) -> Ascend:
    """Run ``graph`` as ONNX says and as the model of the chip does, on one feed.

    Raises FeedError or RunError where the graph itself cannot run.
    """
    watch("running the model as ONNX says")
    onnx = Session(graph).run(feed)
    other, changes = with_semantics(graph)
    fault = ""
    meant = onnx
    if changes:
        watch("running it with the plugins' semantics")
        try:
            meant = Session(other).run(feed)
        except RunError as error:
            fault, other = str(error), graph
    watch("running it in float16")
    made = chip_model(other, watched=True)
    ran = Session(made.graph).run(feed)
    names = list(onnx)
    same = [name for name in names if onnx[name].shape == meant[name].shape]
    return Ascend(
        tuple(changes),
        {name: compare(onnx[name], meant[name]) for name in same} if not fault else {},
        {name: compare(meant[name], ran[name]) for name in names},
        {name: compare(onnx[name], ran[name]) for name in same},
        {name: (onnx[name].shape, meant[name].shape) for name in names if name not in same},
        tuple(Overflow(*found) for found in first_overflow(made, ran)),
        made.weights,
        fault,
        (*unmodelled(graph), *_bodies(made)),
    )


def _bodies(made: HalfModel) -> Sequence[str]:
    if not made.bodies:
        return ()
    return (f"{made.bodies} bodies of If, Loop or Scan compute in float32 here, and as ONNX says",)
