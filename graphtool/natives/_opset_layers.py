"""Adapters for layers: normalization, dropout, pools, convolution, Gemm, quantization, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto

from graphtool.errors import quoted
from graphtool.graph import opset as ops
from graphtool.natives._opset_node import Adapter, lower, raise_attributes, set_inputs
from graphtool.natives._opset_site import Site
from graphtool.natives._opset_steps import Refusal, Step

Nodes = list[tuple[NodeProto, int]]

# -- BatchNormalization, Dropout: inference only


def batch_norm_up(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 14 further outputs are what says training, and they are others than from 14 on."""
    if any(node.output[1:]):
        raise Refusal("it has the outputs of training, which opset 14 changed")
    del node.output[1:]


def batch_norm_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 14 only the outputs say training."""
    if site.attribute(node, "training_mode", step.number):
        raise Refusal("training_mode=1 needs opset 14")
    site.drop(node, "training_mode")
    del node.output[1:]


def batch_norm_up_9(site: Site, node: NodeProto, step: Step) -> None:
    """From opset 9 on the statistics are per channel only."""
    if site.attribute(node, "spatial", step.number - 1) != 1:
        raise Refusal("spatial=0, statistics per element, is gone since opset 9")
    site.drop(node, "spatial")


def batch_norm_down_9(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 9 statistics are per channel by default."""


def dropout(site: Site, node: NodeProto, step: Step) -> None:
    """Opset 10 gave the mask another type, opset 12 another meaning at inference; nobody reads it."""
    if len(node.output) > 1:
        if not site.unused(node.output[1]):
            raise Refusal(f"its mask is read, which opset {step.number} changed")
        del node.output[1:]
    if step.number == 12 and step.up:
        raise_attributes(site, node, step)
    elif step.number == 12:
        if len(node.input) > 1 and site.constant(node.input[1]) is None:
            node.input[1] = ""  # only training reads it, and training refuses
        lower(site, node, step)


# -- GroupNormalization


