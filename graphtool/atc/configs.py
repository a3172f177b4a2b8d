"""The files that options of ATC name: each written from a profile's table, and each checked where it is given.

Formats as in the Ascend ModelZoo (2022-03 to 2023-12) and the CANN manuals: fusion switches (two syntaxes), keep_dtype,
op_precision, modify_mixlist, customize_dtypes. AIPP has modules of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphtool.atc import aipp, aipp_cpu
from graphtool.atc.cann import operator_tables
from graphtool.atc.finding import Finding
from graphtool.errors import ProfileError, did_you_mean, quoted, show
from graphtool.graph import Graph

_MZ = "MZ 2022-03 to 2023-12"
_MODES = (
    "high_performance", "high_precision", "super_performance", "norm_class", "support_out_of_bound_index",
    "enable_float_32_execution", "enable_hi_float_32_execution",
)  # fmt: skip
_LISTS = ("black-list", "white-list", "gray-list")
_DTYPES = ("float16", "float32", "float", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool", "double")
Faults = Iterator[Finding]


def check(option: str, text: str, graph: Graph | None = None, dynamic_size: bool = False) -> list[Finding]:
    """Return what is wrong in the file of an option; node names are held against ``graph`` where it is given."""
    if option == "insert_op_conf":
        ops, found = aipp.read(text)
        return [*found, *aipp.check(ops, dynamic_size), *(aipp_cpu.against(ops, graph) if graph is not None else ())]
    return list(_CHECKS[option](text.removeprefix("\ufeff"), graph))


def write(option: str, table: object, where: str) -> str:
    """Return the text of the file of an option from a profile's value; ProfileError names the key."""
    return _WRITERS[option](table, where)


FILES = (
    "insert_op_conf",
    "fusion_switch_file",
    "keep_dtype",
    "op_precision_mode",
    "modify_mixlist",
    "customize_dtypes",
)
"""The options that name a file that graphtool can write and check."""

_ENDS = ("aipp.cfg", "fusion.cfg", "keep.cfg", "precision.ini", "mixlist.json", "dtypes.cfg")
SUFFIXES: Mapping[str, str] = dict(zip(FILES, _ENDS, strict=True))


# -- checks


def _fusion(text: str, graph: Graph | None) -> Faults:
    option = "fusion_switch_file"
    if not text.lstrip().startswith("{"):
        for number, line in _lines(text):
            name, colon, state = map(str.strip, line.partition(":"))
            if not colon or not name or state not in ("on", "off"):
                yield _fault(option, f"line {number}: {quoted(line)} is not PASS:on or PASS:off")
        return
    data = _json(text)
    if isinstance(data, str):
        yield _fault(option, data)
        return
    switch = data.get("Switch")
    if not isinstance(switch, dict) or len(data) != 1:
        yield _fault(option, 'the only key is "Switch"', 'write {"Switch": {"GraphFusion": {...}, "UBFusion": {...}}}')
        return
    for kind, passes in switch.items():
        if kind not in ("GraphFusion", "UBFusion") or not isinstance(passes, dict):
            yield _fault(option, f"{quoted(kind)} is neither GraphFusion nor UBFusion")
            continue
        for name, state in passes.items():
            if state not in ("on", "off"):
                yield _fault(option, f"{kind}.{show(name)}: {quoted(state)} is neither on nor off")


def _keep(text: str, graph: Graph | None) -> Faults:
    for number, line in _lines(text):
        if re.search(r"\s", line) or (line.count("::") and not re.fullmatch(r"OpType::\w+", line)):
            reason = f"line {number}: {quoted(line)} is neither the name of an operator nor OpType::TYPE"
            yield _fault("keep_dtype", reason)
        else:
            yield from _named("keep_dtype", number, line, graph)


def _precision(text: str, graph: Graph | None) -> Faults:
    option = "op_precision_mode"
    section = ""
    for number, line in _lines(text):
        if line.startswith("["):
            section = line
            if line not in ("[ByNodeName]", "[ByOpType]"):
                yield _fault(option, f"line {number}: section {quoted(line)} is neither [ByOpType] nor [ByNodeName]")
            continue
        name, equals, mode = map(str.strip, line.partition("="))
        if not equals or not name or not re.fullmatch(r"\w+", mode):
            yield _fault(option, f"line {number}: {quoted(line)} is not NAME=MODE")
        elif mode not in _MODES:
            reason = f"line {number}: {quoted(mode)} is none of the known modes{did_you_mean(mode, _MODES)}"
            yield Finding(option, "warning", "", reason, "", _MZ)
        elif section == "[ByNodeName]":
            yield from _named(option, number, name, graph)
        else:
            yield from _named(option, number, f"OpType::{name}", graph)


def _mixlist(text: str, graph: Graph | None) -> Faults:
    option = "modify_mixlist"
    data = _json(text)
    if isinstance(data, str):
        yield _fault(option, data)
        return
    for key, changes in data.items():
        if key not in _LISTS or not isinstance(changes, dict):
            yield _fault(option, f"{quoted(key)} is none of {', '.join(_LISTS)}{did_you_mean(key, _LISTS)}")
            continue
        for verb, types in changes.items():
            if verb not in ("to-add", "to-remove"):
                yield _fault(option, f"{key}.{show(verb)}: neither to-add nor to-remove")
            elif not isinstance(types, list) or not all(isinstance(one, str) for one in types):
                yield _fault(option, f"{key}.{verb}: not a list of operator types")
            else:
                for one in types:
                    yield from _named(option, 0, f"OpType::{one}", graph)


