"""Resize and Upsample in float64, straight from the ONNX operator specification.

Each output position is mapped to a coordinate of the input and its neighbours there are gathered and blended, one
axis after the other. On purpose no interpolation matrix: the rewrite that turns Resize into MatMuls is judged with
this form, so it must not share its mathematics.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphtool.parity.double_math import Array, Attributes, Floats, Inputs, NoTruth, given, optional, word


def upsample(inputs: Inputs, attributes: Attributes, opset: int) -> Floats:
    """Upsample (opset 7 to 9): Resize with ``asymmetric`` coordinates and, for nearest, ``floor``."""
    scales = np.asarray(attributes["scales"] if opset < 9 else given(inputs, 1), np.float64)
    mode = word(attributes, "mode", "nearest")
    return _resize(given(inputs, 0), scales, None, None, mode, "asymmetric", "floor", {})


def resize(inputs: Inputs, attributes: Attributes, opset: int) -> Floats:
    """Resize (opset 10 and later). Raises NoTruth for ``antialias`` when it would act.

    Opset 10 names neither coordinates nor rounding: the form is onnxruntime's, ``asymmetric`` coordinates, and for
    nearest ``floor`` where the axis grows and ``ceil`` where it shrinks.
    """
    x = given(inputs, 0)
    roi, scales, sizes = (optional(inputs, place) for place in (1, 2, 3))
    mode = word(attributes, "mode", "nearest")
    if opset < 11:
        scales, roi, transform, rounding = optional(inputs, 1), None, "asymmetric", "simple"
    else:
        transform = word(attributes, "coordinate_transformation_mode", "half_pixel")
        rounding = word(attributes, "nearest_mode", "round_prefer_floor")
    axes = [int(a) % x.ndim for a in attributes.get("axes", range(x.ndim))]
    wide_scales, wide_sizes, wide_roi = np.ones(x.ndim), None, np.repeat([0.0, 1.0], x.ndim)
    if sizes is not None and sizes.size:
        wide_scales, wide_sizes = _sizes(x, sizes, axes, word(attributes, "keep_aspect_ratio_policy", "stretch"))
    elif scales is not None and scales.size:
        wide_scales[axes] = scales
    else:
        raise NoTruth("Resize without scales and sizes")
    if roi is not None and roi.size:
        wide_roi[axes], wide_roi[[a + x.ndim for a in axes]] = roi[: len(axes)], roi[len(axes) :]
    if attributes.get("antialias") and (wide_scales < 1).any():
        raise NoTruth("Resize with antialias")
    return _resize(x, wide_scales, wide_sizes, wide_roi, mode, transform, rounding, attributes)


def _sizes(x: Array, sizes: Array, axes: list[int], policy: str) -> tuple[Floats, list[int]]:
    """Return scale and output size of every axis, after the policy that keeps the aspect ratio (opset 18)."""
    wide = list(x.shape)
    scales = np.ones(x.ndim)
    ratios = [float(size) / x.shape[axis] for axis, size in zip(axes, sizes, strict=True)]
    for axis, size, ratio in zip(axes, sizes, ratios, strict=True):
        if policy == "stretch":
            wide[axis], scales[axis] = int(size), ratio
        else:
            scales[axis] = min(ratios) if policy == "not_larger" else max(ratios)
            wide[axis] = int(np.floor(scales[axis] * x.shape[axis] + 0.5))
    return scales, wide


def _resize(
    x: Array,
    scales: Floats,
    sizes: list[int] | None,
    roi: Floats | None,
    mode: str,
    transform: str,
    rounding: str,
    attributes: Attributes,
) -> Floats:
    y = x.astype(np.float64)
    outside: list[tuple[int, NDArray[np.bool_]]] = []
    for axis, scale in enumerate(scales):
        length = x.shape[axis]
        out = int(np.floor(length * scale)) if sizes is None else sizes[axis]
        window = (0.0, 1.0) if roi is None else (float(roi[axis]), float(roi[axis + x.ndim]))
        crop = transform == "tf_crop_and_resize"
        if out == length and scale == 1 and (not crop or window == (0.0, 1.0)):
            continue
        at = coordinates(length, out, float(scale), transform, window)
        if crop:
            outside.append((axis, (at < 0) | (at > length - 1)))
        if mode == "nearest":
            y = np.take(y, np.clip(_round(at, rounding, scale < 1), 0, length - 1), axis)
        elif mode == "linear":
            y = _linear(y, at, axis)
        elif mode == "cubic":
            a = float(attributes.get("cubic_coeff_a", -0.75))
            y = _cubic(y, at, axis, a, bool(attributes.get("exclude_outside", 0)))
        else:
            raise NoTruth(f"Resize with mode {mode}")
    for axis, mask in outside:
        np.moveaxis(y, axis, 0)[mask] = float(attributes.get("extrapolation_value", 0.0))
    return y


def coordinates(length: int, out: int, scale: float, transform: str, window: tuple[float, float]) -> Floats:
    """Return, for each of ``out`` positions of an axis, its coordinate in the input (``length`` positions)."""
    x = np.arange(out, dtype=np.float64)
    half_pixel = (x + 0.5) / scale - 0.5
    match transform:
        case "half_pixel":
            return half_pixel
        case "half_pixel_symmetric":
            # centres what is lost when length * scale is rounded down to the output's length
            return length / 2 * (1 - out / (scale * length)) + half_pixel
        case "pytorch_half_pixel":
            return half_pixel if out > 1 else np.zeros(out)
        case "align_corners":
            return x * (length - 1) / (out - 1) if out > 1 else np.zeros(out)
        case "asymmetric":
            return x / scale
        case "tf_half_pixel_for_nn":
            return (x + 0.5) / scale
        case "tf_crop_and_resize":
            start, end = window
            if out > 1:
                return start * (length - 1) + x * (end - start) * (length - 1) / (out - 1)
            return np.full(out, 0.5 * (start + end) * (length - 1))
    raise NoTruth(f"Resize with coordinate_transformation_mode {transform}")


def _round(at: Floats, rounding: str, shrinks: bool) -> NDArray[np.int64]:
    match rounding:
        case "round_prefer_floor":
            rounded = np.ceil(at - 0.5)
        case "round_prefer_ceil":
            rounded = np.floor(at + 0.5)
        case "floor":
            rounded = np.floor(at)
        case "ceil":
            rounded = np.ceil(at)
        case "simple":
            rounded = np.ceil(at) if shrinks else np.floor(at)
        case _:
            raise NoTruth(f"Resize with nearest_mode {rounding}")
    return rounded.astype(np.int64)


def _along(weights: Floats, axis: int, rank: int) -> Floats:
    return weights.reshape([-1 if i == axis else 1 for i in range(rank)])


def _linear(y: Floats, at: Floats, axis: int) -> Floats:
    last = y.shape[axis] - 1
    low = np.floor(at).astype(np.int64)
    share = _along(at - low, axis, y.ndim)
    left = np.take(y, np.clip(low, 0, last), axis)
    right = np.take(y, np.clip(low + 1, 0, last), axis)
    right -= left  # left + share * (right - left), without more temporaries of the output's size
    right *= share
    right += left
    return right


def _cubic(y: Floats, at: Floats, axis: int, a: float, exclude_outside: bool) -> Floats:
    """Blend four neighbours (Keys, "Cubic convolution interpolation for digital image processing", 1981)."""
    last = y.shape[axis] - 1
    low = np.floor(at).astype(np.int64)
    places = [low + offset for offset in (-1, 0, 1, 2)]
    weights = []
    for place in places:
        d = np.abs(at - place)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        weights.append(np.where(d <= 1, near, far))
    if exclude_outside:
        weights = [np.where((place < 0) | (place > last), 0.0, w) for place, w in zip(places, weights, strict=True)]
        total = np.sum(weights, axis=0)
        weights = [w / total for w in weights]
    return np.asarray(
        sum(
            np.take(y, np.clip(place, 0, last), axis) * _along(w, axis, y.ndim)
            for place, w in zip(places, weights, strict=True)
        )
    )
