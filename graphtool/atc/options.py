"""The options of ATC, as data: what each takes, its default, ATC's error code, and where the fact comes from.

Nothing here was tried on a device. Sources, each with its date:

* GE: the ATC front end of Ascend GraphEngine, ``main.cc`` and ``option_utils.cc``, v2.0.0 (2023-03) unless another
  version stands with it.
* MZ: the atc commands of the Ascend ModelZoo guides, 2022-03 to 2023-12.
* DOC: the CANN manuals, with the version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graphtool.atc import values
from graphtool.atc.values import SpellingError
from graphtool.errors import did_you_mean, quoted

Kind = str
"""One of the keys of ``_CHECKS`` below."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of ATC.

    ``values`` lists what an ``enum`` or ``enums`` (comma-separated) takes. ``default`` is what ATC does without the
    option, None where that is nothing or unknown. ``error`` is the code ATC reports for a bad value, where known.
    """

    name: str
    kind: Kind
    help: str
    values: tuple[str, ...] = ()
    default: str | None = None
    error: str = ""
    source: str = "GE v2.0.0, 2023-03"

    @property
    def listing(self) -> bool:
        """Whether the value is a list that ATC's help wants in double quotes."""
        return self.kind in ("nodes", "shapes", "names", "gears", "image_gears", "types", "enums")


_SWITCH = ("0", "1")
_BOOLEAN = ("true", "false")
_PRECISION = (
    "force_fp16",
    "force_fp32",
    "cube_fp16in_fp32out",
    "allow_mix_precision",
    "allow_fp32_to_fp16",
    "must_keep_origin_dtype",
    "allow_mix_precision_fp16",  # this and the next two: GE, 2023 and later
    "allow_mix_precision_bf16",
    "allow_fp32_to_bf16",
)
_PRECISION_V2 = ("fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16", "cube_hif8", "mixed_hif8")
_IMPLMODE = (
    "high_performance",
    "high_precision",
    "high_performance_for_all",
    "high_precision_for_all",
    "enable_float_32_execution",
    "enable_hi_float_32_execution",
)

# The order here is the order on the command line: that of the ICNet guide (Ascend ModelZoo, 2022-03) for the options it
# uses, with all others between input_shape and log.
_TABLE = (
    # ATC also reads 0 (Caffe), 1 (MindSpore) and 3 (TensorFlow); what graphtool writes is ONNX
    Option("framework", "enum", "the kind of model: 5 is ONNX", ("5",), error="E10007"),
    Option("model", "path", "the model file", error="E10004"),
    Option("output", "path", "the .om file to write, without its suffix", error="E10004"),
    Option(
        "out_nodes",
        "nodes",
        "the outputs to keep, NODE:INDEX;...; the graph is cut there",
        error="E10001",
        source="GE omg.cc ParseOutNodes, v2.0.0; a tensor name alone is for Caffe only",
    ),
    Option(
        "output_type",
        "output_type",
        "element type of all outputs, or NODE:INDEX:TYPE;... for nodes of out_nodes",
        values.OUTPUT_TYPES,
        error="E10001",
        source="GE omg.cc ParseOutputType, v2.0.0; MZ 2023-12: FP16 in 19 of 20 commands",
    ),
    Option(
        "input_format",
        "enum",
        "layout of the inputs",
        ("NCHW", "NCDHW", "ND"),
        default="NCHW",
        error="E10001",
        source="GE CheckInputFormat for ONNX, v2.0.0; NCDHW by its use in MZ",
    ),
    Option(
        "input_shape",
        "shapes",
        "NAME:DIM,DIM,...;NAME:...; overrides what the model says",
        error="E10002",
        source="GE ParseInputShape, v2.0.0; a size of 0 or less is E10011",
    ),
    Option(
        "dynamic_batch_size",
        "gears",
        "batch sizes for a first dimension of -1",
        error="E10003",
        source="GE CheckDynamicBatchSizeInputShapeValid, v2.0.0; DOC 6.0.RC1",
    ),
    Option(
        "dynamic_image_size",
        "image_gears",
        "HEIGHT,WIDTH;... for a height and width of -1",
        error="E10019",
        source="GE CheckDynamicImagesizeInputShapeValid, v2.0.0; DOC 6.2.RC2",
    ),
    Option(
        "dynamic_dims",
        "gears",
        "sizes for every -1 of all inputs, in order; sets split by ';'",
        error="E10003",
        source="GE CheckDynamicDimsInputShapeValid, v2.0.0; DOC 6.0.1",
    ),
    Option("input_fp16_nodes", "names", "inputs to be fed as float16, split by ';'"),
    Option("is_input_adjust_hw_layout", "enums", "per input: fed as float16 NC1HWC0", _BOOLEAN, error="E10005"),
    Option("is_output_adjust_hw_layout", "enums", "per out node: given as float16 NC1HWC0", _BOOLEAN, error="E10005"),
    Option("insert_op_conf", "path", "AIPP configuration: image preprocessing on the chip", error="E10001"),
    Option("enable_small_channel", "enum", "first convolution on 4 channels or fewer", _SWITCH, default="0"),
    Option(
        "precision_mode",
        "enum",
        "which element types operators compute in",
        _PRECISION,
        default="force_fp16",
        error="E10001",
        source="GE, 2025",
    ),
    Option(
        "precision_mode_v2",
        "enum",
        "the newer form of precision_mode",
        _PRECISION_V2,
        default="fp16",
        error="E10056",
        source="GE, 2025; DOC from 6.2.RC2",
    ),
    Option("op_precision_mode", "path", "file: implementation per operator (since GE v1.3.0, 2021-07)"),
    Option("modify_mixlist", "path", "file: changes to the lists of mixed precision (since GE v1.3.0, 2021-07)"),
    Option("keep_dtype", "path", "file: operators that keep their element type (since GE v1.2.0, 2021-04)"),
    Option("customize_dtypes", "path", "file: element types per operator", source="DOC from 6.2.RC2; MZ 2023-12"),
    Option(
        "op_select_implmode",
        "enum",
        "how operators are implemented",
        _IMPLMODE,
        default="high_performance",
        error="E10001",
    ),
    Option("optypelist_for_implmode", "types", "operator types op_select_implmode is for, split by ','"),
    Option("fusion_switch_file", "path", "file: fusions switched off"),
    Option(
        "buffer_optimize",
        "enum",
        "use of the on-chip buffers",
        ("l1_optimize", "l2_optimize", "off_optimize", "l1_and_l2_optimize"),
        default="l2_optimize",
    ),
    # gone from later CANN, where the separate tool aoe does it (DOC); MZ has it in guides of 2022 only
    Option("auto_tune_mode", "enums", "tune operators while converting", ("RL", "GA"), source="GE v1.1.0; MZ 2022-03"),
    Option("disable_reuse_memory", "enum", "1: every tensor gets its own memory", _SWITCH, default="0", error="E10006"),
    Option("enable_single_stream", "enum", "one stream only", _BOOLEAN, default="false", error="E10005"),
    Option("enable_compress_weight", "enum", "compress weights", _BOOLEAN, default="false", error="E10005"),
    Option("compress_weight_conf", "path", "file: operators whose weights are compressed"),
    Option("op_debug_level", "number", "keep what the operator compiler wrote", default="0"),
    Option("core_type", "enum", "cores to use", ("AiCore", "VectorCore"), default="AiCore"),
    Option("aicore_num", "number", "number of cores to use"),
    Option("log", "enum", "log level", ("debug", "info", "warning", "error", "null"), default="null"),
    Option("soc_version", "soc", "the chip, such as Ascend310 or Ascend310P3", source="MZ; GE op_info_cfg, 2023-03"),
)

