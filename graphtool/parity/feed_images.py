"""Images as feeds: decoded by Pillow (the extra ``pictures``), resized to the input, normalised as asked for.

A float input gets ``(pixel / 255 - mean) / std`` by channel, an integer one the pixels as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import FeedError, UsageError, quoted, show
from graphtool.graph import Graph, Value
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.eps import eps_of
from graphtool.parity.feed import Feed

Array = NDArray[Any]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Mean and deviation by channel, in units of a pixel from 0 to 1, and the order of the channels."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False

    def text(self) -> str:
        """Return it in a few words."""
        if self == Preprocess():
            return "pixels from 0 to 1"
        lists = (",".join(f"{number:g}" for number in numbers) for numbers in (self.mean, self.std))
        return "mean {}, std {}".format(*lists) + (", BGR" if self.bgr else "")


def parse_preprocess(mean: str | None, std: str | None, bgr: bool = False) -> Preprocess:
    """Return the preprocessing of ``--image-mean`` and ``--image-std``; raises UsageError."""
    found = []
    for option, text, default in (("--image-mean", mean, "0"), ("--image-std", std, "1")):
        try:
            numbers = tuple(float(word) for word in (text or default).split(","))
        except ValueError:
            raise UsageError(f"{option} {show(text)}: expected numbers such as 0.485,0.456,0.406") from None
        if len(numbers) not in (1, 3) or not np.isfinite(numbers).all():
            raise UsageError(f"{option} {show(text)}: one number, or one for each of three channels")
        found.append(numbers)
    if 0.0 in found[1]:
        raise UsageError(f"--image-std {show(std)}: a deviation of 0 divides by it")
    return Preprocess(found[0], found[1], bgr)


def image_feeds(paths: Sequence[Path], graph: Graph, how: Preprocess) -> list[Feed]:
    """Return feeds of as many images each as the graph's batch takes (one where it is open).

    The graph must have one input, ``[N,C,H,W]`` or ``[N,H,W,C]`` with one or three channels. Images left over at the
    end fill no batch and are left out. Raises FeedError, UsageError where Pillow is missing.
    """
    value = _input(graph)
    assert value.shape is not None
    batch = value.shape[0] if isinstance(value.shape[0], int) else 1
    if len(paths) < batch:
        raise FeedError(f"{len(paths)} image(s) for input {quoted(value.name)}, which takes {batch} at a time")
    feeds = []
    for start in range(0, len(paths) - batch + 1, batch):
        some = paths[start : start + batch]
        items = [_read(path, value, how) for path in some]
        if len({item.shape for item in items}) > 1:
            raise FeedError(f"image {quoted(some[0])} and others of its batch have different sizes")
        named = some[0].name if batch == 1 else f"{some[0].name} and {batch - 1} more"
        feeds.append(Feed({value.name: np.stack(items)}, {"source": f"{named} ({how.text()})"}))
    return feeds


def _input(graph: Graph) -> Value:
    inputs = graph.inputs
    if len(inputs) != 1:
        raise FeedError(f"images feed a model of one input; this one has {len(inputs)}: give .npz files")
    value = inputs[0]
    if value.kind != "tensor" or value.rank != 4 or _layout(value) is None:
        raise FeedError(f"input {quoted(value.name)} is {value.type_text()}, which no image fits")
    return value


def _layout(value: Value) -> tuple[str, int] | None:
    shape = value.shape or ()
    for name, axis in (("NCHW", 1), ("NHWC", 3)):
        channels = shape[axis]
        if channels in (1, 3):
            return name, int(channels)
    return None


def _read(path: Path, value: Value, how: Preprocess) -> Array:
    """Return one image as an item of the input, without the batch axis."""
    try:
        from PIL import Image
    except ImportError:
        raise UsageError("images need Pillow: pip install 'graphtool[pictures]'") from None
    found = _layout(value)
    assert found is not None and value.shape is not None
    layout, channels = found
    height, width = value.shape[2:] if layout == "NCHW" else value.shape[1:3]
    try:
        with Image.open(path) as image:
            own = image.convert("RGB" if channels == 3 else "L")
            size = (width if isinstance(width, int) else own.width, height if isinstance(height, int) else own.height)
            own = own if own.size == size else own.resize(size, Image.Resampling.BILINEAR)
            pixels = np.asarray(own, np.uint8).reshape(size[1], size[0], channels)
    except Exception as error:  # Pillow on a stranger's bytes
        text = (isinstance(error, OSError) and error.strerror) or str(error)
        reason = show(" ".join(text.split()) or type(error).__name__)
        raise FeedError(f"image {quoted(path)} cannot be read: {reason}") from None
    if how.bgr:
        pixels = pixels[:, :, ::-1]
    dtype = numpy_dtype(value.dtype)
    if eps_of(dtype):
        mean, std = (np.array(numbers, np.float32) for numbers in (how.mean, how.std))
        scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        pixels = scaled.astype(dtype)
    elif (dtype.kind in "iu" and dtype.itemsize > 1) or dtype == np.uint8:
        pixels = pixels.astype(dtype)
    else:
        raise FeedError(f"input {quoted(value.name)} is {value.type_text()}, which no image fits")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if layout == "NCHW" else pixels)
