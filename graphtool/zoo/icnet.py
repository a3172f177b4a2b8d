"""ICNet, the reference network, built without torch. Floor 6.

Zhao et al., "ICNet for real-time semantic segmentation on high-resolution images" (arXiv 1704.08545), in the form of
liminn/ICNet-pytorch with a ResNet-50 backbone, as torch 1.8 exports it at opset 11: the graph of Huawei's ICNet guide
for Ascend 310, node for node. Three branches see the image at full, half and quarter size; the quarter-size one is
deep (dilated ResNet-50 and pyramid pooling); two cascade feature fusion units join them.

The weights are seeded, so the network computes a segmentation of nothing: its class maps vary over the image and
are stable enough to compare, and say nothing about accuracy.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from graphtool.errors import ModelError, UsageError, did_you_mean, quoted
from graphtool.graph.save import replacing
from graphtool.rewrite.matrices import pool_matrix
from graphtool.seeded import key
from graphtool.zoo.builder import ExporterGraph
from graphtool.zoo.weights import Kernel, bias, kernel

CLASSES = 19
BINS = (1, 2, 3, 6)
POOLS = ("avg", "adaptive", "exact")

_SEED = 1
_BIAS = 0.5
_RES = 1.0
_INPUT = "actual_input_1"
# avg needs a window for each of six bins on the coarsest map, at 1/32 of the size
_SMALLEST = {"avg": 168, "adaptive": 32, "exact": 32}
# What the exporter's numbers start from: the input and the 467 parameters and buffers come before the first tensor.
_FIRST_TENSOR, _FIRST_WEIGHT, _FIRST_FOLDED = 468, 795, 1058


def build_icnet(height: int = 1024, width: int = 2048, batch: int = 1, pool: str = "avg") -> onnx.ModelProto:
    """Build ICNet for float32 images of shape (batch, 3, height, width), 19 classes, opset 11, 111 MB of weights.

    Outputs: ``794`` (batch, 19, height, width), and the maps that training supervises: ``788`` at 1/4, ``782`` at 1/8
    and ``756`` at 1/16 of the size. Height and width are multiples of 8, else output 794 would not have the input's
    size; the smallest is 168 with ``pool="avg"``, whose coarsest map must have six rows and columns for the six bins,
    and 32 with the others. The weights do not depend on the arguments.

    ``pool`` says how the pyramid averages: ``avg``, AveragePool with stride floor(in / bins) and kernel
    in - (bins - 1) * stride, the guide's stand-in (at bins 3 and 6 it is not adaptive average pooling); ``adaptive``,
    the custom op ``AdaptiveAvgPool2d`` with ``output_size``, which onnxruntime cannot run; ``exact``, two MatMuls
    with averaging matrices, which is adaptive average pooling at any size.

    Raises :class:`UsageError` for arguments that do not fit.
    """
    _check(height, width, batch, pool)
    net = _ICNet(height, width, pool)
    outputs = net.build()
    strides = (1, 4, 8, 16)
    return net.graph.model(
        [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, [batch, 3, height, width])],
        [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [batch, CLASSES, _ceil_div(height, stride), _ceil_div(width, stride)]
            )
            for name, stride in zip(outputs, strides, strict=True)
        ],
        name="torch-jit-export",
        opset=11,
        ir_version=6,
    )


def write_icnet(
    path: str | os.PathLike[str], height: int = 1024, width: int = 2048, batch: int = 1, pool: str = "avg"
) -> onnx.ModelProto:
    """Write :func:`build_icnet` to ``path``, whole or not at all, the same bytes every time; return the model.

    Raises :class:`UsageError` for arguments that do not fit, :class:`ModelError` where the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise ModelError(f"cannot write {quoted(target)}: it is a folder")
    model = build_icnet(height, width, batch, pool)
    with replacing(target) as file:
        file.write(model.SerializeToString(deterministic=True))
    return model