OPTIONS: Mapping[str, Option] = {option.name: option for option in _TABLE}
"""Every option graphtool writes, by name, in the order of the command line."""

GEARS = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")
"""The options that say which sizes a -1 in input_shape may have."""


def find(name: str) -> Option:
    """Return the option of that name; raises SpellingError for an unknown one.

    Leading dashes and ``-`` for ``_`` are fine, as they are for ATC (gflags).
    """
    word = name.lstrip("-").replace("-", "_")
    if word not in OPTIONS:
        raise SpellingError(f"unknown ATC option {quoted(name)}{did_you_mean(word, OPTIONS)}")
    return OPTIONS[word]


def check(option: Option, text: str) -> None:
    """Raise SpellingError with the reason where ``text`` is no value of the option."""
    values.check_printable(text)
    _CHECKS[option.kind](option, text)


def _enum(option: Option, text: str) -> None:
    if text not in option.values:
        hint = did_you_mean(text, option.values)
        raise SpellingError(f"{quoted(text)} is not {_one_of(option.values)}{hint}")


def _one_of(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _enums(option: Option, text: str) -> None:
    for word in text.split(","):
        _enum(option, word)


def _form(pattern: str, form: str) -> Callable[[Option, str], None]:
    compiled = re.compile(pattern, re.ASCII)

    def run(_: Option, text: str) -> None:
        if not compiled.fullmatch(text):
            raise SpellingError(f"{quoted(text)} is not {form}")

    return run


_CHECKS: Mapping[Kind, Callable[[Option, str], object]] = {
    "enum": _enum,
    "enums": _enums,
    "nodes": lambda _, text: values.parse_nodes(text),
    "output_type": lambda _, text: values.parse_output_type(text),
    "shapes": lambda _, text: values.parse_shapes(text),
    "path": _form(r"(?s).*\S.*", "a file name"),
    "number": _form(r"\d{1,9}", "a whole number"),
    "names": _form(r"[^;]+(;[^;]+)*", "NAME;NAME;..."),
    "types": _form(r"\w+(,\w+)*", "TYPE,TYPE,..."),
    "gears": _form(r"\d{1,9}(,\d{1,9})*(;\d{1,9}(,\d{1,9})*)*", "numbers split by ',' (and sets of them by ';')"),
    "image_gears": _form(r"\d{1,9},\d{1,9}(;\d{1,9},\d{1,9})*", "HEIGHT,WIDTH;HEIGHT,WIDTH;..."),
    "soc": _form(r"Ascend\d{3}\w*", "a chip such as Ascend310 or Ascend310P3"),
}


def conflict(options: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first option that does not go with the others, and why; None where all go together."""
    gears = [name for name in GEARS if name in options]
    if len(gears) > 1:
        return gears[1], f"does not go with {gears[0]} (ATC: E10009)"
    if "dynamic_dims" in options and "insert_op_conf" in options:
        return "dynamic_dims", "does not go with insert_op_conf (ATC: E10001, no AIPP with dynamic dims)"
    if "precision_mode" in options and "precision_mode_v2" in options:
        return "precision_mode_v2", "does not go with precision_mode (ATC: E10056)"
    if "optypelist_for_implmode" in options and "op_select_implmode" not in options:
        return "optypelist_for_implmode", "needs op_select_implmode (ATC: E10001)"
    mixing = options.get("precision_mode", options.get("precision_mode_v2", ""))
    if "modify_mixlist" in options and not mixing.startswith(("allow_mix_precision", "mixed_")):
        return "modify_mixlist", "needs precision_mode=allow_mix_precision (ATC: E10001)"
    if options.get("enable_compress_weight") == "true" and "compress_weight_conf" in options:
        return "compress_weight_conf", "does not go with enable_compress_weight=true (ATC: E10047)"
    return None
