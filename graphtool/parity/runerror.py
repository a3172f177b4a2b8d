"""What onnxruntime says when it cannot: one line of it, and whether it is for want of an operator."""

from __future__ import annotations

import re
from typing import Literal

from graphtool.errors import GraphtoolError, quoted, show

Reason = Literal["op", "load", "run"]

_SOURCE = re.compile(r"\S+\.(?:cc|cpp|h|hpp|cu):\d+ ")
_NO_OP = (
    re.compile(r'In Node, \("(?P<node>[^"]*)", .*No Op registered for (?P<op>\S+) with domain_version'),
    re.compile(r"Fatal error: (?:(?P<domain>[^\s(]*):)?(?P<op>[^\s:(]+)(?:\(-?\d+\))? is not a registered function/op"),
    re.compile(r"Could not find an implementation for (?P<op>[^\s(]+)\(\d+\) node with name '(?P<node>[^']*)'"),
    re.compile(r"Failed to find kernel for (?P<op>[^\s(]+)\(\d+\) \(node:'(?P<node>[^']*)'"),
)
# what it says, mostly while it runs, of an operator that it has in other forms only
_NO_KERNEL = re.compile(
    r"ONNXRuntimeError\] : 9 : NOT_IMPLEMENTED|\bnot implemented\b|Unsupported pooling size"
    r"|Only support GridSample Cubic mode in 4-D|Batchwise recurrent operations .* are not supported",
    re.IGNORECASE,
)
_AT_NODE = (
    re.compile(r"running (?P<op>\S+) node\. Name:'(?P<node>[^']*)' Status Message: (?P<rest>.*)", re.DOTALL),
    re.compile(r"Node \((?P<node>[^)]*)\) Op \((?P<op>[^)]*)\) (?:\[\w+\] )?(?P<rest>.*)", re.DOTALL),
    re.compile(r'In Node, \("(?P<node>[^"]*)", (?P<op>[^,]+),.*? , Error (?P<rest>.*)', re.DOTALL),
)


class RunError(GraphtoolError):
    """onnxruntime cannot run a graph.

    ``reason``: ``op`` where it has no operator ``op`` (of that name, for these element types, or in this form),
    ``load`` where it refuses the model, ``run`` where the run itself failed, which other inputs may help. ``op`` and
    ``node`` are None where it names neither.
    """

    def __init__(self, message: str, reason: Reason, op: str | None = None, node: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.op = op
        self.node = node


def run_error(error: Exception, reason: Literal["load", "run"]) -> RunError:
    """Return what an exception of onnxruntime says, in one line; ``reason`` is what was tried."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    for pattern in _NO_OP:
        found = pattern.search(text)
        if found:
            named = found.groupdict()
            where = f" (node {quoted(named['node'])})" if named.get("node") else ""
            lack = "for these element types" if pattern in _NO_OP[2:] else "in this opset"
            domain = f"{named['domain']}." if named.get("domain") else ""
            message = f"onnxruntime has no operator {quoted(domain + found['op'])} {lack}{where}"
            return RunError(message, "op", found["op"], named.get("node") or None)
    kind = re.search(r"MLDataType for: tensor\((\w+)\) is not currently registered", text)
    if kind:
        return RunError(f"onnxruntime has no element type {kind[1]}", "op")
    place = re.search(r"Failed to construct locale with name:(\S+?):", text)
    if place:
        return RunError(
            f"onnxruntime wants the locale {show(place[1])}, which is not installed", "op", "StringNormalizer"
        )
    why: Reason = "op" if _NO_KERNEL.search(str(error)) else reason
    for pattern in _AT_NODE:
        found = pattern.search(text)
        if found:
            where = f"node {quoted(found['node'])} ({show(found['op'])})" if found["node"] else f"a {show(found['op'])}"
            message = f"onnxruntime cannot run {where}: {_core(found['rest'])}"
            return RunError(message, why, found["op"], found["node"] or None)
    return RunError(f"onnxruntime cannot run the graph: {_core(text)}", why)


def _core(text: str) -> str:
    """Return a message without source places, C++ signatures and conditions, in one line."""
    text = " ".join(text.split())
    while found := _SOURCE.search(text):
        rest = text[found.end() :]
        signature = found.group().startswith("/")
        text = text[: found.start()] + (_after_signature(rest) if signature else rest.partition(" ")[2])
    text = re.sub(r"^\[with [^\]]*\] ", "", text)  # template arguments
    condition, was, message = text.partition(" was false. ")
    text = message if was and message else condition
    return show(text.removesuffix("Please fix either the inputs/outputs or the model.").strip(), 300)


def _after_signature(text: str) -> str:
    """Return what follows a C++ function signature, ``void a::b(c<d(e)>) const ``."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth == 0:
            return text[place + 1 :].removeprefix(" const").lstrip()
    return text
