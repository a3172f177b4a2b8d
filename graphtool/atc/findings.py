"""What ATC would say to a set of options, before it is run: each violation with ATC's code, the fix and the source.

Values may hold pieces that are unknown until a script runs (``${bs}``, ``$1``, ``{batch}``): what depends on such a
piece is not judged. The rules are those of the tables and of the ATC front end; no graph is looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from graphtool.atc import options as atc
from graphtool.atc import shaperules
from graphtool.atc.cann import Cann
from graphtool.atc.finding import UNKNOWN, Finding
from graphtool.atc.options import Option
from graphtool.errors import did_you_mean, quoted

_VARIABLE = re.compile(
    r"\$\(\([^)]*\)\)|\$\([^)]*\)|\$\{[^}]*\}|\$[A-Za-z_]\w*|\$[0-9@*#?]|`[^`]*`|%[A-Za-z_]\w*%"
    r"|\{\{?[A-Za-z_][\w ]*\}?\}|<[A-Za-z_][\w .-]*>|%[ds]|\$?｛[^｝]*｝"
)
_PATHS = re.compile(rf"[A-Za-z0-9._/\u4e00-\u9fff{UNKNOWN}~-]*")
_FRAMEWORKS = {"0": "Caffe", "1": "MindSpore", "3": "TensorFlow", "5": "ONNX"}
_LAYOUTS = {
    "0": ("NCHW", "ND"),
    "3": ("NCHW", "NHWC", "ND", "NCDHW", "NDHWC"),
    "5": ("NCHW", "ND", "NCDHW"),
}
_LONGEST = 4096  # PATH_MAX of Linux
_GE = "GE, v2.0.0, 2023-03"
_BARE = "the name of a tensor is not enough"


def mask(text: str) -> str:
    """Return ``text`` with every piece that is unknown until run replaced by one character."""
    return _VARIABLE.sub(UNKNOWN, text)


def known(text: str) -> bool:
    """Whether nothing in ``text`` is unknown until run."""
    return UNKNOWN not in mask(text)


def inspect(options: Mapping[str, str], cann: Cann | None = None, whole: bool = True) -> list[Finding]:
    """Return what ATC would say to options that the table knows, in the table's order.

    ``cann`` is the release to judge by; without one only what all releases refuse is an error. ``whole`` is false
    where more options may come from a variable: then nothing counts as missing.
    """
    masked = {name: mask(options[name]) for name in atc.OPTIONS if name in options}
    found: list[Finding] = []
    for name, text in masked.items():
        option = atc.OPTIONS[name]
        found += _release(option, cann)
        if option.kind == "flag":
            continue
        if not text.strip():
            found.append(Finding(name, "error", "E10004", "the value is empty", f"give {name}=VALUE", _GE))
        else:
            said = _CHECKS.get(option.kind, _nothing)(option, text, cann)
            # for Caffe the name of a tensor is enough (GE omg.cc ParseOutNodes, v2.0.0, 2023-03)
            found += [one for one in said if masked.get("framework") != "0" or _BARE not in one.reason]
            if text.endswith(";") and option.listing:
                reason = "a ';' at the end, after which ATC may read one more, empty entry"
                found.append(Finding(name, "warning", option.error, reason, "remove it", _GE))
    found += shaperules.inspect(masked, cann)
    if whole:
        found += _missing(masked)
    for name, why, relation in atc.conflicts(masked, lambda text: UNKNOWN not in text):
        if whole or relation.excludes:
            reason = re.sub(r" \(ATC: .*\)$", "", why)
            found.append(Finding(name, "error", relation.error, reason, relation.fix, relation.source))
    found += _layout(masked)
    found += _outputs(masked)
    order = {name: place for place, name in enumerate(atc.OPTIONS)}
    return sorted(found, key=lambda one: (order.get(one.option, len(order)), one.level))


def _release(option: Option, cann: Cann | None) -> Iterator[Finding]:
    """Hold an option against a release; what is inferred from dates is a warning."""
    if cann is None:
        return
    level = "warning" if option.ge else "error"
    basis = f"inferred: GraphEngine {option.ge}" if option.ge else option.source
    if option.since is not None and cann < option.since:
        yield Finding(
            option.name, level, "", f"CANN {cann} does not have it, {option.since} does", "leave it out", basis
        )
    if option.until is not None and not cann < option.until:
        yield Finding(option.name, level, "", f"gone since CANN {option.until}", "leave it out", basis)


def _missing(options: Mapping[str, str]) -> Iterator[Finding]:
    """Say which options ATC cannot do without, by what it is asked to do."""
    mode = options.get("mode", "0")
    if "help" in options or "h" in options or UNKNOWN in mode:
        return
    if "singleop" in options:
        needed = ["output", "soc_version"]
    elif mode in ("1", "6"):
        needed = [] if {"om", "model"} & options.keys() else ["om"]
    elif mode == "5":
        needed = ["om", "json"]
    elif mode == "3":
        needed = ["framework", "model"]
    else:
        needed = ["framework", "model", "output", "soc_version"]
    for name in needed:
        if name not in options:
            code = "E10007" if name == "framework" else "E10004"
            fix = {
                "framework": "framework=5 is ONNX",
                "output": "give output=NAME; ATC adds .om",
                "soc_version": "give the chip, such as soc_version=Ascend310 (npu-smi info)",
            }.get(name, f"give {name}=FILE")
            yield Finding(name, "error", code, "missing, and ATC needs it", fix, f"{_GE}, CheckFlags")


def _layout(options: Mapping[str, str]) -> Iterator[Finding]:
    """Hold the layout against the framework."""
    text, framework = options.get("input_format", UNKNOWN), options.get("framework", UNKNOWN)
    taken = _LAYOUTS.get(framework)
    if taken and text in atc.OPTIONS["input_format"].values and text not in taken:
        reason = f"{quoted(text)} is not a layout for {_FRAMEWORKS[framework]}, which takes {', '.join(taken)}"
        yield Finding("input_format", "error", "E10001", reason, "", f"{_GE}, CheckInputFormat")
    if framework not in ("0", UNKNOWN) and "weight" in options:
        reason = f"ignored with {_FRAMEWORKS.get(framework, framework)}; it is for Caffe"
        yield Finding("weight", "warning", "", reason, "leave it out", f"{_GE}, CheckFrameWorkValid")


def _outputs(options: Mapping[str, str]) -> Iterator[Finding]:
    """Hold per-node types against out_nodes, and float16 inputs against AIPP."""
    types = options.get("output_type", "")
    kept = options.get("out_nodes")
    if ":" in types and UNKNOWN not in types + (kept or ""):
        listed = set((kept or "").split(";"))
        for part in types.split(";"):
            node = part.rpartition(":")[0]
            if node.count(":") == 1 and node not in listed:
                reason = f"{quoted(node)} is not in out_nodes"
                yield Finding("output_type", "error", "E10001", reason, "name it there too", f"{_GE}, omg.cc")
    if options.get("precision_mode_v2") == "origin" and "keep_dtype" in options:
        reason = "has no effect with precision_mode_v2=origin"
        yield Finding("keep_dtype", "warning", "", reason, "leave one of the two out", "DOC 6.2.RC2 atctool_000093")
    halves = options.get("input_fp16_nodes")
    shape = options.get("input_shape", "")
    if halves and "insert_op_conf" in options and UNKNOWN not in halves + shape and shape.count(":") == 1:
        name = shape.rpartition(":")[0].strip()
        if name in halves.split(";"):
            reason = f"{quoted(name)} is fed through AIPP, which takes uint8, not float16"
            yield Finding("input_fp16_nodes", "error", "E10034", reason, "leave one of the two out", "GE 2025")


# -- one value at a time: (option, masked text, release)


def _nothing(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    yield from ()


def _enum(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    words = text.split(",") if option.kind == "enums" else [text]
    for word in words:
        if UNKNOWN in word or word in option.values:
            continue
        if option.later and word in option.later.values:
            if cann is not None and cann < option.later.since:
                reason = f"CANN {cann} does not take {quoted(word)}, {option.later.since} does"
                yield Finding(option.name, "error", option.error, reason, "", option.later.source)
            continue
        choice = ", ".join((*option.values, *(option.later.values if option.later else ())))
        reason = f"{quoted(word)} is not one of {choice}{did_you_mean(word, option.values)}"
        yield Finding(option.name, "error", option.error, reason, "", option.source)


def _number(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    if UNKNOWN not in text and not re.fullmatch(r"\d+", text, re.ASCII):
        yield Finding(option.name, "error", option.error, f"{quoted(text)} is not a whole number", "", option.source)


def _soc(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    if UNKNOWN in text or re.fullmatch(r"[A-Z][A-Za-z]*\d[\w-]*", text, re.ASCII):  # Ascend310, Hi3796CV300, SS928V100
        return
    number = re.fullmatch(r"(?:ascend)?(\d{3}\w*)", text, re.ASCII | re.IGNORECASE)
    fix = f"write Ascend{number[1]}" if number else "such as Ascend310 (npu-smi info)"
    yield Finding(option.name, "error", "E10001", f"{quoted(text)} is not the name of a chip", fix, option.source)


def _path(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    if not _PATHS.fullmatch(text):
        reason = f"{quoted(text.replace(UNKNOWN, '$'))}: a path may hold letters, digits, '-', '.', '_', Chinese"
        yield Finding(option.name, "error", "E10001", reason, "rename it", "GE, 2020 to 2025")
    if option.name == "output" and text.endswith("/"):
        yield Finding(option.name, "error", "E10022", f"{quoted(text)} has no file name", "add one", _GE)
    if len(text) > _LONGEST:
        yield Finding(option.name, "error", "E10021", f"longer than {_LONGEST} characters", "shorten it", _GE)


def _nodes(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    if text == UNKNOWN:
        return
    for part in shaperules.entries(text):
        name, _, index = part.partition(":")
        if UNKNOWN in part and ":" not in part:
            continue
        if part.count(":") == 1 and name and (UNKNOWN in index or re.fullmatch(r"\d+", index, re.ASCII)):
            continue
        reason = f"{quoted(part.replace(UNKNOWN, '$'))} is not NODE:INDEX"
        if not part:
            reason = "an empty entry (a ';' too many)"
        elif part.count(":") > 1:
            reason += "; ATC splits at every ':', a name with one has no spelling"
        elif part.count(":") == 0:
            reason += f"; {_BARE}"
        yield Finding(
            option.name,
            "error",
            "E10001",
            reason,
            "write node_name:0;node_name:1 (atc explain --model M names the node)",
            "GE omg.cc ParseOutNodes, v2.0.0, 2023-03; newer manuals also take output names (DOC 8.0)",
        )


def _type(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    if ":" not in text:
        yield from _enum(option, text, cann)
        return
    for part in text.split(";"):
        node, _, kind = part.rpartition(":")
        if UNKNOWN not in part and (part.count(":") != 2 or not node.rpartition(":")[2].isdigit()):
            reason = f"{quoted(part)} is not NODE:INDEX:TYPE"
            yield Finding(option.name, "error", "E10001", reason, "", option.source)
        else:
            yield from _enum(option, kind, cann)


def _names(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    if any(not part.strip() for part in shaperules.entries(text)):
        yield Finding(option.name, "error", option.error, "an empty entry (a ';' too many)", "", option.source)


def _types(option: Option, text: str, cann: Cann | None) -> Iterator[Finding]:
    for word in text.split(","):
        if UNKNOWN not in word and not re.fullmatch(r"[\w.-]+", word.strip(), re.ASCII):
            reason = f"{quoted(word)} is not an operator type (several are split by ',')"
            yield Finding(option.name, "error", option.error, reason, "", option.source)


_CHECKS: Mapping[str, Callable[[Option, str, Cann | None], Iterator[Finding]]] = {
    "enum": _enum,
    "enums": _enum,
    "number": _number,
    "soc": _soc,
    "path": _path,
    "nodes": _nodes,
    "output_type": _type,
    "names": _names,
    "types": _types,
}
