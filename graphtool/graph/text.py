"""ONNX text: a canonical line per node, and snippets read with limits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, helper, parser

from graphtool.errors import PassError, quoted, show
from graphtool.graph.values import dtype_name

_T = TypeVar("_T")
MAX_SNIPPET = 4096  # characters
MAX_BRACES = 2  # nested 5,000 deep, onnx.parser overruns its stack and kills the process
_POSITION = re.compile(r"line: (\d{1,6}) column: (\d{1,6})")
_FUNCTION = re.compile(r"}\s*<")  # behind the graph
_NESTED = re.compile(r"\w\s*(<[^<>]*>)?\s*\([^()]*\w\s*\0\s*(<[^<>]*>)?\s*\(")  # NUL is where the parser stopped
_SHOWN = 8  # elements of an attribute tensor that are written out


def node_line(node: NodeProto, rename: Callable[[str], str] = str) -> str:
    """Return ``y = Op<a=1>(x)`` for a node: attributes by name, so that equal nodes give equal lines."""
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    attributes = ", ".join(
        f"{a.name}={attribute_text(a, rename)}" for a in sorted(node.attribute, key=lambda a: a.name)
    )
    outputs = ", ".join(rename(name) if name else "" for name in node.output)
    inputs = ", ".join(rename(name) if name else "" for name in node.input)
    return f"{outputs} = {domain}{node.op_type}{f'<{attributes}>' if attributes else ''}({inputs})"


def attribute_text(attribute: AttributeProto, rename: Callable[[str], str] = str) -> str:
    """Return an attribute's value on one line; tensors by type, shape and (where long) digest."""
    if attribute.ref_attr_name:
        return f"@{attribute.ref_attr_name}"
    match attribute.type:
        case AttributeProto.STRING:
            return f'"{show(attribute.s)}"'
        case AttributeProto.STRINGS:
            return "[" + ", ".join(f'"{show(s)}"' for s in attribute.strings) + "]"
        case AttributeProto.FLOAT:
            return str(np.float32(attribute.f))
        case AttributeProto.FLOATS:
            return "[" + ", ".join(str(np.float32(f)) for f in attribute.floats) + "]"
        case AttributeProto.INT:
            return str(attribute.i)
        case AttributeProto.INTS:
            return "[" + ", ".join(map(str, attribute.ints)) + "]"
        case AttributeProto.TENSOR:
            return tensor_text(attribute.t)
        case AttributeProto.GRAPH:
            return _graph_text(attribute.g, rename)
    value = helper.get_attribute_value(attribute)
    return f"sha256:{_digest(b''.join(item.SerializeToString(deterministic=True) for item in _listed(value)))}"


def _listed(value: object) -> list[onnx.ModelProto]:
    return list(value) if hasattr(value, "__len__") else [value]  # type: ignore[call-overload,list-item]


def tensor_text(tensor: TensorProto) -> str:
    """Return ``float32[2] {1, 2}``, or a digest in place of many values."""
    head = f"{dtype_name(tensor.data_type)}[{','.join(map(str, tensor.dims))}]"
    count = int(np.prod(list(tensor.dims), dtype=np.int64)) if tensor.dims else 1
    if count <= _SHOWN and tensor.data_location != TensorProto.EXTERNAL:
        values = onnx.numpy_helper.to_array(tensor).reshape(-1)
        return f"{head} {{{', '.join(show(v) for v in values.tolist())}}}"
    return f"{head} sha256:{_digest(tensor.raw_data or tensor.SerializeToString(deterministic=True))}"


def _graph_text(graph: GraphProto, rename: Callable[[str], str]) -> str:
    inputs = ", ".join(rename(value.name) for value in graph.input)
    outputs = ", ".join(rename(value.name) for value in graph.output)
    return f"({inputs}) => ({outputs}) {{{'; '.join(node_line(node, rename) for node in graph.node)}}}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _limits(text: str) -> None:
    if len(text) > MAX_SNIPPET:
        raise PassError(f"ONNX text of {len(text)} characters; at most {MAX_SNIPPET} are read")
    if "\0" in text:
        raise PassError("ONNX text with a NUL character")
    if text.count("{") <= MAX_BRACES:
        return
    depth = deepest = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        deepest = max(deepest, depth)
    if deepest > MAX_BRACES:
        raise PassError(f"ONNX text with braces nested {deepest} deep; at most {MAX_BRACES}")


def parse_nodes(text: str) -> list[NodeProto]:
    """Return the nodes of statements such as ``y = Relu(x)``; raises PassError with the parser's position."""
    _limits(text)
    function = _parse(
        f'<domain: "pattern", opset_import: ["" : 1]> snippet () => () {{ {text} }}', parser.parse_function
    )
    return list(function.node)


def parse_graph(text: str) -> GraphProto:
    """Return the graph of ``g (float[2] x) => (float[2] y) { y = Relu(x) }``; raises PassError."""
    _limits(text)
    return _parse(text, parser.parse_graph)


def parse_case(text: str) -> tuple[GraphProto, list[FunctionProto]]:
    """Return a graph as :func:`parse_graph` does, and the local functions that may follow it in the text.

    >>> _, functions = parse_case('g (float[2] x) => (float[2] y) { y = d.F(x) } '
    ...                           '<domain: "d", opset_import: ["": 17]> F (p) => (q) { q = Relu(p) }')
    >>> [function.name for function in functions]
    ['F']
    """
    if not _FUNCTION.search(text):
        return parse_graph(text), []
    _limits(text)
    model = _parse(f'<ir_version: 8, opset_import: ["" : 1]> {text}', parser.parse_model)
    return model.graph, list(model.functions)


def _place(where: str, text: str) -> str:
    """Return what stands where the parser stopped, from its ``(line: 1 column: 89)``."""
    found = _POSITION.search(where)
    lines = text.split("\n")
    if found is None or not 0 < int(found[1]) <= len(lines):
        return ""
    line, column = lines[int(found[1]) - 1], max(0, int(found[2]) - 1)
    nested = _NESTED.search(f"{line[:column]}\0{line[column:]}")
    hint = "; calls do not nest: give the inner one a name" if nested else ""
    rest = line[column:][:20].rstrip(" }")
    return f" at {quoted(rest)}{hint}" if rest else " at its end"


def _parse(text: str, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(text)
    except parser.ParseError as error:
        lines = str(error).replace("\\n", "\n").splitlines()
        reason = lines[-1].rstrip(chr(39))
        if reason == "Internal error":
            reason = "a number, a string in double quotes, a list or @name is wanted"
        raise PassError(f"not ONNX text: {show(reason.rstrip('.'))}{_place(lines[0], text)}") from None
    except (IndexError, RuntimeError, ValueError) as error:  # IndexError: a number too large for C++
        raise PassError(f"not ONNX text: {show(error)}") from None