def group_norm_up(site: Site, node: NodeProto, step: Step) -> None:
    """From opset 21 on scale and bias are per channel, and the first stage may be more precise than the input."""
    groups = site.attribute(node, "num_groups", step.number)
    x, *pair = node.input
    shape = site.shape(x)
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if not isinstance(channels, int):
        raise Refusal(f"the number of channels of {quoted(x)} is not known")
    code = site.dtype(x, "the precision of the first stage is new in opset 21")
    if code != TensorProto.FLOAT:
        site.set(node, "stash_type", code, step.version)
    made = []
    for name, hint in zip(pair, ("scale", "bias"), strict=True):
        held = site.constant(name)
        if held is None:
            raise Refusal(f"{quoted(name)} must be constant: it is per group before opset 21, then per channel")
        made.append(site.tensor(np.repeat(held, channels // groups), hint))
    set_inputs(node, [x, *made])


def group_norm_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 21 it is deprecated, and refused by onnx's checker."""
    raise Refusal("before opset 21 it is deprecated, with a scale per group")


# -- pools and ConvTranspose


def pool_22(site: Site, node: NodeProto, step: Step) -> None:
    """From opset 22 on a window that would start in the padding at the end is left out; ceil_mode alone makes one."""
    if not site.attribute(node, "ceil_mode", step.number):
        return
    kernel: Sequence[int] = site.attribute(node, "kernel_shape", step.number)
    count = len(kernel)
    dilations = site.attribute(node, "dilations", step.number) or [1] * count
    strides = site.attribute(node, "strides", step.number) or [1] * count
    pads = site.attribute(node, "pads", step.number) or [0] * 2 * count
    if site.attribute(node, "auto_pad", step.number) not in ("NOTSET", None):
        return  # auto_pad fixes the number of windows
    shape = site.shape(node.input[0])
    for axis in range(count):
        window = (kernel[axis] - 1) * dilations[axis] + 1
        begin, end, stride = pads[axis], pads[axis + count], strides[axis]
        if stride + end <= window:
            continue
        extent = shape[axis + 2] if shape is not None and len(shape) == count + 2 else None
        if not isinstance(extent, int):
            raise Refusal("whether ceil_mode makes a window in the padding, which opset 22 leaves out, is not known")
        last = math.ceil((extent + begin + end - window) / stride)
        if last * stride >= extent + begin:
            raise Refusal("ceil_mode makes a window that starts in the padding, which opset 22 leaves out")


def conv_transpose(site: Site, node: NodeProto, step: Step) -> None:
    """Opset 11 puts the odd one of a total padding at the other end, where the padding follows from the output."""
    auto = site.attribute(node, "auto_pad", step.number)
    wanted: Sequence[int] | None = site.attribute(node, "output_shape", step.number)
    if auto not in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        return
    shape, weight = site.shape(node.input[0]), site.shape(node.input[1])
    for axis in range(len(shape) - 2 if shape is not None else 1):
        extent = shape[axis + 2] if shape is not None else None
        kernel = weight[axis + 2] if weight is not None else None
        if not isinstance(extent, int) or not isinstance(kernel, int):
            raise Refusal("its padding follows from the output's size, which is not known: opset 11 moved an odd one")
        stride, dilation, more = (
            (site.attribute(node, name, step.number) or {axis: default})[axis]
            for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
        )
        made = wanted[len(wanted) - len(shape or ()) + 2 + axis] if wanted else extent * stride
        if (stride * (extent - 1) + more + (kernel - 1) * dilation + 1 - made) % 2:
            raise Refusal("its padding follows from the output's size and is odd: opset 11 puts it at the other end")


# -- Gemm, Clip, quantization, the rest


def gemm_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 11 C is required; a zero changes nothing."""
    if len(node.input) < 3 or not node.input[2]:
        code = site.dtype(node.input[0], "before opset 11 the summand is required")
        set_inputs(node, [*node.input[:2], site.tensor(np.zeros((), ops.numpy_dtype(code)), "zero")])


def clip_up(site: Site, node: NodeProto, step: Step) -> None:
    """From opset 11 on the bounds are inputs of the tensor's type, and an absent one is that type's own."""
    if ops.attribute_of(node, "min") is None and ops.attribute_of(node, "max") is None:
        code = site.value(node.input[0]).dtype or TensorProto.FLOAT
    else:
        code = site.dtype(node.input[0], "the bounds become inputs of its type")
    if code != TensorProto.FLOAT:
        for name in ("min", "max"):
            site.set(node, name, site.attribute(node, name, step.number - 1), step.number - 1)
    raise_attributes(site, node, step)
    if code == TensorProto.FLOAT:
        return
    inputs = list(node.input)
    with np.errstate(over="ignore"):  # the bound of float32 is beyond float16: infinity does not clip either
        for place, hint in ((1, "min"), (2, "max")):
            held = site.constant(inputs[place])
            assert held is not None
            inputs[place] = site.tensor(held.astype(ops.numpy_dtype(code)), hint)
    set_inputs(node, inputs)


def per_tensor(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 13 there is one scale, and no axis."""
    shape = site.shape(node.input[1])
    if shape is None or any(dim != 1 for dim in shape) or len(shape) > 1:
        raise Refusal("a scale per axis needs opset 13")
    site.drop(node, "axis")


def grid_sample(site: Site, node: NodeProto, step: Step) -> None:
    """Opset 20 renamed the modes and took in volumes."""
    names = {"bilinear": "linear", "bicubic": "cubic"}
    if not step.up:
        names = {new: old for old, new in names.items()}
        if site.rank(node.input[0], "before opset 20 only images are sampled") != 4:
            raise Refusal("anything but images (4-D) needs opset 20")
    own = ops.attribute_of(node, "mode")
    if own is not None:
        mode = site.attribute(node, "mode", step.number)
        site.set(node, "mode", names.get(mode, mode), step.version)


def cast_24(site: Site, node: NodeProto, step: Step) -> None:
    """Opset 24 saturates infinity in the float8 types without one, where before it became NaN."""
    to = site.attribute(node, "to", step.number) if node.op_type == "Cast" else site.value(node.output[0]).dtype
    if to in (0, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2FNUZ):
        raise Refusal("infinity as float8 without infinity changed in opset 24")
    if not step.up:
        lower(site, node, step)


def attention_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 24 a mask is as long as the keys."""
    lower(site, node, step)
    inputs = [*node.input, *[""] * (6 - len(node.input))]
    if not inputs[3]:
        return
    mask, keys = site.shape(inputs[3]), site.shape(inputs[1])
    known = mask and keys and len(keys) > 2 and mask[-1] is not None and not inputs[4]
    if not known or mask[-1] != keys[-2]:  # type: ignore[index]
        raise Refusal("its mask may be shorter than the keys, which needs opset 24")


def reduction_18(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 18 a scatter adds or multiplies only."""
    if site.attribute(node, "reduction", step.number) in ("max", "min"):
        raise Refusal("reduction by max or min needs opset 18")


def mod_28(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 28 fmod=0 is for whole numbers only."""
    code = site.dtype(node.input[0], "before opset 28 fmod=0 is for whole numbers")
    if not site.attribute(node, "fmod", step.number) and np.dtype(ops.numpy_dtype(code)).kind not in "iu":
        raise Refusal("fmod=0 of floating point needs opset 28")


def shift_28(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 28 nothing says what a shift by all bits does."""
    bits = 8 * ops.numpy_dtype(site.dtype(node.input[0], "a shift by all bits needs opset 28")).itemsize
    places = site.constant(node.input[1])
    if places is None or np.any(places >= bits):
        raise Refusal("it may shift by all bits, which needs opset 28")


UP: dict[tuple[str, int], Adapter] = {
    ("AveragePool", 22): pool_22,
    ("BatchNormalization", 9): batch_norm_up_9,
    ("BatchNormalization", 14): batch_norm_up,
    ("Cast", 24): cast_24,
    ("CastLike", 24): cast_24,
    ("Clip", 11): clip_up,
    ("ConvTranspose", 11): conv_transpose,
    ("Dropout", 10): dropout,
    ("Dropout", 12): dropout,
    ("GridSample", 20): grid_sample,
    ("GroupNormalization", 21): group_norm_up,
    ("MaxPool", 22): pool_22,
}
DOWN: dict[tuple[str, int], Adapter] = {
    ("Attention", 24): attention_down,
    ("AveragePool", 22): pool_22,
    ("BatchNormalization", 9): batch_norm_down_9,
    ("BatchNormalization", 14): batch_norm_down,
    ("BitShift", 28): shift_28,
    ("Cast", 24): cast_24,
    ("CastLike", 24): cast_24,
    ("ConvTranspose", 11): conv_transpose,
    ("DequantizeLinear", 13): per_tensor,
    ("Dropout", 10): dropout,
    ("Dropout", 12): dropout,
    ("Gemm", 11): gemm_down,
    ("GridSample", 20): grid_sample,
    ("GroupNormalization", 21): group_norm_down,
    ("MaxPool", 22): pool_22,
    ("Mod", 28): mod_28,
    ("QuantizeLinear", 13): per_tensor,
    ("ScatterElements", 18): reduction_18,
    ("ScatterND", 18): reduction_18,
}
