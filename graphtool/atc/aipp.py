"""AIPP configurations: prototxt of ``aipp_op { ... }``, read, checked and written.

Fields, types and limits are those of ``atc_profiles/tables/aipp.toml``. The order of work is the hardware's, whatever
the order of lines: exchange of channels, crop, colour conversion, mean and deviation, border (DOC 8.0.0
atlasatc_16_0025).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from graphtool.atc.finding import Finding
from graphtool.atc.tables import fields, table
from graphtool.errors import did_you_mean, quoted

_PROTO = "GE insert_op.proto, v1.8.0"
_ORDER = "DOC 8.0.0 atlasatc_16_0025"
_TOKEN = re.compile(r"\s*(?:#[^\n]*|(?P<word>\"[^\"\n]*\"|'[^'\n]*'|[{}:;,：]|[^\s{}:;,#：]+))")
Value = str | int | float | bool


@dataclass(slots=True)
class Aipp:
    """One ``aipp_op``: its fields with their values in order, and the line it starts on."""

    line: int = 1
    values: dict[str, list[Value]] = field(default_factory=dict)

    def get(self, name: str, default: Value = 0) -> Any:
        """Return the first value of a field."""
        return self.values.get(name, [default])[0]

    def channels(self, name: str, count: int, default: float) -> list[float]:
        """Return ``name_0`` to ``name_N``."""
        return [float(self.get(f"{name}_{i}", default)) for i in range(count)]


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    known = {"type": str, "repeated": str, "help": str, "values": list, "range": list, "source": str}
    return {
        name: fields("aipp", name, entry, known, ("type", "help", "source")) for name, entry in table("aipp").items()
    }


FIELDS = _table().keys()
"""The names of all fields of ``aipp_op``, in the order of work."""


def read(text: str) -> tuple[list[Aipp], list[Finding]]:
    """Return the ``aipp_op`` of a configuration, and what ATC's parser would refuse in it."""
    ops: list[Aipp] = []
    faults: list[Finding] = []
    words = list(_words(text))
    place = 0
    current: Aipp | None = None
    while place < len(words):
        line, word = words[place]
        following = words[place + 1][1] if place + 1 < len(words) else ""
        if current is None:
            colon = following == ":" and place + 2 < len(words) and words[place + 2][1] == "{"
            if word == "aipp_op" and (following == "{" or colon):
                current = Aipp(line)
                place += 3 if colon else 2
                continue
            reason = f"line {line}: {quoted(word)} where aipp_op {{ is expected; this is no AIPP configuration"
            faults.append(_fault("insert_op_conf", reason, "begin with aipp_op {"))
            return ops, faults
        if word == "}":
            ops.append(current)
            current = None
            place += 1
        elif word in (";", ","):
            place += 1
        elif following in (":", "："):
            if following == "：":
                reason = f"line {line}: a full-width colon, which the parser does not take"
                faults.append(_fault(word, reason, f"write {word}: with a plain colon"))
            value = words[place + 2][1] if place + 2 < len(words) else ""
            if value in ("", "}", ":"):
                faults.append(_fault(word, f"line {line}: no value", ""))
                place += 2
            else:
                _take(current, word, value, line, faults)
                place += 3
        else:
            faults.append(_fault(word, f"line {line}: {quoted(word)} is not FIELD: VALUE", "write FIELD: VALUE"))
            place += 1
    if current is not None:
        faults.append(_fault("aipp_op", f"line {current.line}: is never closed", "add }"))
        ops.append(current)
    if not ops and not faults:
        faults.append(_fault("insert_op_conf", "no aipp_op in it", "write one with graphtool atc aipp write"))
    return ops, faults


def _words(text: str) -> Iterator[tuple[int, str]]:
    line = 1
    place = 0
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    while match := _TOKEN.match(text, place):
        line += text.count("\n", place, match.start("word") if match["word"] else match.end())
        if match["word"]:
            yield line, match["word"].strip("\"'")
        place = match.end()


