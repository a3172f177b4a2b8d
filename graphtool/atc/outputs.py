"""Which nodes out_nodes is to name, once passes have changed the graph that a profile was written for.

out_nodes cuts the graph: what comes after the named nodes is dropped. A profile's out_nodes was written for the
exported graph, so it is followed to where its outputs are now, and left out where the graph has just these outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from graphtool.atc.values import NodeOutput, SpellingError, format_nodes
from graphtool.errors import ProfileError, nearest, quoted, show
from graphtool.graph import Graph

# What a pass puts behind an output to change its type or name; the value behind it is the same output.
_SAME = ("Cast", "Identity")


@dataclass(frozen=True, slots=True)
class OutNodes:
    """What out_nodes is to name; nothing where the option is to be left out. ``moved`` maps the words asked for."""

    nodes: tuple[NodeOutput, ...]
    moved: Mapping[NodeOutput, NodeOutput]
    notes: tuple[str, ...] = ()


def out_node_words(graph: Graph) -> dict[str, str | None]:
    """Return, per graph output, the ``node:index`` word by which out_nodes names it.

    None where there is none: no node makes the output, or one whose name is missing, shared or holds ``:`` or ``;``.
    """
    words: dict[str, str | None] = {}
    for value in graph.outputs:
        try:
            words[value.name] = format_nodes([_word(graph, value.name, "")])
        except (ProfileError, SpellingError):
            words[value.name] = None
    return words


def named(graph: Graph, wanted: Sequence[NodeOutput], where: str) -> OutNodes:
    """Take out_nodes as it stands; raises ProfileError where the graph has no such node or output."""
    for name, index in wanted:
        _value(graph, name, index, where)
    return OutNodes(tuple(wanted), {word: word for word in wanted})


def follow(graph: Graph, wanted: Sequence[NodeOutput], where: str, needed: bool) -> OutNodes:
    """Find the outputs that a profile's out_nodes means in a graph that passes may have changed.

    * A node that is gone stands for the graph output made by a node named after it (``NAME/...``), where there is one.
    * A value that a Cast makes into a graph output stands for that output.
    * Where the values found are the graph's outputs, in order, out_nodes is left out. So it is where a node is gone
      and the graph has a single output. Neither happens if another option needs out_nodes (``needed``).

    Raises ProfileError for a node that cannot be found or named.
    """
    outputs = [value.name for value in graph.outputs]
    values: list[str] = []
    notes: list[str] = []
    for name, index in wanted:
        if not _nodes(graph, name):
            if (heir := _heir(graph, name)) is not None:
                values.append(heir)
                continue
            if len(outputs) == 1 and not needed:
                only = f"{quoted(outputs[0])} is the only output"
                return OutNodes((), {}, (f"out_nodes left out: no node {quoted(name)} in this graph, and {only}",))
        value = _value(graph, name, index, where)
        output = _as_output(graph, value)
        if output is None:
            word = _text((name, index))
            notes.append(f"out_nodes cuts the graph at {word}, which is not a graph output: what follows is dropped")
        values.append(output or value)
    if values == outputs and not needed:
        return OutNodes(
            (), {}, (f"out_nodes left out: {', '.join(map(quoted, outputs))} is all that the graph puts out",)
        )
    nodes = tuple(_word(graph, value, where) for value in values)
    moved = dict(zip(wanted, nodes, strict=True))
    notes += [f"out_nodes: {_text(old)} is {_text(new)} now" for old, new in moved.items() if old != new]
    return OutNodes(nodes, moved, tuple(notes))


def _text(word: NodeOutput) -> str:
    return quoted(f"{word[0]}:{word[1]}")


def _nodes(graph: Graph, name: str) -> list[NodeProto]:
    return [node for node in graph.nodes if node.name == name]


def _heir(graph: Graph, name: str) -> str | None:
    """Return the one graph output that comes from nodes named after ``name``: what a rewrite of that node made."""
    made = [value for node in graph.nodes if node.name.startswith(f"{name}/") for value in node.output if value]
    found = {output for value in made if (output := _as_output(graph, value)) is not None}
    return found.pop() if len(found) == 1 else None


def _value(graph: Graph, name: str, index: int, where: str) -> str:
    """Return the value that a word of out_nodes names."""
    nodes = _nodes(graph, name)
    if not nodes:
        raise ProfileError(f"{where}: no node named {quoted(name)}{_hint(graph, name)}")
    if len(nodes) > 1:
        raise ProfileError(f"{where}: {len(nodes)} nodes are named {quoted(name)}; out_nodes cannot tell them apart")
    outputs = nodes[0].output
    if index >= len(outputs) or not outputs[index]:
        has = ", ".join(str(i) for i, value in enumerate(outputs) if value) or "none"
        raise ProfileError(f"{where}: node {quoted(name)} has no output {index} (it has {has})")
    return str(outputs[index])


def _hint(graph: Graph, name: str) -> str:
    node = graph.index.producer(name)
    if node is not None and node.name:
        return f"; {quoted(name)} is a tensor, its word here is {_text((node.name, list(node.output).index(name)))}"
    if node is not None:
        return f"; {quoted(name)} is a tensor whose node has no name: prune the graph to it instead (prune_outputs)"
    found = nearest(name, [node.name for node in graph.nodes if node.name])
    words = [show(word) for word in out_node_words(graph).values() if word is not None]
    close = f"; nearest: {quoted(found)}" if found else ""
    return f"{close}  (outputs: {', '.join(words[:8])})" if words else close


def _as_output(graph: Graph, value: str) -> str | None:
    """Return the one graph output that is ``value``, at most its type or name changed; None for none or several."""
    outputs = {out.name for out in graph.outputs}
    if value in outputs:
        return value
    found: list[str] = []
    front, seen = [value], {value}
    while front:
        for node in graph.index.consumers(front.pop()):
            if node.op_type not in _SAME or node.domain not in ("", "ai.onnx") or node.output[0] in seen:
                continue
            seen.add(node.output[0])
            (found if node.output[0] in outputs else front).append(node.output[0])
    return found[0] if len(found) == 1 else None


def _word(graph: Graph, value: str, where: str) -> NodeOutput:
    """Return the word by which out_nodes names a value; raises ProfileError where it has none."""
    node = graph.index.producer(value)
    instead = "prune the graph to its outputs instead (prune_outputs)"
    if node is None:
        raise ProfileError(f"{where}: no node makes output {quoted(value)}, so out_nodes cannot name it; {instead}")
    if not node.name:
        raise ProfileError(f"{where}: the node that makes {quoted(value)} has no name for out_nodes; {instead}")
    if len(_nodes(graph, node.name)) > 1:
        raise ProfileError(f"{where}: several nodes are named {quoted(node.name)}; {instead}")
    return node.name, list(node.output).index(value)
