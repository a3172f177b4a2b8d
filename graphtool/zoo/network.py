"""ICNet layer by layer, in the order in which the exporter meets them. Floor 6."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.rewrite.matrices import pool_matrix
from graphtool.seeded import key
from graphtool.zoo.builder import ExporterGraph
from graphtool.zoo.weights import Kind, centred_bias, filters, levels

CLASSES = 19
BINS = (1, 2, 3, 6)
INPUT = "actual_input_1"

# Chosen among a few hundred: on a noise image its map has 13 classes, and nearest for linear in every Resize keeps
# 88 % of the pixels at 1024x2048 and 82 % at 256x512. Many seeds give one class nearly everywhere.
_SEED = 305


@dataclass(frozen=True, slots=True)
class Map:
    """A feature map: its tensor, and each channel's value far from the border when the image is blank (all zero)."""

    name: str
    blank: NDArray[np.float64]

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.blank)


class Network:
    """The construction program: each method appends the nodes of one part of the network to ``graph``."""

    def __init__(self, height: int, width: int, pool: str) -> None:
        # the input and 467 parameters and buffers have the numbers before the first tensor
        self.graph = ExporterGraph(first_tensor=468, first_weight=795, first_folded=1058)
        self.deepest = (ceil_div(height, 32), ceil_div(width, 32))
        self.pool = pool

    def outputs(self) -> tuple[str, str, str, str]:
        """Append every node and return the names of the four outputs, finest first.

        The numbers skipped are those that the guide's graph leaves out, so that its outputs have their names.
        """
        graph = self.graph
        image = Map(INPUT, np.zeros(3))
        full = self.detail(image)
        half = self.backbone_start(self.rescale(image, 0.5))
        quarter = self.backbone_start(self.rescale(image, 0.25))
        quarter = self.stage(quarter, 256, blocks=6, dilation=2)
        quarter = self.stage(quarter, 512, blocks=3, dilation=4)
        fused, sixteenth = self.fuse(self.pyramid(quarter), half)
        graph.skip(2)
        fused, eighth = self.fuse(fused, full)
        graph.skip(3)
        fourth = self.head(self.rescale(fused, 2))
        graph.skip(3)
        roi = self.empty()
        graph.skip(1)
        return self.resize(fourth, roi, self.scales(4)), fourth, eighth, sixteenth

    def detail(self, image: Map) -> Map:
        """The full-size branch: three convolutions, down to 1/8."""
        x = self.look(image, 32)
        for channels in (32, 64):
            x = self.relu(self.conv(x, channels, 3, stride=2, kind="smooth"))
        return x

    def backbone_start(self, image: Map) -> Map:
        """ResNet-50 with a three-convolution stem, up to and with its second stage: 512 channels at 1/8."""
        x = self.look(image, 64)
        for channels in (64, 128):
            x = self.relu(self.conv(x, channels, 3, kind="smooth"))
        pooled = self.graph.node(
            "MaxPool", x.name, ceil_mode=0, dilations=[1, 1], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]
        )
        x = self.stage(Map(pooled, x.blank), 64, blocks=3, kind="smooth")
        return self.stage(x, 128, blocks=4, stride=2, kind="smooth")

    def look(self, image: Map, channels: int) -> Map:
        """The first convolution of a branch; its gain keeps noise in the image from drowning the seeded levels."""
        return self.relu(self.conv(image, channels, 3, stride=2, kind="smooth", gain=1 / 8))

    def stage(
        self, x: Map, planes: int, *, blocks: int, stride: int = 1, dilation: int = 1, kind: Kind = "random"
    ) -> Map:
        """One ResNet stage; its first block has the dilation of the stage before."""
        x = self.bottleneck(x, planes, stride=stride, dilation=max(dilation // 2, 1), kind=kind)
        for _ in range(blocks - 1):
            x = self.bottleneck(x, planes, stride=1, dilation=dilation, kind=kind)
        return x

    def bottleneck(self, x: Map, planes: int, *, stride: int, dilation: int, kind: Kind) -> Map:
        """1x1, 3x3 and 1x1 convolutions beside a shortcut, which has a convolution where the channels change."""
        branch = self.relu(self.conv(x, planes))
        branch = self.relu(self.conv(branch, planes, 3, stride=stride, dilation=dilation, kind=kind))
        branch = self.conv(branch, 4 * planes)
        shortcut = x if x.channels == 4 * planes else self.conv(x, 4 * planes, stride=stride)
        return self.relu(self.add(branch, shortcut))

    def pyramid(self, x: Map) -> Map:
        """Pyramid pooling: add to the map its averages over 1, 2x2, 3x3 and 6x6 bins, each resized to the map."""
        size = self.size_of(x)
        total = x
        for bins in BINS:
            total = self.add(total, self.resize_to(self.average(x, bins), size))
        return total

    def average(self, x: Map, bins: int) -> Map:
        """The average of ``x`` over bins x bins windows; uses three tensor numbers, whatever the pool."""
        graph = self.graph
        if self.pool == "adaptive":
            graph.skip(2)
            return Map(graph.node("AdaptiveAvgPool2d", x.name, output_size=[bins, bins]), x.blank)
        if self.pool == "exact":
            graph.skip(1)
            rows, columns = (pool_matrix(size, bins) for size in self.deepest)
            narrow = graph.node("MatMul", x.name, graph.folded(np.ascontiguousarray(columns.T)))
            return Map(graph.node("MatMul", graph.folded(rows), narrow), x.blank)
        strides = [size // bins for size in self.deepest]
        kernel = [size - (bins - 1) * stride for size, stride in zip(self.deepest, strides, strict=True)]
        padded = graph.node("Pad", x.name, graph.constant(np.zeros(8, np.int64)), mode="constant")
        return Map(graph.node("AveragePool", padded, kernel_shape=kernel, strides=strides), x.blank)

    def fuse(self, low: Map, high: Map) -> tuple[Map, str]:
        """Cascade feature fusion: the coarse map resized to the fine one, convolved and added; also its class map."""
        low = self.conv(self.resize_to(low, self.size_of(high)), 128, 3, dilation=2)
        high = self.conv(high, 128)
        return self.relu(self.add(low, high)), self.head(low)

    def head(self, x: Map) -> str:
        """The class map: a convolution without bias."""
        weight = self.graph.weight_name()
        self.graph.initializer(weight, filters(_seed(weight), CLASSES, x.channels, 1, "contrast", gain=4))
        return self.conv_node(x, weight, side=1, stride=1, dilation=1)

    def conv(
        self,
        x: Map,
        channels: int,
        side: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        kind: Kind = "random",
        gain: float = 1,
    ) -> Map:
        """A convolution with its batch normalization fused."""
        weight, bias = self.graph.weight_name(), self.graph.weight_name()
        values = filters(_seed(weight), channels, x.channels, side, kind, gain)
        blank = levels(_seed(bias), channels)
        self.graph.initializer(weight, values)
        self.graph.initializer(bias, centred_bias(values, x.blank, blank))
        return Map(self.conv_node(x, weight, bias, side=side, stride=stride, dilation=dilation), blank)

    def conv_node(self, x: Map, *weights: str, side: int, stride: int, dilation: int) -> str:
        """The Conv node alone, padded so that stride 1 keeps the size."""
        return self.graph.node(
            "Conv",
            x.name,
            *weights,
            dilations=[dilation] * 2,
            group=1,
            kernel_shape=[side] * 2,
            pads=[dilation * (side // 2)] * 4,
            strides=[stride] * 2,
        )

    def relu(self, x: Map) -> Map:
        """Relu, of the blank levels too."""
        return Map(self.graph.node("Relu", x.name), np.maximum(x.blank, 0))

    def add(self, x: Map, y: Map) -> Map:
        """The sum of two maps."""
        return Map(self.graph.node("Add", x.name, y.name), x.blank + y.blank)

    def size_of(self, x: Map) -> list[str]:
        """Height and width, each read from the shape on its own as ``x.size(2)`` and ``x.size(3)`` are."""
        graph = self.graph
        return [
            graph.node("Gather", graph.node("Shape", x.name), graph.constant(np.array(axis, np.int64)), axis=0)
            for axis in (2, 3)
        ]

    def resize_to(self, x: Map, size: list[str]) -> Map:
        """Interpolation to a size that the model computes: batch and channels of ``x``, then ``size``."""
        graph = self.graph
        wanted = graph.node("Concat", *[graph.node("Unsqueeze", extent, axes=[0]) for extent in size], axis=0)
        roi = self.empty()
        shape = graph.node("Shape", x.name)
        axes, start, end = (graph.constant(np.array([number], np.int64)) for number in (0, 0, 2))
        kept = graph.node("Slice", shape, start, end, axes)
        wanted = graph.node("Cast", wanted, to=TensorProto.INT64)
        sizes = graph.node("Concat", kept, wanted, axis=0)
        return Map(self.resize(x.name, roi, self.empty(), sizes), x.blank)

    def rescale(self, x: Map, factor: float) -> Map:
        """Interpolation by a factor."""
        return Map(self.resize(x.name, self.empty(), self.scales(factor)), x.blank)

    def resize(self, *inputs: str) -> str:
        """The Resize node alone: linear, corners aligned; the other attributes are torch's and have no effect."""
        return self.graph.node(
            "Resize",
            *inputs,
            coordinate_transformation_mode="align_corners",
            cubic_coeff_a=-0.75,
            mode="linear",
            nearest_mode="floor",
        )

    def scales(self, factor: float) -> str:
        """The scales of NCHW for a Resize by ``factor``."""
        return self.graph.folded(np.array([1, 1, factor, factor], np.float32))

    def empty(self) -> str:
        """An empty float constant: at opset 11, a Resize input that is not used."""
        return self.graph.constant(np.zeros(0, np.float32))


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


def _seed(name: str) -> int:
    return key("icnet", _SEED, name)
