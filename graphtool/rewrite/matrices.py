"""Linear resampling along one axis as a constant matrix: what Resize and average pooling are to a matrix unit. Floor 2.

A matrix ``W`` has the shape [out, in] and is float32, each element computed in float64 and rounded once. ``W @ x``
resamples the rows of ``x``, ``x @ W.T`` its columns; two axes are resampled one after the other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import did_you_mean, quoted
from graphtool.rewrite.functions_values import elements, integer, number

MODES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)


def interp_matrix(
    in_size: int,
    out_size: int,
    scale: float | None = None,
    mode: str = "half_pixel",
    roi_start: float = 0.0,
    roi_end: float = 1.0,
    extrapolation: float = 0.0,
) -> NDArray[np.float32]:
    """The [out, in] float32 matrix of a linear Resize along one axis; scale is None when Resize is given sizes.

    Source: the ONNX specification of Resize, ``mode`` being its coordinate_transformation_mode. With ``scales`` the
    output size is floor(in * scale), yet coordinates use the scale given; with ``sizes`` the scale is out / in.
    Coordinates outside [0, in - 1] take the border's value. Under tf_crop_and_resize they take the
    extrapolation_value: 0 makes rows of zeros, any other value is refused, since a matrix adds no constant.
    Antialiasing, exclude_outside and cubic weights are other matrices: match ``mode = "linear"`` without antialias.

    onnxruntime 1.32 (CPU, optimizations off) computes the coordinate in float32, so its weights differ from these by
    up to 2^-23 * in, the last bit of a coordinate. Three of its deviations from the specification are not followed.
    It copies an axis whose scale is 1 even when tf_half_pixel_for_nn or a roi asks for a shift; it copies the whole
    input where no extent changes, though the scale may not be 1 (2 by 1.1 is 2); and under tf_crop_and_resize its
    coordinate of the last row may fall just beyond a roi that ends at 1, so that the row is extrapolated.
    """
    n, m = _sizes(in_size, out_size)
    ratio = m / n if scale is None else float(number(scale))
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"a scale of {ratio}; it must be a positive number")
    source = _source(mode, n, m, ratio, float(number(roi_start)), float(number(roi_end)))
    if not np.all(np.isfinite(source)):
        raise ValueError(f"resizing {n} to {m} by scale {ratio} reads from no finite coordinate")
    clamped = np.clip(source, 0, n - 1)
    low = clamped.astype(np.int64)
    weight = clamped - low
    rows = np.arange(m)
    matrix = np.zeros((m, n), np.float32)
    matrix[rows, low] = 1 - weight
    matrix[rows, np.minimum(low + 1, n - 1)] += weight  # at the border both are one element, and the weight is 0
    if mode == "tf_crop_and_resize":
        outside = np.abs(source - clamped) > 1e-9 * n  # beyond the rounding of float64
        if outside.any() and number(extrapolation) != 0:
            raise ValueError(
                f"the region of interest leaves the input, and extrapolation_value {extrapolation} is not 0"
            )
        matrix[outside] = 0
    return matrix


def _source(mode: str, n: int, m: int, scale: float, start: float, end: float) -> NDArray[np.float64]:
    """Return the coordinate in the input, of ``n`` elements, that each of the ``m`` output elements is read from."""
    i = np.arange(m, dtype=np.float64)
    match mode:
        case "half_pixel":
            return (i + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            return n / 2 * (1 - m / (scale * n)) + (i + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (i + 0.5) / scale - 0.5 if m > 1 else np.zeros(1)
        case "align_corners":
            return i * (n - 1) / (m - 1) if m > 1 else np.zeros(1)
        case "asymmetric":
            return i / scale
        case "tf_half_pixel_for_nn":
            return (i + 0.5) / scale
        case "tf_crop_and_resize":
            if m == 1:
                return np.full(1, 0.5 * (start + end) * (n - 1))
            return start * (n - 1) + i * (end - start) * (n - 1) / (m - 1)
    raise ValueError(f"{quoted(mode)} is no coordinate_transformation_mode{did_you_mean(str(mode), MODES)}")


def pool_matrix(in_size: int, out_size: int) -> NDArray[np.float32]:
    """The [out, in] float32 matrix of adaptive average pooling along one axis.

    Row i averages the elements from floor(i * in / out) up to, not including, ceil((i + 1) * in / out).
    Source: PyTorch, AdaptiveAvgPool2d (start_index and end_index of aten/native/AdaptivePooling.h).
    """
    n, m = _sizes(in_size, out_size)
    matrix = np.zeros((m, n), np.float32)
    for i in range(m):
        start, end = i * n // m, -(-(i + 1) * n // m)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


def window_matrix(
    in_size: int,
    out_size: int,
    kernel: int,
    stride: int = 1,
    pad_begin: int = 0,
    pad_end: int = 0,
    dilation: int = 1,
    count_pad: int = 0,
) -> NDArray[np.float32]:
    """The [out, in] float32 matrix of AveragePool along one axis; count_pad is its count_include_pad.

    Source: the ONNX specification of AveragePool. Where padding counts, each window is divided by its size, and one
    that leaves the padded input, as ceil_mode allows, is refused: implementations do not agree on its size.
    """
    n, m = _sizes(in_size, out_size)
    size, step, gap = integer(kernel), integer(stride), integer(dilation)
    begin, end = integer(pad_begin), integer(pad_end)
    if min(size, step, gap) < 1 or min(begin, end) < 0:
        raise ValueError(f"a window of {size} with stride {step}, dilation {gap} and padding {begin}, {end}")
    starts = np.arange(m, dtype=np.int64)[:, None] * step - begin
    elements([m, size])
    taken = starts + np.arange(size, dtype=np.int64) * gap
    inside = (taken >= 0) & (taken < n)
    counts = inside.sum(1)
    if not counts.all():
        raise ValueError("a window lies in the padding")
    if count_pad:
        if int(taken.max()) >= n + end:
            raise ValueError("a window leaves the padded input")
        counts = np.full(m, size)
    matrix = np.zeros((m, n), np.float32)
    rows = np.broadcast_to(np.arange(m)[:, None], taken.shape)
    matrix[rows[inside], taken[inside]] = (1 / counts)[rows[inside]]
    return matrix


def _sizes(in_size: Any, out_size: Any) -> tuple[int, int]:
    n, m = integer(in_size), integer(out_size)
    if n < 1 or m < 1:
        raise ValueError(f"resampling {n} to {m} elements; both must be at least 1")
    elements([m, n])
    return n, m
