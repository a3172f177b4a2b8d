"""Operators that ATC's parser does not know, and opsets that it does not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from onnx import NodeProto

from graphtool.atc.cann import Operators, Release, operators, plugins, release, releases
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.lint.conditions import Found
from graphtool.lint.found import at, at_node
from graphtool.lint.ground import Ground
from graphtool.lint.rule import Rule
from graphtool.lint.target import Aim

Span = tuple[int, int]

_LATEST = "onnx_2022_06"
_PARSER = frozenset({"Constant"})  # read by the parser itself, without a plugin
_STANDARD = ("", "ai.onnx")


def _table(aim: Aim) -> Operators:
    """Return the table that bounds the release from above; the newest there is where none does."""
    return (plugins(aim.cann) if aim.cann is not None else None) or operators(_LATEST)


def _nodes(graph: Graph) -> Iterator[NodeProto]:
    for level in graph.levels():
        yield from level.nodes


def unregistered(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Operators of the standard without a parser plugin at any opset of the table."""
    table = _table(ground.aim)
    last = max(max(versions) for versions in table.opsets.values() if versions)
    for node in _nodes(ground.graph):
        if node.domain in _STANDARD and node.op_type not in table.opsets and node.op_type not in _PARSER:
            since = ops.versions(node.op_type)
            if since and since[0] <= last:
                found = at_node(rule, node, op=node.op_type, date=table.date)
                yield found if node.op_type == "Loop" else replace(found, fix=())


# newer than the table, and known all the same: the operator map of msit, 2023-12
_KNOWN_LATER = frozenset({"GridSample"})
# passes that write an operator in older ones
_WRITTEN_OUT = {
    "Attention": ("decompose_attention",),
    "Gelu": ("decompose_gelu",),
    "LayerNormalization": ("decompose_layer_norm",),
    "Mish": ("decompose_mish",),
    "RMSNormalization": ("decompose_rms_norm",),
    "Swish": ("decompose_silu",),
}


def later(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Operators that are newer than the newest opset of the table: nothing is known of them."""
    table = _table(ground.aim)
    last = max(max(versions) for versions in table.opsets.values() if versions)
    for node in _nodes(ground.graph):
        if node.domain in _STANDARD and node.op_type not in table.opsets:
            since = () if node.op_type in _KNOWN_LATER else ops.versions(node.op_type)
            if since and since[0] > last:
                found = at_node(rule, node, op=node.op_type, since=since[0], last=last, date=table.date)
                yield replace(found, fix=_WRITTEN_OUT.get(node.op_type, ()))


def custom(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Operators that are neither of the standard nor registered: a domain of their own, or a name nobody knows."""
    table = _table(ground.aim)
    local = {(function.domain, function.name) for function in ground.graph.proto.functions}
    for node in _nodes(ground.graph):
        standard = node.domain in _STANDARD
        known = node.op_type in table.opsets or (standard and bool(ops.versions(node.op_type)))
        if not (standard and known) and (node.domain, node.op_type) not in local:
            yield at_node(rule, node, op=f"{node.domain or 'ai.onnx'}.{node.op_type}", date=table.date)


def functions(ground: Ground, rule: Rule) -> Iterator[Found]:
    """Calls of functions that the model defines itself."""
    local = {(function.domain, function.name) for function in ground.graph.proto.functions}
    for node in _nodes(ground.graph):
        if (node.domain, node.op_type) in local:
            yield at_node(rule, node, op=node.op_type)


def _spans(aim: Aim) -> tuple[Span, Span, str] | None:
    """Return the opsets that a release documents and those it has plugins for, and who says so."""
    known = release(aim.cann) if aim.cann is not None else None
    if known is None or (known.opsets is None and known.plugins is None):
        return None
    one, other = known.opsets or known.plugins, known.plugins or known.opsets
    assert one is not None and other is not None
    return one, other, f"CANN {known.version}: {known.source}"


def _opset(ground: Ground, rule: Rule, span: Span, source: str, to: int) -> Found:
    version = ground.graph.opset()
    found = at(rule, "model", f"opset {version}", opset=version, low=span[0], high=span[1], source=source)
    return replace(found, fix=(f"convert_opset:to={to}",))


def too_new(ground: Ground, rule: Rule) -> Iterator[Found]:
    """An opset above what the release documents and has plugins for."""
    version, spans = ground.graph.opset(), _spans(ground.aim)
    if version is not None and spans is not None and version > max(spans[0][1], spans[1][1]):
        yield _opset(ground, rule, (spans[0][0], max(spans[0][1], spans[1][1])), spans[2], spans[0][1])


def undocumented(ground: Ground, rule: Rule) -> Iterator[Found]:
    """An opset above what the release documents, for which it has plugins."""
    version, spans = ground.graph.opset(), _spans(ground.aim)
    if version is not None and spans is not None and spans[0][1] < version <= spans[1][1]:
        yield _opset(ground, rule, spans[0], spans[2], spans[0][1])


def later_releases(ground: Ground, rule: Rule) -> Iterator[Found]:
    """An opset that the oldest releases do not document, where no release is named: which do."""
    version = ground.graph.opset()
    documented = [one for one in releases() if one.opsets is not None] if ground.aim.cann is None else []
    if version is None or not documented or version <= _highest(documented[0]):
        return
    first = next((one for one in documented if _highest(one) >= version), None)
    named = first or documented[-1]
    what = "is the first to document it" if first else "goes furthest, and does not document it"
    yield at(rule, "model", f"opset {version}", release=str(named.version), what=what, source=named.source)


def _highest(release: Release) -> int:
    return release.opsets[1] if release.opsets is not None else 0


def too_old(ground: Ground, rule: Rule) -> Iterator[Found]:
    """An opset below what the release documents."""
    version, spans = ground.graph.opset(), _spans(ground.aim)
    if version is not None and spans is not None and version < spans[0][0]:
        yield _opset(ground, rule, spans[0], spans[2], spans[0][0])
