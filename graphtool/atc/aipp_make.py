"""An AIPP configuration from what people know: mean, standard deviation, sizes and the order of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphtool.atc.aipp import Aipp, Value
from graphtool.errors import UsageError, quoted

# pre_dataset.py of the ICNet guide (Ascend ModelZoo, 2022-03): ToTensor, then Normalize with these; RGB order
_TORCHVISION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of its ImageNet classifiers; the ICNet guide has the same
PRESETS = {"imagenet": _TORCHVISION, "cityscapes": _TORCHVISION, "none": ((0.0,) * 3, (1.0,) * 3)}
FORMATS = ("RGB888_U8", "XRGB8888_U8", "YUV420SP_U8", "YUV400_U8")

# YUV to RGB, DOC 8.0.0 atlasatc_16_0021 (JPEG; BT.601 narrow: atctool_0020)
_MATRICES: dict[str, tuple[tuple[int, ...], tuple[int, int, int]]] = {
    "jpeg": ((256, 0, 359, 256, -88, -183, 256, 454, 0), (0, 128, 128)),
    "bt601-narrow": ((298, 0, 409, 298, -100, -208, 298, 516, 0), (16, 128, 128)),
}
MATRICES = tuple(_MATRICES)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the preprocessing does: ``(pixel / scale - mean) / std`` per channel, in the model's order of channels.

    ``size`` is height and width of the image, ``crop`` top, left, height, width. ``swap`` says that the image's order
    of colours (or of U and V) is not the model's. ``csc`` names the matrix for YUV.
    """

    mean: Sequence[float]
    std: Sequence[float]
    scale: float = 255.0
    layout: str = "RGB888_U8"
    size: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    swap: bool = False
    csc: str = "jpeg"
    rank: int = 0


def make(wish: Wish) -> Aipp:
    """Return the configuration: ``min_chn = mean * scale`` and ``var_reci = 1 / (std * scale)``."""
    if wish.layout not in FORMATS:
        raise UsageError(f"input_format {quoted(wish.layout)} is not one of {', '.join(FORMATS)}")
    count = 1 if wish.layout == "YUV400_U8" else 3
    mean, std = (_filled(name, words, count) for name, words in (("mean", wish.mean), ("std", wish.std)))
    if any(value <= 0 for value in (*std, wish.scale)):
        raise UsageError("std and scale are above 0")
    values: dict[str, list[Value]] = {"aipp_mode": ["static"], "related_input_rank": [wish.rank]}
    values["input_format"] = [wish.layout]
    values["rbuv_swap_switch"] = [wish.swap]
    if wish.size is not None:
        values["src_image_size_h"], values["src_image_size_w"] = [wish.size[0]], [wish.size[1]]
    if wish.crop is not None:
        names = ("load_start_pos_h", "load_start_pos_w", "crop_size_h", "crop_size_w")
        values["crop"] = [True]
        values |= {name: [number] for name, number in zip(names, wish.crop, strict=True)}
    if wish.layout.startswith("YUV420"):
        matrix, bias = _MATRICES[wish.csc]
        values["csc_switch"] = [True]
        values |= {f"matrix_r{place // 3}c{place % 3}": [number] for place, number in enumerate(matrix)}
        values |= {f"input_bias_{place}": [number] for place, number in enumerate(bias)}
    values |= {f"min_chn_{place}": [round(one * wish.scale, 12)] for place, one in enumerate(mean)}
    values |= {f"var_reci_chn_{place}": [1 / (one * wish.scale)] for place, one in enumerate(std)}
    return Aipp(1, values)


def _filled(name: str, words: Sequence[float], count: int) -> list[float]:
    if len(words) not in (1, count):
        raise UsageError(f"{name} has {len(words)} values, the image has {count} channel{'s' if count > 1 else ''}")
    return [float(word) for word in words] * (count if len(words) == 1 else 1)


def input_notes(op: Aipp, shape: Sequence[int] | None) -> list[str]:
    """Say what changes for the input file, for a model input of ``shape`` (N, C, H, W)."""
    layout = op.get("input_format")
    notes = [
        f"the model's input becomes uint8, {'H * 3 / 2 rows of W (NV12)' if layout == 'YUV420SP_U8' else 'HWC'}, "
        "as the image is read: leave scaling, mean and deviation out of the preprocessing, keep the resize",
    ]
    if shape is not None and len(shape) == 4:
        height = op.get("src_image_size_h") or shape[2]
        width = op.get("src_image_size_w") or shape[3]
        each = {"YUV420SP_U8": 1.5, "YUV400_U8": 1, "XRGB8888_U8": 4}.get(layout, 3)
        now, before = int(height * width * each), 4 * shape[1] * shape[2] * shape[3]
        notes.append(f"a sample is {now} bytes in place of {before} (float32 NCHW)")
    notes.append("the .onnx stays as it is; give atc --insert_op_conf=FILE (DOC 8.0.0 atlasatcparam_16_0044)")
    notes.append("ModelZoo guides give --enable_small_channel=1 with it in 39 of 47 commands (MZ 2023-12)")
    return notes
