"""Bounds of time: what a device's published peak and bandwidth allow at best. Nothing here is a prediction.

A node cannot be faster than its multiply-adds at peak, nor than its tensors cross the memory bus once (Williams et al.,
"Roofline", CACM 2009). ATC's fusions keep values on the chip, so the bound of a whole model counts its weights,
interface and format conversions only; kernels may be any number of times slower than their bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

from graphtool.analysis.amounts import total_of
from graphtool.analysis.device import Device
from graphtool.analysis.layout import Conversion, conversions
from graphtool.analysis.measure import ModelCost, NodeCost
from graphtool.analysis.sizes import Sized, Sizes
from graphtool.graph import Graph

_NEAR = 2.0  # within this factor a measured figure is explained by its bound


@dataclass(frozen=True, slots=True)
class Bound:
    """The least seconds for something: by computing and by moving bytes."""

    compute: float
    transfer: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.compute, self.transfer)

    @property
    def limit(self) -> str:
        """Which of the two it is."""
        return "compute" if self.compute >= self.transfer else "memory"


@dataclass(frozen=True, slots=True)
class Roofline:
    """A model on a device: bounds node by node (None where sizes are open), its conversions, and the whole."""

    device: Device
    nodes: tuple[Bound | None, ...]
    conversions: tuple[tuple[Conversion, float], ...]
    whole: Bound | None
    each: float

    @property
    def converted(self) -> float:
        """The bound of all conversions together, in seconds."""
        return sum(seconds for _, seconds in self.conversions)


def roofline(graph: Graph, cost: ModelCost, device: Device) -> Roofline:
    """Return the bounds of a model whose floats are float16 on the device, format conversions counted."""
    bounds = tuple(_bound(node, device) for node in cost.nodes)
    sizes = Sizes(graph)
    expected = conversions(graph, sizes, device.channels, wide_resize=device.wide_resize)
    found = tuple((item, device.transfer(item.bytes)) for item in expected)
    ends = [sizes.of(value.name) for value in (*graph.inputs, *graph.outputs)]
    moved, unknown = total_of([*(half_bytes(value) for value in ends), cost.weight_bytes])
    madds, open_ = total_of(node.madds for node in cost.nodes)
    whole = None
    if isinstance(moved, int) and isinstance(madds, int) and not unknown and not open_:
        held = moved - _bytes(cost.weight_bytes) // 2  # weights are float16 too
        whole = Bound(device.compute(madds), device.transfer(held + sum(item.bytes for item, _ in found)))
    return Roofline(device, bounds, found, whole, sum(bound.seconds for bound in bounds if bound is not None))


def half_bytes(value: Sized) -> int | None:
    """Return the bytes of a value where float32 is held as float16; None where the size is open."""
    count = value.bytes
    if not isinstance(count, int):
        return None
    return count // 2 if value.dtype == TensorProto.FLOAT else count


def _bytes(amount: object) -> int:
    return amount if isinstance(amount, int) else 0


def _bound(node: NodeCost, device: Device) -> Bound | None:
    if not isinstance(node.madds, int):
        return None
    looked = node.bytes_in == 0
    values = {value.name: value for value in (*(() if looked else node.inputs), *node.outputs) if value.name}
    moved = [half_bytes(value) for value in values.values()]
    if any(count is None for count in moved):
        return None
    return Bound(device.compute(node.madds), device.transfer(sum(count or 0 for count in moved)))


def against_measured(device: Device) -> list[str]:
    """Return how the bound of each conversion that was measured on the device compares, a line each."""
    from graphtool.analysis.layout import conversion

    lines = []
    for item in device.measured:
        if len(item.shape) != 4:
            continue
        element = 4 if item.dtype == "float32" else 2
        found = conversion("", item.shape, True, "", element, device.channels)
        bound = device.transfer(found.bytes)
        factor = item.seconds / bound
        says = (
            "near its bound: bandwidth explains it"
            if factor <= _NEAR
            else "far from its bound: a slow kernel explains it, not bandwidth"
        )
        shape = "x".join(map(str, item.shape))
        lines.append(
            f"{item.what} of {shape} {item.dtype}: bound {bound * 1e3:.3g} ms, measured {item.seconds * 1e3:.4g} ms, "
            f"{factor:.3g} times ({says}; {item.source})"
        )
    return lines
