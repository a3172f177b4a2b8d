"""Which nodes of a model a message of ATC is about: by name where ATC kept it, else by type and by known limits.

ATC names operators after ONNX nodes, joins names where it fuses (``Conv_12Relu_13``, ``Mul_105/Gelu``), and gives names
of its own to what a plugin expands to (``PartitionedCall_AvgPool_45_2``): those carry no ONNX name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from onnx import NodeProto, helper

from graphtool.atc.logs import Seen
from graphtool.atc.tables import table
from graphtool.errors import nearest, quoted
from graphtool.graph import Graph

_ORDER = ("certain", "likely", "possible")
_OWN = re.compile(r"(?:PartitionedCall_|trans_)")
_TYPE = re.compile(r"([A-Za-z][A-Za-z0-9]*?)(?:_\d+)+$")
_LIMITS = "OPS avg_pool.py and average_pool_plugin.cc, 2021-04-26 to 2021-10-12"
_MOST = 12


@dataclass(frozen=True, slots=True)
class Suspect:
    """A node that may be meant: how sure that is, why, and the passes that would change it."""

    node: str
    op_type: str
    certainty: str
    reason: str
    passes: tuple[str, ...] = ()


@cache
def _names(kind: str) -> Mapping[str, tuple[str, ...]]:
    return {name: tuple(words) for name, words in table("names")[kind].items()}


def suspects(seen: Seen, graph: Graph) -> list[Suspect]:
    """Return the candidates for a message, the surest first, at most 12."""
    found = sorted(_all(seen, graph), key=lambda one: _ORDER.index(one.certainty))
    first: dict[str, Suspect] = {}
    for one in found:
        first.setdefault(one.node, one)
    return list(first.values())[:_MOST]


def _all(seen: Seen, graph: Graph) -> Iterator[Suspect]:
    if seen.code == "AVGPOOL":
        yield from _by_window(seen.numbers, graph)
        return
    if seen.known is None or not (seen.known.node or seen.code == "E10016"):
        return
    nodes = {node.name: node for node in graph.nodes if node.name}
    if seen.op in nodes:
        yield _suspect(nodes[seen.op], "certain", "the message names it")
        return
    parts = list(_by_parts(seen.op, nodes)) if seen.op else []
    yield from parts
    if any(one.certainty == "likely" for one in parts):
        return
    if seen.code == "E10016":
        close = nearest(seen.op, nodes)
        if close is not None:
            yield _suspect(nodes[close], "possible", f"its name is near {quoted(seen.op)}")
        return
    kinds = _onnx_types(seen)
    own = bool(_OWN.match(seen.op))
    for node in graph.nodes:
        if node.op_type in kinds:
            yield _by_type(node, graph, own, seen.code)


def _by_parts(op: str, nodes: Mapping[str, NodeProto]) -> Iterator[Suspect]:
    """Yield the nodes whose names a fused name is made of, the longest names first."""
    rest = op
    for name in sorted((one for one in nodes if len(one) > 2 and one in op), key=len, reverse=True):
        pattern = rf"(?<![A-Za-z]){re.escape(name)}(?!\d)"
        if re.search(pattern, rest):
            rest = re.sub(pattern, "\0", rest)
            sure = "possible" if _OWN.match(op) else "likely"
            yield _suspect(nodes[name], sure, f"its name is a part of {quoted(op)}, which ATC fused")


def _onnx_types(seen: Seen) -> frozenset[str]:
    """Return the ONNX types that the operator of a message may come from."""
    kind = seen.op_type.rpartition("::")[2]
    if not kind and (match := _TYPE.search(_OWN.sub("", seen.op))):
        kind = match[1].rpartition("_")[2]
    if not kind:
        return frozenset()
    plain = re.sub(r"(?:V\d|D)+$", "", kind)
    known = _names("onnx")
    return frozenset(known.get(kind, ())) | frozenset(known.get(plain, ())) | {kind, plain}


def _by_type(node: NodeProto, graph: Graph, own: bool, code: str) -> Suspect:
    why = "ATC's own name carries no ONNX name; the type fits" if own else "the type fits"
    if node.op_type == "AveragePool" and code == "W11001":
        off, reason = _off_core(node, graph)
        return _suspect(node, "likely" if off else "possible", f"{why}; {reason} ({_LIMITS})")
    return _suspect(node, "possible", why)


def _off_core(node: NodeProto, graph: Graph) -> tuple[bool, str]:
    """Return whether the AI Core refuses a pool (rule of 2021-04-26 to 2021-10-12), and why or why not."""
    kernel, strides = _window(node)
    text = f"window {'x'.join(map(str, kernel))}, stride {'x'.join(map(str, strides))}"
    value = graph.facts.value(node.output[0])
    shape = value.shape if value is not None else None
    if shape is not None and len(shape) == 4 and shape[2:] == (1, 1):
        return False, f"{text}: global, which the AI Core takes"
    if math.prod(kernel) > 255 or max(strides, default=1) > 63:
        return True, f"{text}: more than 255 elements or a stride above 63"
    return False, f"{text}: within the limits"


def _window(node: NodeProto) -> tuple[tuple[int, ...], tuple[int, ...]]:
    found = {one.name: tuple(helper.get_attribute_value(one)) for one in node.attribute if one.ints}
    kernel = found.get("kernel_shape", ())
    return kernel, found.get("strides", (1,) * len(kernel))


def _by_window(numbers: tuple[int, ...], graph: Graph) -> Iterator[Suspect]:
    for node in graph.nodes:
        if node.op_type != "AveragePool":
            continue
        kernel, strides = _window(node)
        if (*kernel, *strides) == numbers:
            yield _suspect(node, "certain", "it has the window and strides of the message")
        elif kernel == numbers[:2]:
            yield _suspect(node, "likely", "it has the window of the message, other strides")
        elif math.prod(kernel) > 255 or max(strides, default=1) > 63:
            yield _suspect(node, "possible", "it is beyond the limits too, and would be refused next")


def _suspect(node: NodeProto, certainty: str, reason: str) -> Suspect:
    return Suspect(node.name or node.output[0], node.op_type, certainty, reason, _names("passes").get(node.op_type, ()))