def _take(op: Aipp, name: str, text: str, line: int, faults: list[Finding]) -> None:
    """Put a value into ``op``, checked against the field's type."""
    entry = _table().get(name)
    if entry is None:
        reason = f"line {line}: aipp_op has no such field{did_you_mean(name, _table())}"
        faults.append(_fault(name, reason, "the parser refuses the whole file"))
        return
    if name in op.values and not entry.get("repeated"):
        faults.append(_fault(name, f"line {line}: given twice", "give it once"))
        return
    value: Value | None = _value(entry, text)
    if value is None:
        wanted = " or ".join(entry.get("values", ())[:2]) if entry["type"] == "enum" else _TYPES[entry["type"]]
        hint = did_you_mean(text, entry.get("values", ()))
        fix = "write it in min_chn, which takes a fraction" if name.startswith("mean_chn") else ""
        faults.append(_fault(name, f"line {line}: {quoted(text)} is not {wanted}{hint}", fix, entry["source"]))
        return
    low, high = entry.get("range", (0 if entry["type"] == "int" and not name.startswith("matrix") else None, None))
    if isinstance(value, int) and not isinstance(value, bool):
        if low is not None and value < low:
            faults.append(_fault(name, f"line {line}: {value} is below {low}", "", "GE ge_aipp_op.cc, v1.8.0"))
        elif high is not None and value > high:
            faults.append(_fault(name, f"line {line}: {value} is above {high}", "", entry["source"]))
    op.values.setdefault(name, []).append(value)


_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "text": "text", "enum": "known"}


def _value(entry: Mapping[str, Any], text: str) -> Value | None:
    kind = entry["type"]
    if kind == "enum":
        numbers = {str(place + 1): word for place, word in enumerate(entry["values"])}
        word = numbers.get(text, text)
        return word if word in entry["values"] else None
    if kind == "bool":
        return {"true": True, "t": True, "1": True, "True": True}.get(text, None if text not in _FALSE else False)
    if kind == "int":
        return int(text) if re.fullmatch(r"-?\d{1,10}", text, re.ASCII) else None
    if kind == "float":
        plain = re.fullmatch(r"-?(\d{1,40}(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?f?", text, re.ASCII | re.IGNORECASE)
        found = float(text.rstrip("fF")) if plain else math.nan
        return found if math.isfinite(found) else None
    return text


_FALSE = ("false", "f", "0", "False")


def check(ops: Sequence[Aipp], dynamic_size: bool = False) -> Iterator[Finding]:
    """Yield what is wrong or without effect in configurations that could be read.

    ``dynamic_size`` says that the model is compiled with dynamic_image_size.
    """
    seen: set[object] = set()
    for op in ops:
        key = op.get("related_input_name", "") or op.get("related_input_rank")
        if key in seen:
            yield _fault("related_input_rank", f"line {op.line}: input {quoted(key)} has two aipp_op", "one an input")
        seen.add(key)
        mode = op.get("aipp_mode", "")
        if not mode:
            yield _fault("aipp_mode", f"line {op.line}: missing; must be static or dynamic", "aipp_mode: static")
        elif mode == "dynamic":
            if op.get("max_src_image_size") <= 0:
                reason = f"line {op.line}: missing or 0; dynamic AIPP needs the bytes of the largest image"
                yield _fault("max_src_image_size", reason, "", "GE ge_aipp_op.cc, v1.8.0")
        else:
            yield from _static(op, dynamic_size)