def _check(height: int, width: int, batch: int, pool: str) -> None:
    if pool not in POOLS:
        raise UsageError(f"unknown pool {quoted(pool)}{did_you_mean(pool, POOLS)}  (one of {', '.join(POOLS)})")
    if batch < 1:
        raise UsageError(f"batch {batch}: it must be at least 1")
    smallest = _SMALLEST[pool]
    for side, size in (("height", height), ("width", width)):
        if size < smallest or size % 8:
            raise UsageError(f"{side} {size}: ICNet with pool {pool} takes multiples of 8 from {smallest} on")


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _seed(name: str) -> int:
    return key("icnet", _SEED, name)


class _ICNet:
    """The network under construction; methods take and return tensor names, in the exporter's order."""

    def __init__(self, height: int, width: int, pool: str) -> None:
        self.graph = ExporterGraph(first_tensor=_FIRST_TENSOR, first_weight=_FIRST_WEIGHT, first_folded=_FIRST_FOLDED)
        self.coarse = (_ceil_div(height, 32), _ceil_div(width, 32))
        self.pool = pool

    def build(self) -> tuple[str, str, str, str]:
        """Build the network and return its four outputs, from fine to coarse."""
        full = self.detail(_INPUT)
        half = self.shallow(self.resize_by(_INPUT, 0.5))
        quarter = self.shallow(self.resize_by(_INPUT, 0.25))
        quarter = self.stage(quarter, 512, 256, blocks=6, dilation=2, kind="random")
        quarter = self.stage(quarter, 1024, 512, blocks=3, dilation=4, kind="random")
        quarter = self.pyramid(quarter)
        fused, sixteenth = self.fuse(quarter, 2048, half, 512)
        self.graph.skip(2)
        fused, eighth = self.fuse(fused, 128, full, 64)
        self.graph.skip(3)
        fourth = self.head(self.resize_by(fused, 2))
        self.graph.skip(3)
        roi = self.empty()
        self.graph.skip(1)
        whole = self.resize(fourth, roi, self.scales(4))
        return whole, fourth, eighth, sixteenth

    def conv(
        self,
        x: str,
        inputs: int,
        outputs: int,
        side: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        kind: Kernel = "random",
        gain: float = 1.0,
        biased: bool = True,
    ) -> str:
        """Append a Conv with the BatchNormalization that followed it in training folded into weight and bias."""
        name = self.graph.weight_name()
        operands = [x, self.graph.initializer(name, kernel(_seed(name), outputs, inputs, side, kind, gain))]
        if biased:
            name = self.graph.weight_name()
            operands.append(self.graph.initializer(name, bias(_seed(name), outputs, _BIAS)))
        return self.graph.node(
            "Conv",
            *operands,
            dilations=[dilation] * 2,
            group=1,
            kernel_shape=[side] * 2,
            pads=[dilation * (side // 2)] * 4,
            strides=[stride] * 2,
        )

    def relu(self, x: str) -> str:
        """Append a Relu."""
        return self.graph.node("Relu", x)

    def detail(self, x: str) -> str:
        """Append the branch that sees the full image: three strided convolutions, to 1/8."""
        for inputs, outputs in ((3, 32), (32, 32), (32, 64)):
            x = self.relu(self.conv(x, inputs, outputs, 3, stride=2, kind="smooth"))
        return x

    def shallow(self, x: str) -> str:
        """Append the stem and the first two stages of ResNet-50: to 1/8 of what it is given."""
        for inputs, outputs, stride in ((3, 64, 2), (64, 64, 1), (64, 128, 1)):
            x = self.relu(self.conv(x, inputs, outputs, 3, stride=stride, kind="smooth"))
        x = self.graph.node(
            "MaxPool", x, ceil_mode=0, dilations=[1, 1], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]
        )
        x = self.stage(x, 128, 64, blocks=3, kind="smooth")
        return self.stage(x, 256, 128, blocks=4, stride=2, kind="smooth")

    def stage(
        self, x: str, inputs: int, planes: int, *, blocks: int, stride: int = 1, dilation: int = 1, kind: Kernel
    ) -> str:
        """Append a stage of bottlenecks; the first one has the stride, and half the dilation."""
        x = self.bottleneck(x, inputs, planes, stride, max(dilation // 2, 1), kind)
        for _ in range(blocks - 1):
            x = self.bottleneck(x, 4 * planes, planes, 1, dilation, kind)
        return x

    def bottleneck(self, x: str, inputs: int, planes: int, stride: int, dilation: int, kind: Kernel) -> str:
        """Append a bottleneck block (He et al., arXiv 1512.03385, figure 5)."""
        branch = self.relu(self.conv(x, inputs, planes))
        branch = self.relu(self.conv(branch, planes, planes, 3, stride=stride, dilation=dilation, kind=kind))
        branch = self.conv(branch, planes, 4 * planes, gain=_RES)
        shortcut = x if inputs == 4 * planes else self.conv(x, inputs, 4 * planes, stride=stride)
        return self.relu(self.graph.node("Add", branch, shortcut))

    def pyramid(self, x: str) -> str:
        """Append pyramid pooling: the average over each grid of bins, resized back and added."""
        size = self.size(x)
        total = x
        for bins in BINS:
            total = self.graph.node("Add", total, self.resize_to(self.average(x, bins), size))
        return total

    def average(self, x: str, bins: int) -> str:
        """Append the averaging over a grid of bins x bins."""
        graph = self.graph
        if self.pool == "adaptive":
            graph.skip(2)
            return graph.node("AdaptiveAvgPool2d", x, output_size=[bins, bins])
        if self.pool == "exact":
            rows, columns = (pool_matrix(size, bins) for size in self.coarse)
            graph.skip(1)
            narrow = graph.node("MatMul", x, graph.folded(np.ascontiguousarray(columns.T)))
            return graph.node("MatMul", graph.folded(rows), narrow)
        strides = [size // bins for size in self.coarse]
        window = [size - (bins - 1) * stride for size, stride in zip(self.coarse, strides, strict=True)]
        padded = graph.node("Pad", x, graph.constant(np.zeros(8, np.int64)), mode="constant")
        return graph.node("AveragePool", padded, kernel_shape=window, strides=strides)

    def fuse(self, low: str, low_channels: int, high: str, high_channels: int) -> tuple[str, str]:
        """Append a cascade feature fusion unit; return the fused map and the class map that supervises ``low``."""
        low = self.resize_to(low, self.size(high))
        low = self.conv(low, low_channels, 128, 3, dilation=2)
        high = self.conv(high, high_channels, 128)
        fused = self.relu(self.graph.node("Add", low, high))
        return fused, self.head(low)

    def head(self, x: str) -> str:
        """Append the classifier."""
        return self.conv(x, 128, CLASSES, kind="contrast", biased=False, gain=0.125)

    def size(self, x: str) -> list[str]:
        """Append the nodes that read height and width of ``x``, and return the two values."""
        graph = self.graph
        return [
            graph.node("Gather", graph.node("Shape", x), graph.constant(np.array(axis, np.int64)), axis=0)
            for axis in (2, 3)
        ]

    def resize_to(self, x: str, size: list[str]) -> str:
        """Append a Resize to a size that the graph computes, with all the arithmetic of the exporter."""
        graph = self.graph
        wanted = graph.node("Concat", *[graph.node("Unsqueeze", extent, axes=[0]) for extent in size], axis=0)
        roi = self.empty()
        shape = graph.node("Shape", x)
        axes, start, end = (graph.constant(np.array([number], np.int64)) for number in (0, 0, 2))
        kept = graph.node("Slice", shape, start, end, axes)
        wanted = graph.node("Cast", wanted, to=TensorProto.INT64)
        sizes = graph.node("Concat", kept, wanted, axis=0)
        return self.resize(x, roi, self.empty(), sizes)

    def resize_by(self, x: str, factor: float) -> str:
        """Append a Resize by a fixed factor."""
        return self.resize(x, self.empty(), self.scales(factor))

    def resize(self, *operands: str) -> str:
        """Append a linear Resize that aligns corners."""
        return self.graph.node(
            "Resize",
            *operands,
            coordinate_transformation_mode="align_corners",
            cubic_coeff_a=-0.75,
            mode="linear",
            nearest_mode="floor",
        )

    def scales(self, factor: float) -> str:
        """Add the scales of a Resize of height and width."""
        return self.graph.folded(np.array([1, 1, factor, factor], np.float32))

    def empty(self) -> str:
        """Append an empty tensor: the roi, and at times the scales, of Resize."""
        return self.graph.constant(np.zeros(0, np.float32))
