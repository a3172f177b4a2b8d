"""Adapters for Upsample and Resize.

Before opset 11 the coordinates are x / scale, and nearest takes the floor (onnx#8480). onnxruntime agrees where an
axis grows; where one shrinks, its nearest of opset 10 takes the ceiling. Both are the same where 1 / scale is a power
of two.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from graphtool.graph import forms
from graphtool.graph.forms import Virtual
from graphtool.natives._opset_node import Adapter, lower, set_inputs
from graphtool.natives._opset_site import Site
from graphtool.natives._opset_steps import Refusal, Step

Nodes = list[tuple[NodeProto, int]]


def upsample_up(site: Site, node: NodeProto, step: Step) -> Nodes:
    """Upsample is Resize from opset 10 on."""
    node.op_type = "Resize"
    return [(node, step.version)]


def resize_to_upsample(site: Site, node: NodeProto, step: Step) -> Nodes:
    """Before opset 10 there is Upsample, which only grows."""
    scales = site.constant(node.input[1])
    if scales is None or not np.all(scales >= 1):
        raise Refusal("scales below 1, or not constant, need opset 10")
    node.op_type = "Upsample"
    return [(node, step.version)]


def resize_up(site: Site, node: NodeProto, step: Step) -> Nodes:
    """Say what opset 10 computed: asymmetric and floor."""
    mode = site.attribute(node, "mode", step.number - 1)
    x, scales = node.input
    rounding = _rounding(site, scales, mode)
    site.set(node, "coordinate_transformation_mode", "asymmetric", step.version)
    if mode == "nearest":
        site.set(node, "nearest_mode", rounding, step.version)
    version = 13 if site.target >= 13 else step.version
    roi = "" if version >= 13 else site.tensor(np.zeros(0, np.float32), "roi")
    set_inputs(node, [x, roi, scales])
    return [(node, version)]


def resize_down(site: Site, node: NodeProto, step: Step) -> None:
    """Opset 10 has asymmetric coordinates and floor only, and scales."""
    mode = site.attribute(node, "mode", step.number)
    if mode == "cubic":
        raise Refusal("mode cubic needs opset 11")
    where = site.attribute(node, "coordinate_transformation_mode", step.number)
    if where != "asymmetric":
        raise Refusal(f"coordinate_transformation_mode {where} needs opset 11: opset 10 computes asymmetric")
    rounding = site.attribute(node, "nearest_mode", step.number)
    if mode == "nearest" and rounding != "floor":
        raise Refusal(f"nearest_mode {rounding} needs opset 11: opset 10 computes floor")
    for name in step.added:
        site.drop(node, name)
    try:
        inputs, _ = forms.write(step.op, "", step.version, list(node.input), site.constant, {})
    except ValueError as error:
        raise Refusal(str(error)) from None
    x, scales = inputs
    assert isinstance(x, str) and isinstance(scales, str)
    if _rounding(site, scales, mode) != "floor":
        raise Refusal("nearest on an axis that shrinks: onnxruntime takes the ceiling in opset 10")
    set_inputs(node, [x, scales])


def _rounding(site: Site, name: str, mode: object) -> str:
    """Return what nearest of opset 10 does; refuses on a shrinking axis, where it is disputed, unless told."""
    if mode != "nearest":
        return "floor"
    scales = site.constant(name)
    if scales is not None:
        shrinking = [float(scale) for scale in scales.reshape(-1) if scale < 1]
        # x * 2^k is a whole number, so that floor and ceiling are the same
        if all(scale > 0 and np.frexp(scale)[0] == 0.5 for scale in shrinking):
            return "floor"
    if site.shrinking == "refuse":
        what = "has computed scales" if scales is None else "shrinks an axis"
        raise Refusal(
            f"nearest that {what}: ONNX takes the floor, onnxruntime the ceiling; choose by the parameter shrinking"
        )
    if site.shrinking == "ceil" and (scales is None or np.any(scales > 1)):
        raise Refusal("onnxruntime takes the ceiling where an axis shrinks and the floor where one grows")
    return site.shrinking


def resize_down_13(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 13 roi and scales are required; one that is empty stands for an absent one."""
    inputs, _ = forms.write(step.op, "", step.version, list(node.input), site.constant, {})
    set_inputs(node, [site.tensor(held.array, "roi") if isinstance(held, Virtual) else held for held in inputs])


def resize_down_18(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 18 scales and sizes are for all axes."""
    axes = site.attribute(node, "axes", step.number)
    if axes is None:
        lower(site, node, step)
        return
    x, _, scales, sizes = (str(node.input[place]) if place < len(node.input) else "" for place in range(4))
    if site.attribute(node, "coordinate_transformation_mode", step.number) == "tf_crop_and_resize":
        raise Refusal("a crop on some axes needs opset 18")
    shape = site.shape(x)
    rank = site.rank(x, "before opset 18 scales and sizes are for all axes")
    assert shape is not None
    given = site.constant(scales or sizes)
    if given is None:
        raise Refusal("scales or sizes of some axes must be constant: before opset 18 they are for all axes")
    places = [axis % rank for axis in axes]
    if scales:
        whole = np.ones(rank, np.float32)
        whole[places] = given
        scales = site.tensor(whole, "scales")
    else:
        others = [dim if place not in places else 0 for place, dim in enumerate(shape)]
        if not all(isinstance(dim, int) for dim in others):
            raise Refusal("sizes of some axes need opset 18 where the extent of another axis is not known")
        extents = np.array(others, np.int64)
        extents[places] = given
        sizes = site.tensor(extents, "sizes")
    site.drop(node, "axes")
    set_inputs(node, [x, "", scales, sizes])
    lower(site, node, step)


def resize_down_19(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 19 there is no half_pixel_symmetric."""
    if site.attribute(node, "coordinate_transformation_mode", step.number) == "half_pixel_symmetric":
        raise Refusal("coordinate_transformation_mode half_pixel_symmetric needs opset 19")


UP: dict[tuple[str, int], Adapter] = {("Upsample", 10): upsample_up, ("Resize", 11): resize_up}
DOWN: dict[tuple[str, int], Adapter] = {
    ("Resize", 10): resize_to_upsample,
    ("Resize", 11): resize_down,
    ("Resize", 13): resize_down_13,
    ("Resize", 18): resize_down_18,
    ("Resize", 19): resize_down_19,
}
