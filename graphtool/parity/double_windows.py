"""Conv, ConvTranspose and the pools in float64, straight from the ONNX operator specification.

Pools work one axis at a time: the sum (or maximum) over a window is the sum over its columns of the sums over its
rows, so a 32 x 64 window costs 96 additions an element and not 2048.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphtool.parity.double_math import Attributes, Floats, NoTruth, word


@dataclass(frozen=True, slots=True)
class Axis:
    """How a window moves along one spatial axis: positions ``o * stride + k * dilation - before``."""

    length: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    @property
    def reach(self) -> int:
        """Extent of the dilated window."""
        return (self.kernel - 1) * self.dilation + 1


def window_axes(shape: tuple[int, ...], kernel: tuple[int, ...], attributes: Attributes) -> list[Axis]:
    """Return the windows over the spatial axes of ``[N,C,...]`` data, for Conv and the pools alike."""
    rank = len(kernel)
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = attributes.get("pads") or [0] * (2 * rank)
    auto = word(attributes, "auto_pad", "NOTSET")
    axes = []
    for i, (length, k) in enumerate(zip(shape[2:], kernel, strict=True)):
        stride, dilation, before, after = strides[i], dilations[i], pads[i], pads[i + rank]
        reach = (k - 1) * dilation + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            out = -(-length // stride)
            total = max((out - 1) * stride + reach - length, 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after = total - before
        else:
            if auto == "VALID":
                before = after = 0
            room = length + before + after - reach
            out = (-(-room // stride) if attributes.get("ceil_mode") else room // stride) + 1
            if attributes.get("ceil_mode") and (out - 1) * stride >= length + before:
                out -= 1  # a window that would start in the padding behind the data is dropped
        axes.append(Axis(length, k, stride, dilation, before, after, out))
    return axes


def _padded(x: Floats, axes: list[Axis], fill: float) -> Floats:
    """Pad (or crop) the spatial axes so that every window lies inside."""
    widths = [(0, 0), (0, 0)]
    for a in axes:
        widths.append((a.before, max(0, (a.out - 1) * a.stride + a.reach - a.length - a.before)))
    return np.pad(x, widths, constant_values=fill)


def _shift(a: Axis, k: int) -> slice:
    """Return the elements under place ``k`` of the window, for all outputs of the axis."""
    start = k * a.dilation
    return slice(start, start + (a.out - 1) * a.stride + 1, a.stride)


def conv(x: Floats, w: Floats, bias: Floats | None, attributes: Attributes) -> Floats:
    """Conv: ``x[N,C,...]``, ``w[M,C/group,...]``, ``bias[M]``; any rank, group, stride, dilation and padding."""
    group = int(attributes.get("group", 1))
    batch, channels, made = x.shape[0], x.shape[1], w.shape[0]
    axes = window_axes(x.shape, w.shape[2:], attributes)
    padded = _padded(x, axes, 0.0)
    spatial = [a.out for a in axes]
    area = math.prod(spatial)
    total = np.zeros((batch, group, made // group, area))
    weights = w.reshape(group, made // group, channels // group, -1)
    for place, offsets in enumerate(np.ndindex(*w.shape[2:])):
        under = padded[(slice(None), slice(None), *(_shift(a, k) for a, k in zip(axes, offsets, strict=True)))]
        under = np.ascontiguousarray(under).reshape(batch, group, channels // group, area)
        here = weights[..., place]
        # one channel a group is a product, which numpy does much faster than many 1 x 1 matrix products
        total += here * under if channels == group else np.matmul(here, under)
    y = total.reshape(batch, made, *spatial)
    return y if bias is None else y + bias.reshape(1, made, *[1] * len(axes))


def conv_transpose(x: Floats, w: Floats, bias: Floats | None, attributes: Attributes) -> Floats:
    """ConvTranspose: ``x[N,C,...]``, ``w[C,M/group,...]``. Raises NoTruth for ``output_shape`` and ``auto_pad``."""
    rank = x.ndim - 2
    if attributes.get("output_shape") or word(attributes, "auto_pad", "NOTSET") != "NOTSET":
        raise NoTruth("ConvTranspose with output_shape or auto_pad")
    group = int(attributes.get("group", 1))
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = attributes.get("pads") or [0] * (2 * rank)
    extra = attributes.get("output_padding") or [0] * rank
    batch, channels, made = x.shape[0], x.shape[1], w.shape[1] * group
    whole = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(x.shape[2:], strides, w.shape[2:], dilations, extra, strict=True)
    ]
    y = np.zeros((batch, made, *whole))
    grouped = x.reshape(batch, group, channels // group, -1)
    weights = w.reshape(group, channels // group, made // group, -1)
    for place, offsets in enumerate(np.ndindex(*w.shape[2:])):
        sums = np.matmul(weights[..., place].transpose(0, 2, 1), grouped).reshape(batch, made, *x.shape[2:])
        spots = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, n, s in zip(offsets, dilations, x.shape[2:], strides, strict=True)
        )
        y[(slice(None), slice(None), *spots)] += sums
    cut = tuple(slice(pads[i], whole[i] - pads[i + rank]) for i in range(rank))
    y = y[(slice(None), slice(None), *cut)]
    return y if bias is None else y + bias.reshape(1, made, *[1] * rank)


def _reduce_windows(x: Floats, axes: list[Axis], fill: float, combine: np.ufunc) -> Floats:
    y = _padded(x, axes, fill)
    for place, a in enumerate(axes, start=2):
        before = (slice(None),) * place
        total = y[(*before, _shift(a, 0))].copy()
        for k in range(1, a.kernel):
            combine(total, y[(*before, _shift(a, k))], out=total)
        y = total
    return y


def _kernel(attributes: Attributes) -> tuple[int, ...]:
    return tuple(int(k) for k in attributes["kernel_shape"])


def max_pool(x: Floats, attributes: Attributes) -> Floats:
    """MaxPool, first output; padding never wins."""
    return _reduce_windows(x, window_axes(x.shape, _kernel(attributes), attributes), -math.inf, np.maximum)


def average_pool(x: Floats, attributes: Attributes) -> Floats:
    """AveragePool; places beyond the declared padding (``ceil_mode``) are never counted."""
    axes = window_axes(x.shape, _kernel(attributes), attributes)
    total = _reduce_windows(x, axes, 0.0, np.add)
    padding_counts = bool(attributes.get("count_include_pad", 0))
    for place, a in enumerate(axes, start=2):
        low, high = (-a.before, a.length + a.after) if padding_counts else (0, a.length)
        at = np.arange(a.out)[:, None] * a.stride + np.arange(a.kernel) * a.dilation - a.before
        count: NDArray[np.int64] = ((at >= low) & (at < high)).sum(axis=1)
        total /= count.reshape([-1 if i == place else 1 for i in range(x.ndim)])
    return total