def _static(op: Aipp, dynamic_size: bool) -> Iterator[Finding]:
    where = f"line {op.line}: "
    layout = op.get("input_format", "")
    if not layout:
        yield _fault("input_format", f"{where}missing; static AIPP needs it", "input_format: RGB888_U8", _ORDER)
    if dynamic_size:
        if op.get("crop", False) or op.get("padding", False):
            reason = f"{where}with dynamic_image_size static AIPP neither crops nor pads"
            yield _fault("crop" if op.get("crop", False) else "padding", reason, "", "DOC 8.0.0 atctool_0020")
        if op.get("src_image_size_w") or op.get("src_image_size_h"):
            reason = f"{where}with dynamic_image_size it is 0"
            yield _fault("src_image_size_w", reason, "leave it out", "DOC 8.0.0 atctool_0020")
    yield from _crop(op, where)
    sizes = ("src_image_size_w", "src_image_size_h", "load_start_pos_w", "load_start_pos_h")
    for name in sizes if layout == "YUV420SP_U8" else ():
        if op.get(name) % 2:
            yield _fault(
                name, f"{where}{op.get(name)} is odd; YUV420SP_U8 wants even numbers", "", "DOC 8.5.0 aclAippInfo"
            )
    if not op.get("csc_switch", False) and any(name.startswith(("matrix_", "input_bias")) for name in op.values):
        yield _note("csc_switch", f"{where}false, so matrix and bias have no effect")
    elif op.get("csc_switch", False) and not any(name.startswith("matrix_") for name in op.values):
        yield _fault("csc_switch", f"{where}true without a matrix: every colour becomes 0", "give matrix_r0c0 to r2c2")
    if op.get("resize", False):
        yield _note("resize", f"{where}reserved, AIPP does not resize", "warning", "DOC 8.5.0 aclAippInfo")
    if any(op.channels("mean_chn", 4, 0)) and any(op.channels("min_chn", 4, 0)):
        yield _note(
            "min_chn_0", f"{where}mean_chn and min_chn are both subtracted", "note", "DOC 8.0.0 atlasatc_16_0022"
        )
    if any(0.0 in map(float, op.values.get(f"var_reci_chn_{i}", [])) for i in range(4)):
        yield _note("var_reci_chn_0", f"{where}0 makes every pixel 0", "warning", "DOC 8.0.0 atlasatc_16_0022")
    if op.get("padding", False):
        value = op.get("padding_value", op.get("cpadding_value", 0))
        yield _note("padding", f"{where}comes after mean and deviation: the border is {value} for the model")
    elif any(op.get(f"{side}_padding_size") for side in ("left", "right", "top", "bottom")):
        yield _note("padding", f"{where}not true, so the padding sizes have no effect", "warning")


def _crop(op: Aipp, where: str) -> Iterator[Finding]:
    given = [name for name in ("crop_size_w", "crop_size_h") if name in op.values]
    if not op.get("crop", False):
        if given:
            yield _note("crop", f"{where}not true, so crop_size and load_start_pos have no effect", "warning")
        return
    for side in "wh":
        size, start, whole = (op.get(f"{name}_{side}") for name in ("crop_size", "load_start_pos", "src_image_size"))
        if size and whole and start + size > whole:
            reason = f"{where}{start} + {size} is beyond the image's {whole}"
            yield _fault(f"crop_size_{side}", reason, "", "DOC 8.5.0 aclAippInfo")


def _fault(name: str, reason: str, fix: str, source: str = _PROTO) -> Finding:
    return Finding(name, "error", "E10052", reason, fix, source)


def _note(name: str, reason: str, level: str = "note", source: str = _ORDER) -> Finding:
    return Finding(name, level, "", reason, "", source)


def output_size(op: Aipp) -> tuple[int, int] | None:
    """Return height and width of what AIPP hands to the model; None where they are left to the model."""
    sizes = []
    for side, pads in (("h", ("top", "bottom")), ("w", ("left", "right"))):
        size = op.get(f"crop_size_{side}") if op.get("crop", False) else op.get(f"src_image_size_{side}")
        if not size:
            return None
        sizes.append(size + (sum(op.get(f"{pad}_padding_size") for pad in pads) if op.get("padding", False) else 0))
    return sizes[0], sizes[1]


def write(ops: Sequence[Aipp]) -> str:
    """Return the text of a configuration; ``read`` gives the same values back."""
    lines = []
    for op in ops:
        lines.append("aipp_op {")
        for name in _table():
            lines += [f"    {name}: {_spelled(value)}" for value in op.values.get(name, ())]
        lines.append("}")
    return "\n".join([*lines, ""])


def _spelled(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return str(value)