def _dtypes(text: str, graph: Graph | None) -> Faults:
    option = "customize_dtypes"
    form = re.compile(r"(OpType::[\w]+:|.+::)((?:(?:Input|Output)Dtype:[^:]*?,?)+)")
    for number, line in _lines(text):
        match = form.fullmatch(line.replace(" ", ""))
        if match is None:
            fix = "write NAME::InputDtype:float16,OutputDtype:float16 or OpType::TYPE:InputDtype:..."
            yield _fault(option, f"line {number}: {quoted(line)} cannot be read", fix)
            continue
        for word in re.split(r"[,;]", re.sub(r"(Input|Output)Dtype:", "", match[2])):
            if word and word not in _DTYPES:
                yield _fault(option, f"line {number}: {quoted(word)} is not a type{did_you_mean(word, _DTYPES)}")
        yield from _named(option, number, match[1].removesuffix(":").removesuffix(":"), graph)


def _named(option: str, number: int, name: str, graph: Graph | None) -> Faults:
    """Hold a node's name against a graph, or a type against what is known of operators."""
    place = f"line {number}: " if number else ""
    if name.startswith("OpType::"):
        kind = name.removeprefix("OpType::")
        if not any(kind in table or f"{kind}D" in table for table in operator_tables().values()):
            reason = f"{place}{quoted(kind)} is no operator of the tables of 2022-06"
            yield Finding(option, "note", "", reason, "check its spelling", "OPS 2022-06")
        return
    if graph is None:
        return
    names = {node.name for node in graph.nodes if node.name}
    # what ATC's fusions make is named after the nodes it was made of: Mul_105/Gelu
    if name not in names and not any(name.startswith(f"{known}/") for known in names):
        reason = f"{place}the graph has no node {quoted(name)}{did_you_mean(name, names)}"
        yield Finding(option, "error", "E10016", reason, "", "the model; GE, v2.0.0, 2023-03")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith(("#", "//")):
            yield number, line.strip()


def _json(text: str) -> dict[str, Any] | str:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as why:
        return f"not JSON: {show(why)}"
    return data if isinstance(data, dict) else "not a JSON object"


def _fault(option: str, reason: str, fix: str = "") -> Finding:
    return Finding(option, "error", "E10001", reason, fix, _MZ)


_CHECKS: Mapping[str, Callable[[str, Graph | None], Faults]] = {
    "fusion_switch_file": _fusion,
    "keep_dtype": _keep,
    "op_precision_mode": _precision,
    "modify_mixlist": _mixlist,
    "customize_dtypes": _dtypes,
}


# -- from a profile's table


def _write_fusion(table: object, where: str) -> str:
    data = _section(table, where)
    return _dumped({"Switch": {kind: _section(data[kind], f"{where}.{kind}") for kind in data}})


def _write_lines(table: object, where: str) -> str:
    if not isinstance(table, list) or not table or not all(isinstance(one, str) and one for one in table):
        raise ProfileError(f"{where}: not a list of names")
    return "".join(f"{one}\n" for one in table)


def _write_precision(table: object, where: str) -> str:
    data = dict(_section(table, where))
    nodes = data.pop("by_node", {})
    lines = [f"{name}={mode}" for name, mode in data.items()]
    if nodes:
        lines += ["[ByNodeName]", *(f"{name}={mode}" for name, mode in _section(nodes, f"{where}.by_node").items())]
    return "".join(f"{line}\n" for line in lines)


def _write_mixlist(table: object, where: str) -> str:
    return _dumped(_section(table, where))


def _write_aipp(table: object, where: str) -> str:
    ops = []
    for place, one in enumerate(table if isinstance(table, list) else [table]):
        values = {
            name: list(value) if isinstance(value, list) else [value]
            for name, value in _section(one, f"{where}[{place}]").items()
        }
        ops.append(aipp.Aipp(1, values))
    return aipp.write(ops) if all(op.values.keys() <= aipp.FIELDS for op in ops) else _unknown_field(ops, where)


def _unknown_field(ops: list[aipp.Aipp], where: str) -> str:
    name = next(name for op in ops for name in op.values if name not in aipp.FIELDS)
    raise ProfileError(f"{where}.{show(name)}: aipp_op has no such field{did_you_mean(name, aipp.FIELDS)}")


def _section(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ProfileError(f"{where}: not a table with entries")
    return value


def _dumped(data: object) -> str:
    return json.dumps(data, indent=4, ensure_ascii=False) + "\n"


_WRITERS: Mapping[str, Callable[[object, str], str]] = {
    "insert_op_conf": _write_aipp,
    "fusion_switch_file": _write_fusion,
    "keep_dtype": _write_lines,
    "op_precision_mode": _write_precision,
    "modify_mixlist": _write_mixlist,
    "customize_dtypes": _write_lines,
}
