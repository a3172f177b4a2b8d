"""The rules between input_shape and the options that list sizes for its -1: gears and ranges.

Codes are those of the ATC front end (Ascend GE, ``option_utils.cc`` v2.0.0 of 2023-03, error texts of 2025). A size may
be unknown until a script runs; what depends on it is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from graphtool.atc.cann import Cann
from graphtool.atc.finding import UNKNOWN, Finding
from graphtool.errors import quoted

Sizes = Mapping[str, tuple[int | None, ...]]
"""Input name to sizes; None is unknown until run, -1 is left open."""

RANGES_SINCE = Cann.parse("6.0.RC1")
_RANGES = "inferred: ModelZoo guides for CANN 6.0 use it (MZ 2023-12), DOC 7.0.0 describes it, older fronts refuse it"
_GE = "GE option_utils.cc, v2.0.0, 2023-03"
_CODES = "GE, error texts of 2025"
_FEWEST, _MOST, _LARGEST = 2, 100, 2048
_DIMS_PER_GEAR = 4  # up to CANN 8: DOC 6.0.1 atctool_0056
_GEARS = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")


def inspect(options: Mapping[str, str], cann: Cann | None) -> Iterator[Finding]:
    """Yield what ATC would say to input_shape and its gears in masked ``options``."""
    text = options.get("input_shape", "")
    gears = [name for name in _GEARS if options.get(name)]
    sizes: Sizes | None = {}
    if text.strip():
        sizes, faults = read(text)
        yield from faults
        yield from _ranges(text, sizes, gears, cann)
    for name in gears:
        yield from _gears(name, options[name], sizes if text.strip() else None, options, cann)
    if options.get("input_shape_range"):
        yield from _range_option(options["input_shape_range"], cann)


def entries(text: str, separator: str = ";") -> list[str]:
    """Split a list; a separator at the very end makes no entry (a warning says so elsewhere)."""
    return text.removesuffix(separator).split(separator)


def read(text: str) -> tuple[Sizes | None, list[Finding]]:
    """Return the sizes in a masked input_shape, and what is wrong with it; None where it cannot be told yet."""
    if UNKNOWN in text and ":" not in text:
        return None, []
    sizes: dict[str, tuple[int | None, ...]] = {}
    faults: list[Finding] = []
    whole = True
    for part in entries(text):
        name, colon, dims = part.rpartition(":")
        name = name.strip()
        if not colon or not name:
            if part.strip() == UNKNOWN:
                whole = False
                continue
            shown = quoted(part.strip().replace(UNKNOWN, "$"))
            reason = "an empty entry (a ';' too many)" if not part.strip() else f"{shown} has no input name"
            faults.append(_fault("input_shape", "E10002", reason, "write NAME:DIM,DIM,...;NAME:...", _GE))
            whole = False
            continue
        if name in sizes:
            reason = f"input {quoted(name)} is named twice"
            faults.append(_fault("input_shape", "", reason, "name each input once", _GE, "warning"))
        found = []
        body = dims.strip()
        inner = body[1:-1] if body.startswith("[") and body.endswith("]") else body
        for word in map(str.strip, inner.split(",") if inner else ()):
            size, code, why = _size(word)
            found.append(size)
            if code:
                reason = f"input {quoted(name)}: {why}"
                faults.append(_fault("input_shape", code, reason, "sizes are whole numbers above 0", _GE))
        sizes[name] = tuple(found)
    return (sizes if whole else None), faults


def _size(word: str) -> tuple[int | None, str, str]:
    """Return a size (-1 for an open one), and code and reason where it is none."""
    if UNKNOWN in word:
        return None, "", ""
    if re.fullmatch(r"\d{1,18}", word, re.ASCII):
        return int(word), "E10011" if int(word) == 0 else "", "a size of 0"
    if word == "-1" or re.fullmatch(r"\d+\s*~\s*(-1|\d+)", word, re.ASCII):
        return -1, "", ""
    if re.fullmatch(r"-\d+", word, re.ASCII):
        return None, "E10011", f"{quoted(word)} is below 0"
    if re.fullmatch(r"\d+", word, re.ASCII):
        return None, "E10013", f"{quoted(word)} is out of range"
    if "." in word or re.match(r"\d", word, re.ASCII):
        return None, "E10002", f"{quoted(word)} is not a whole number"
    return None, "E10014", f"{quoted(word)} is not a number" if word else "an empty size"


def _ranges(text: str, sizes: Sizes | None, gears: list[str], cann: Cann | None) -> Iterator[Finding]:
    """Sizes as ranges, or -1 without gears: only newer releases read them."""
    ranged = "~" in text or "[" in text
    if gears:
        if "~" in text:
            reason = f"a range (~) does not go with {gears[0]}"
            yield _fault("input_shape", "E10040", reason, "write -1 there, or leave the gears out", "GE 2025")
        return
    if not ranged and not any(-1 in dims for dims in (sizes or {}).values()):
        return
    if cann is not None and not cann < RANGES_SINCE:
        return
    what = "a range" if ranged else "-1 without dynamic_batch_size, dynamic_image_size or dynamic_dims"
    yield _fault(
        "input_shape",
        "E10014" if "[" in text else "E10002" if ranged else "E10011",
        f"{what} is refused before CANN {RANGES_SINCE}",
        "give numbers, or list the sizes with one of the dynamic options",
        _RANGES,
        "warning" if cann is None else "error",
    )


def _gears(
    name: str, text: str, sizes: Sizes | None, options: Mapping[str, str], cann: Cann | None
) -> Iterator[Finding]:
    """Check the gears of one option, and the -1 they are for."""
    groups, fault = _groups(name, text)
    if fault is not None:
        yield fault
        return
    yield from _counts(name, groups)
    if sizes is None or any(not dims for dims in sizes.values()):
        return
    places = [(key, axis) for key, dims in sizes.items() for axis, dim in enumerate(dims) if dim == -1]
    unsure = any(None in dims for dims in sizes.values())
    if name == "dynamic_batch_size":
        yield from _batch_places(places, unsure)
    elif name == "dynamic_image_size":
        default = "NHWC" if options.get("framework") == "3" else "NCHW"  # GE CheckInputFormat
        yield from _image_places(places, sizes, options.get("input_format", default), unsure)
    else:
        yield from _dim_places(places, groups, unsure, cann)


def _groups(name: str, text: str) -> tuple[list[tuple[int | None, ...]], Finding | None]:
    """Return the gears as tuples of numbers; None for a number that is unknown until run."""
    separator = "," if name == "dynamic_batch_size" else ";"
    code, form = {
        "dynamic_batch_size": ("E10003", "batch sizes split by ','"),
        "dynamic_image_size": ("E10020", "HEIGHT,WIDTH;HEIGHT,WIDTH;..."),
        "dynamic_dims": ("E10003", "sizes split by ',', sets split by ';'"),
    }[name]
    found = []
    for part in entries(text, separator):
        words = [word.strip() for word in part.split(",")]
        if any(UNKNOWN not in word and not re.fullmatch(r"\d{1,18}", word, re.ASCII) for word in words):
            shown = quoted(part.strip().replace(UNKNOWN, "$")) if part.strip() else "an empty gear"
            return [], _fault(name, code, f"{shown} is not {form}", "", _GE)
        if name == "dynamic_image_size" and len(words) != 2 and UNKNOWN not in part:
            return [], _fault(name, code, f"{quoted(part)} has {len(words)} numbers, not 2", "", _GE)
        found.append(tuple(None if UNKNOWN in word else int(word) for word in words))
    return ([] if UNKNOWN in text else found), None


def _counts(name: str, groups: list[tuple[int | None, ...]]) -> Iterator[Finding]:
    if not groups:
        return
    if len(groups) < _FEWEST:
        yield _fault(name, "E10035", f"{len(groups)} gear, ATC wants {_FEWEST} to {_MOST}", "", _CODES)
    if len(groups) > _MOST:
        yield _fault(name, "E10036", f"{len(groups)} gears, ATC wants {_FEWEST} to {_MOST}", "", _CODES)
    if len(set(map(len, groups))) > 1:
        yield _fault(name, "E10037", "gears of different length", "", _CODES)
    if any(0 in group for group in groups):
        yield _fault(name, "E10038", "a gear of 0", "", _CODES)
    if len(set(groups)) < len(groups):
        twice = next(group for group in groups if groups.count(group) > 1)
        yield _fault(name, "E10039", f"gear {','.join(map(str, twice))} is there twice", "", _CODES)
    if name == "dynamic_batch_size" and any((group[0] or 0) > _LARGEST for group in groups):
        reason = f"a batch above {_LARGEST}, which the manual advises against"
        yield _fault(name, "", reason, "", "DOC 6.0.RC1 atctool_0054", "warning")


def _batch_places(places: list[tuple[str, int]], unsure: bool) -> Iterator[Finding]:
    for key, axis in places:
        if axis != 0:
            reason = f"input {quoted(key)}: -1 at dimension {axis}; with dynamic_batch_size only dimension 0 may be -1"
            yield _fault("input_shape", "E10018", reason, "", _GE)
    if not places and not unsure:
        reason = "needs a -1 in input_shape"
        yield _fault("dynamic_batch_size", "E10031", reason, "write -1 for the batch", _GE)


def _image_places(places: list[tuple[str, int]], sizes: Sizes, layout: str, unsure: bool) -> Iterator[Finding]:
    allowed = (1, 2) if layout == "NHWC" else (2, 3)
    for key in dict.fromkeys(key for key, _ in places):
        open_axes = tuple(axis for at, axis in places if at == key)
        if len(sizes[key]) != 4 or not set(open_axes) <= set(allowed):
            reason = f"input {quoted(key)}: -1 elsewhere than at the height and width of four dimensions"
            yield _fault("input_shape", "E10019", reason, "", _GE)
        elif open_axes != allowed and None not in sizes[key]:
            reason = f"input {quoted(key)}: height and width must both be -1"
            yield _fault("input_shape", "E10019", reason, "", _GE)
    if not places and not unsure:
        reason = "needs a -1 in input_shape"
        yield _fault("dynamic_image_size", "E10040", reason, "write -1 for height and width", _CODES)


def _dim_places(
    places: list[tuple[str, int]], groups: list[tuple[int | None, ...]], unsure: bool, cann: Cann | None
) -> Iterator[Finding]:
    if not places:
        if not unsure:
            fix = "write -1 where the gears go"
            yield _fault("dynamic_dims", "E10040", "needs a -1 in input_shape", fix, _CODES)
        return
    sizes = {len(group) for group in groups}
    if len(sizes) == 1 and not unsure and (wide := sizes.pop()) != len(places):
        listed = ", ".join(f"{name}[{axis}]" for name, axis in places[:6])
        plural = "s" if wide != 1 else ""
        reason = f"{wide} number{plural} a gear for {len(places)} -1 in input_shape ({listed})"
        code = "E10045" if wide < len(places) else "E10003"
        yield _fault("dynamic_dims", code, reason, "one number for each -1, in order", _GE)
    if groups and max(map(len, groups)) > _DIMS_PER_GEAR and cann is not None and cann < Cann.parse("8.0.RC1"):
        reason = f"more than {_DIMS_PER_GEAR} numbers a gear, which CANN {cann} does not take"
        yield _fault("dynamic_dims", "E10001", reason, "", "DOC 6.0.1 atctool_0056")


def _range_option(text: str, cann: Cann | None) -> Iterator[Finding]:
    parts = re.split(r";|(?<=\]),", text.removesuffix(";"))
    for part in parts:
        body = part.rpartition(":")[2].strip()
        if UNKNOWN in part and "[" not in part:
            continue
        inner = body[1:-1] if body.startswith("[") and body.endswith("]") else None
        bad = inner is None or any(_size(word.strip())[1] for word in inner.split(","))
        if bad:
            reason = f"{quoted(part.strip().replace(UNKNOWN, '$'))} is not NAME:[1~20,3,-1]"
            yield _fault("input_shape_range", "E10048", reason, "", _GE)
    if cann is not None and not cann < RANGES_SINCE:
        reason = "deprecated; input_shape takes ranges"
        yield _fault("input_shape_range", "", reason, "write them there: NAME:1~20,3", "GE 2025", "note")


def _fault(option: str, code: str, reason: str, fix: str, source: str, level: str = "error") -> Finding:
    return Finding(option, level, code, reason, fix, source)
