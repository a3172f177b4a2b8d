"""ArgMax over classes moved below nearest upsampling: labels are resized in place of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.bodies import captures
from graphtool.rewrite.result import Applied, Match, Miss, alias, label
from graphtool.rewrite.selection import Offer, everywhere

_LARGEST = 2048  # float16 holds integers to there, all of them
# what a label in float16 becomes as it would from int64, and the largest label for which that holds
_WIDE = "FLOAT16 INT64 INT32 INT16 UINT16 FLOAT DOUBLE".split()
_CASTS = {TensorProto.DataType.Value(name): _LARGEST for name in _WIDE}
_CASTS |= {TensorProto.UINT8: 255, TensorProto.INT8: 127}


UNITS = True  # each ArgMax


def apply(graph: Graph, params: Mapping[str, object], offer: Offer = everywhere) -> Applied:
    """Move each ArgMax of the main graph and its bodies below the nearest upsampling that it reads."""
    result = Applied()
    for level in graph.levels():
        slots = level.index.slots_of_type("ArgMax")
        while slots:
            moved = []
            for slot in slots:
                node = level.node(slot)
                assert node is not None
                reason = _refusal(level, node)
                if reason is None and offer(label(node), alias(node)):
                    result.matches.append(Match(label(node), "native"))
                    moved.append(_move(level, slot, node))
                elif reason:
                    result.misses.append(Miss(label(node), "native", reason))
            slots = moved  # what it reads now may be an upsampling too
    return result


def _refusal(graph: Graph, node: NodeProto) -> str | None:
    """Return why an ArgMax cannot move below what it reads, '' where that is no Resize, None where it can."""
    scores = node.input[0]
    resize = graph.index.producer(scores)
    if resize is None or resize.op_type not in ("Resize", "Upsample") or resize.domain not in ("", "ai.onnx"):
        return ""
    version = graph.opset()
    if ops.effective(resize, "mode", version) != "nearest":
        return "it reads a Resize that is not nearest"
    if graph.index.uses(scores) > 1 or _is_output(graph, scores):
        return "the resized scores have another reader"
    if ops.effective(resize, "coordinate_transformation_mode", version) == "tf_crop_and_resize":
        return "tf_crop_and_resize makes up pixels outside the image"
    source = graph.value(resize.input[0])
    if source is None or source.shape is None or not source.shape:
        return "the shape of the scores is unknown"
    axis = _axis(graph, node, len(source.shape))
    classes = source.shape[axis]
    if not isinstance(classes, int):
        return "the number of classes is unknown"
    if classes - 1 > _LARGEST:
        return f"float16 does not hold the {classes} labels exactly"
    return _not_upsampling(graph, resize, source.shape, axis)


def _axis(graph: Graph, node: NodeProto, rank: int) -> int:
    axis = ops.effective(node, "axis", graph.opset())
    return axis % rank if isinstance(axis, int) else 0


def _not_upsampling(graph: Graph, resize: NodeProto, shape: tuple[object, ...], axis: int) -> str | None:
    """Return why a Resize of scores is not one that copies pixels and no classes; None where it is."""
    axes = _axes(graph, resize, len(shape))
    sizes = _input(graph, resize, 3)
    if sizes is not None:
        policy = ops.effective(resize, "keep_aspect_ratio_policy", graph.opset())
        if policy not in (None, "stretch"):
            return "its sizes keep the aspect ratio, which the class axis is part of"
        if any(k == axis and size != shape[axis] for k, size in zip(axes, sizes.tolist(), strict=False)):
            return "the class axis is resized too"
        sources = [size for k in axes if isinstance(size := shape[k], int)]
        if len(sources) < len(axes):
            return "the size of the scores is unknown"
        return None if math.prod(sizes.tolist()) > math.prod(sources) else "it does not upsample"
    scales = _scales(graph, resize)
    if scales is None:
        return "its scales are no constant"
    if any(k == axis and scale != 1 for k, scale in zip(axes, scales, strict=False)):
        return "the class axis is resized too"
    return None if math.prod(scales) > 1 else "it does not upsample"


def _axes(graph: Graph, resize: NodeProto, rank: int) -> list[int]:
    axes = ops.effective(resize, "axes", graph.opset())
    return [axis % rank for axis in axes] if isinstance(axes, list) else list(range(rank))


def _input(graph: Graph, node: NodeProto, position: int) -> NDArray[np.generic] | None:
    array = graph.constant(node.input[position]) if position < len(node.input) else None
    return array if array is not None and array.size else None


def _scales(graph: Graph, resize: NodeProto) -> list[float] | None:
    version = graph.opset() or 1
    if resize.op_type == "Upsample" and version < 9:
        own = ops.effective(resize, "scales", version)
        return [float(scale) for scale in own] if isinstance(own, list) else None
    found = _input(graph, resize, 1 if resize.op_type == "Upsample" or version < 11 else 2)
    return None if found is None else [float(scale) for scale in found.tolist()]


def _move(graph: Graph, slot: int, node: NodeProto) -> int:
    """Move the ArgMax in ``slot`` below its Resize and return the slot that it is in now."""
    resize_slot = graph.index.producer_slot(node.input[0])
    assert resize_slot is not None
    resize = graph.node(resize_slot)
    assert resize is not None
    source = graph.value(resize.input[0])
    assert source is not None and source.shape is not None
    axis = _axis(graph, node, len(source.shape))
    name, made = label(node), node.output[0]
    kept = ops.effective(node, "keepdims", graph.opset()) != 0

    lower, upper = NodeProto(), NodeProto()
    lower.CopyFrom(node)
    lower.input[0] = resize.input[0]
    _set_int(lower, "keepdims", 1)
    labels = lower.output[0] = graph.names.fresh_value(f"{made}/labels")
    lower.name = graph.names.fresh_node(f"{name}/labels")
    half = graph.names.fresh_value(f"{made}/half")
    to_half = helper.make_node("Cast", [labels], [half], graph.names.fresh_node(f"{name}/half"), to=TensorProto.FLOAT16)
    upper.CopyFrom(resize)
    upper.input[0] = half
    last = upper.output[0] = graph.names.fresh_value(f"{made}/resized")
    sizes = _input(graph, resize, 3)
    axes = _axes(graph, resize, len(source.shape))
    if sizes is not None and axis in axes:
        own = np.array(sizes, np.int64)
        own[axes.index(axis)] = 1
        upper.input[3] = graph.add_initializer(f"{resize.input[3]}/labels", own)
    nodes = [lower, to_half, upper]
    if not kept:
        squeezed = graph.names.fresh_value(f"{made}/squeezed")
        nodes.append(_squeeze(graph, last, squeezed, axis, name))
        last = squeezed
    cast = _cast_after(graph, made, source.shape[axis])
    gone = [resize_slot, slot]
    if cast is not None:
        _read_half(graph, cast, last)
    slots = [graph.add_node(new, slot, step) for step, new in enumerate(nodes)]
    for old in gone:
        graph.remove_node(old)
    if cast is None:
        back = helper.make_node("Cast", [last], [made], name if node.name else "", to=TensorProto.INT64)
        graph.add_node(back, slot, len(nodes))
    _drop_constants(graph, resize, upper)
    return slots[0]


def _read_half(graph: Graph, slot: int, half: str) -> None:
    """Let the Cast in ``slot`` read labels that are float16; one to float16, of a Resize above, has nothing to do."""
    node = graph.node(slot)
    assert node is not None
    made = node.output[0]
    if ops.effective(node, "to", graph.opset()) == TensorProto.FLOAT16 and not _is_output(graph, made):
        graph.replace_uses(made, half)
        graph.remove_node(slot)
    else:
        graph.set_input(slot, 0, half)


def _is_output(graph: Graph, name: str) -> bool:
    return any(info.name == name for info in graph.header.output)


def _cast_after(graph: Graph, made: str, classes: object) -> int | None:
    """Return the slot of a Cast that is all that reads the labels and may read them as float16; None if there is none.

    Only then is the Cast to int64 left out.
    """
    if graph.index.uses(made) != 1 or _is_output(graph, made):
        return None
    (slot,) = graph.index.reader_slots(made)
    node = graph.node(slot)
    if node is None or node.op_type != "Cast" or node.domain not in ("", "ai.onnx") or made in captures(node):
        return None
    to = ops.effective(node, "to", graph.opset())
    most = next((largest for code, largest in _CASTS.items() if code == to), -1)
    return slot if isinstance(classes, int) and classes - 1 <= most else None


def _squeeze(graph: Graph, source: str, made: str, axis: int, stem: str) -> NodeProto:
    name = graph.names.fresh_node(f"{stem}/squeeze")
    if (graph.opset() or 1) < 13:
        return helper.make_node("Squeeze", [source], [made], name, axes=[axis])
    axes = graph.add_initializer(f"{stem}/axes", np.array([axis], np.int64))
    return helper.make_node("Squeeze", [source, axes], [made], name)


def _set_int(node: NodeProto, name: str, value: int) -> None:
    own = ops.attribute_of(node, name)
    if own is None:
        node.attribute.add().CopyFrom(helper.make_attribute(name, value))
    else:
        own.i = value


def _drop_constants(graph: Graph, old: NodeProto, new: NodeProto) -> None:
    """Drop a constant that only the resize of scores read."""
    outputs = {info.name for info in graph.header.output}
    unread = [n for n in old.input if n and n not in new.input and n not in outputs and not graph.index.uses(n)]
    graph.drop_initializers(name for name in unread if name in graph.initializers)
