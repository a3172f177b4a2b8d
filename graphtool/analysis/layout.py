"""Where the chip changes the format of a tensor: NC1HWC0 beside plain NCHW, with the bytes that each change moves.

On the Da Vinci AI Core convolutions and pools hold a 4-D tensor as NC1HWC0, channels in groups of 16; reshapes,
transposes, matrix products and the like want the plain form, and ATC inserts a TransData wherever the two meet
(canndev, June 2022). Which operators take which form is a model of those sources, not of ATC's fusions: it says where a
conversion has to be expected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto, TensorProto

from graphtool.analysis.sizes import Sized, Sizes
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.rewrite.result import label

# hold NC1HWC0
FIVE = frozenset(
    """AveragePool BatchNormalization Conv ConvTranspose GlobalAveragePool GlobalMaxPool InstanceNormalization MaxPool
    Resize Upsample""".split()
)
# take either form: that of what they read
_EITHER = frozenset(
    """Abs Add Cast Ceil Celu Clip Div Dropout Elu Erf Exp Floor HardSigmoid HardSwish Identity LeakyRelu Log Max Mean
    Min Mul Neg PRelu Pow Reciprocal Relu Round Selu Sigmoid Softplus Softsign Sqrt Sub Sum Tanh""".split()
)
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})


@dataclass(frozen=True, slots=True)
class Conversion:
    """One expected TransData: the value, whether it leaves NC1HWC0, who wants that, the bytes read and written.

    ``element`` is the size of an element in bytes, ``padded`` and ``plain`` the numbers of elements in either form.
    """

    value: str
    shape: tuple[int, ...]
    leaves: bool
    reader: str
    element: int
    padded: int
    plain: int

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return (self.padded + self.plain) * self.element

    @property
    def waste(self) -> float:
        """What padding adds to the plain tensor, as a share of it."""
        return self.padded / self.plain - 1 if self.plain else 0.0


def conversion(value: str, shape: tuple[int, ...], leaves: bool, reader: str, element: int, group: int) -> Conversion:
    """Return the conversion of a tensor ``[N, C, H, W]``; elements of ``element`` bytes, channels by ``group``."""
    batch, channels, height, width = shape
    plain = batch * channels * height * width
    padded = batch * -(-channels // group) * group * height * width
    return Conversion(value, shape, leaves, reader, element, padded, plain)


def conversions(
    graph: Graph, sizes: Sizes, group: int = 16, half: bool = True, half_out: bool = False, wide_resize: bool = True
) -> Iterator[Conversion]:
    """Yield the conversions that the main graph needs, one for a value and a direction, in the order of the nodes.

    With ``half`` everything inside is float16 (precision_mode force_fp16, ATC's default), but a graph output that is
    declared float32 is converted as such where a linear Resize makes it and that is float32 (``wide_resize``, as on
    Ascend 310); with ``half_out`` (output_type FP16) outputs are float16 too. Values with open sizes are left out.
    """
    five: set[str] = set()
    seen: set[tuple[str, bool]] = set()
    made_float: set[str] = set()
    outputs = {info.name for info in graph.header.output}

    def wanted(value: Sized, leaves: bool, reader: str) -> Iterator[Conversion]:
        shape = tuple(size for size in value.shape or () if isinstance(size, int))
        if len(shape) != 4 or value.constant or (value.name, leaves) in seen or value.dtype not in _FLOATS:
            return
        seen.add((value.name, leaves))
        if shape[2:] == (1, 1) and shape[1] % group == 0:
            return  # the same bytes in either form
        wide = value.name in made_float and not (half_out and reader == "(output)")
        element = 4 if wide or (not half and value.dtype == TensorProto.FLOAT) else 2
        yield conversion(value.name, shape, leaves, reader, element, group)

    for node in graph.nodes:
        inputs = [sizes.of(name) for name in node.input if name]
        data = [value for value in inputs if not value.constant and value.shape is not None and len(value.shape) == 4]
        if _wants_five(node, data, five, graph, group):
            for value in data:
                if value.name not in five:
                    yield from wanted(value, False, label(node))
            five.update(name for name in node.output if name and len(sizes.of(name).shape or ()) == 4)
            if (wide_resize and _is_linear(node, graph)) or (
                node.op_type in _EITHER and any(v.name in made_float for v in data)
            ):
                made_float.update(name for name in node.output if sizes.of(name).dtype == TensorProto.FLOAT)
        else:
            for value in data:
                if value.name in five and not _looks_only(node):
                    yield from wanted(value, True, label(node))
    for name in sorted(outputs & five):
        yield from wanted(sizes.of(name), True, "(output)")


def _wants_five(node: NodeProto, data: list[Sized], five: set[str], graph: Graph, group: int) -> bool:
    if node.domain not in ("", "ai.onnx") or not data:
        return False
    if node.op_type in FIVE:
        return True
    if node.op_type in _EITHER:
        return any(value.name in five for value in data)
    if node.op_type == "Concat" and ops.effective(node, "axis", graph.opset()) in (1, -3):
        channels = [value.shape[1] if value.shape else None for value in data]
        aligned = all(isinstance(count, int) and count % group == 0 for count in channels)
        return aligned and any(value.name in five for value in data)
    return node.op_type == "Pad" and any(value.name in five for value in data)


def _looks_only(node: NodeProto) -> bool:
    return node.op_type in ("Shape", "Size")


def _is_linear(node: NodeProto, graph: Graph) -> bool:
    return node.op_type in ("Resize", "Upsample") and ops.effective(node, "mode", graph.opset()) == "linear"
