"""ICNet, the reference network, built without torch. Floor 6.

Zhao et al., "ICNet for real-time semantic segmentation on high-resolution images" (arXiv 1704.08545), in the form of
liminn/ICNet-pytorch with a ResNet-50 backbone and exported by torch 1.8 at opset 11: the graph of Huawei's ICNet guide
for Ascend 310, node for node. Three branches see the image at full, half and quarter size; the quarter-size one is
deep (dilated ResNet-50, pyramid pooling); two cascade feature fusion units join them.

The weights are seeded, not trained: the class map has regions that follow the image and the border, which makes it
fit to compare one graph with another, and says nothing about accuracy.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from graphtool.errors import ModelError, UsageError, did_you_mean, quoted
from graphtool.graph.save import replacing
from graphtool.zoo.network import CLASSES, INPUT, Network, ceil_div

POOLS = ("avg", "adaptive", "exact")

_OUTPUT_STRIDES = (1, 4, 8, 16)
_MULTIPLE = 8
_SMALLEST = {"avg": 168, "adaptive": 32, "exact": 32}


def build_icnet(height: int = 1024, width: int = 2048, batch: int = 1, pool: str = "avg") -> onnx.ModelProto:
    """Build ICNet for float32 images of shape (batch, 3, height, width): 19 classes, opset 11, 111 MB of weights.

    Outputs: ``794`` of shape (batch, 19, height, width), and the maps that training supervises, ``788``, ``782`` and
    ``756``, at 1/4, 1/8 and 1/16 of the size. Height and width are multiples of 8, else 794 would not have the
    input's size; they are at least 168 with pool ``avg``, whose six bins need six rows and columns at 1/32, and at
    least 32 with the others. The weights depend on none of the arguments. Shapes inside the graph are computed from
    the input's, as exported, so another batch can be set later.

    ``pool`` says how the pyramid averages. ``avg``: AveragePool with stride floor(in / bins) and kernel
    in - (bins - 1) * stride, the guide's stand-in (at bins 3 and 6 not adaptive average pooling). ``adaptive``: the
    custom op ``AdaptiveAvgPool2d`` with ``output_size``, which onnxruntime cannot run. ``exact``: two MatMuls with
    averaging matrices, which is adaptive average pooling.

    Raises :class:`UsageError` for arguments that do not fit.
    """
    _check(height, width, batch, pool)
    network = Network(height, width, pool)
    outputs = network.outputs()
    return network.graph.model(
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, 3, height, width])],
        [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [batch, CLASSES, ceil_div(height, stride), ceil_div(width, stride)]
            )
            for name, stride in zip(outputs, _OUTPUT_STRIDES, strict=True)
        ],
        name="torch-jit-export",
        opset=11,
        ir_version=6,
    )


def write_icnet(
    path: str | os.PathLike[str], height: int = 1024, width: int = 2048, batch: int = 1, pool: str = "avg"
) -> onnx.ModelProto:
    """Write :func:`build_icnet` to ``path``, whole or not at all and the same bytes every time; return the model.

    Raises :class:`UsageError` for arguments that do not fit, :class:`ModelError` where the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise ModelError(f"cannot write {quoted(target)}: it is a folder")
    with replacing(target) as file:
        model = build_icnet(height, width, batch, pool)
        file.write(model.SerializeToString(deterministic=True))
    return model


def _check(height: int, width: int, batch: int, pool: str) -> None:
    if pool not in POOLS:
        raise UsageError(f"unknown pool {quoted(pool)}{did_you_mean(pool, POOLS)}  (one of {', '.join(POOLS)})")
    if batch < 1:
        raise UsageError(f"batch {batch}: must be 1 or more")
    for name, value in (("height", height), ("width", width)):
        if value < _SMALLEST[pool]:
            raise UsageError(f"{name} {value}: too small, pool {pool} needs {_SMALLEST[pool]} or more")
        if value % _MULTIPLE:
            lower = value - value % _MULTIPLE
            raise UsageError(
                f"{name} {value}: must be a multiple of {_MULTIPLE}, for an output of the input's size; "
                f"{lower} and {lower + _MULTIPLE} are"
            )
