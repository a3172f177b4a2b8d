"""How ATC spells the values of its options: out_nodes, output_type and input_shape, read and written.

The grammar is that of the ATC front end (Ascend GE, ``omg.cc`` ParseOutNodes and ParseOutputType, ``option_utils.cc``
ParseInputShape, as of v2.0.0, 2023-03). It has no escapes: a name that holds a separator cannot be written at all.
Functions here raise SpellingError with the reason; callers say where the value came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphtool.errors import quoted

BATCH = "{batch}"
"""Stands in an input_shape for the batch; replaced before ATC sees it."""

NodeOutput = tuple[str, int]
"""A node's name and the number of one of its outputs."""

OUTPUT_TYPES = ("FP32", "FP16", "UINT8", "INT8")  # GE v2.0.0, 2023-03; INT8 in later manuals (DOC 6.2.RC2)


class SpellingError(ValueError):
    """A value that is none of an option's, or a name that ATC's grammar or a command line cannot spell."""


def check_printable(text: str) -> None:
    """Refuse control, bidirectional and other unprintable characters: no shell line or log can show them honestly."""
    if not text.isprintable():
        raise SpellingError(f"{quoted(text)} holds an unprintable character, which cannot stand on a command line")


def parse_nodes(text: str) -> list[NodeOutput]:
    """Read ``name:index;name:index``; ATC answers anything else with E10001."""
    found = [_node_output(part) for part in text.split(";")]
    for node in found:
        if found.count(node) > 1:
            raise SpellingError(f"{quoted(format_nodes([node]))} is named twice")
    return found


def _node_output(part: str) -> NodeOutput:
    name, colon, index = part.partition(":")
    if not name or not colon or not _digits(index):
        raise SpellingError(f"{quoted(part)} is not NODE:INDEX (several are split by ';')")
    return name, int(index)


def format_nodes(nodes: Iterable[NodeOutput]) -> str:
    """Write nodes as out_nodes does; a name with ``:`` or ``;`` in it has no spelling."""
    return ";".join(f"{node_word(name)}:{index}" for name, index in nodes)


def node_word(name: str) -> str:
    """Return a node's name where out_nodes can spell it; raises SpellingError elsewhere."""
    check_printable(name)
    for separator in ":;":
        if separator in name:
            raise SpellingError(
                f"node {quoted(name)} has a '{separator}' in its name, which out_nodes cannot spell; rename it"
            )
    return name


def parse_output_type(text: str) -> str | list[tuple[NodeOutput, str]]:
    """Read one type for all outputs, or ``name:index:TYPE;name:index:TYPE``."""
    if ":" not in text:
        _output_type(text)
        return text
    found = []
    for part in text.split(";"):
        node, _, kind = part.rpartition(":")
        found.append((_node_output(node), _output_type(kind)))
    return found


def _output_type(kind: str) -> str:
    if kind not in OUTPUT_TYPES:
        raise SpellingError(f"{quoted(kind)} is not one of {', '.join(OUTPUT_TYPES)}")
    return kind


def parse_shapes(text: str) -> dict[str, tuple[int | str, ...]]:
    """Read ``name:dim,dim;name:dim`` with numbers, -1 and ``{batch}``; a name ends at its last ``:``.

    Blanks around names and numbers are dropped, as ATC does (the ICNet guide writes ``"actual_input_1: 1,3,..."``).
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for part in text.split(";"):
        name, colon, dims = part.rpartition(":")
        name = name.strip()
        if not colon or not name:
            raise SpellingError(f"{quoted(part.strip())} is not NAME:DIM,DIM,... (several are split by ';')")
        if name in shapes:
            raise SpellingError(f"input {quoted(name)} is named twice")
        shapes[name] = tuple(_dim(d.strip(), name) for d in dims.split(","))
    return shapes


def _dim(text: str, name: str) -> int | str:
    if text in (BATCH, "-1"):
        return text if text == BATCH else -1
    if _digits(text) and int(text) > 0:
        return int(text)
    raise SpellingError(f"{quoted(text)} in the shape of {quoted(name)} is not a size above 0, -1 or {BATCH}")


def format_shapes(shapes: Iterable[tuple[str, Sequence[int]]]) -> str:
    """Write shapes as input_shape does; an empty name, or one with ``;`` or outer blanks, has no spelling."""
    words = []
    for name, dims in shapes:
        check_printable(name)
        if ";" in name or name != name.strip() or not name:
            raise SpellingError(
                f"input {quoted(name)}: input_shape cannot spell a name that is empty or has ';' or outer blanks; "
                "rename it"
            )
        words.append(f"{name}:{','.join(map(str, dims))}")
    return ";".join(words)


def parse_number(text: str) -> int:
    """Read a whole number above 0 of at most nine digits."""
    if not _digits(text) or int(text) == 0:
        raise SpellingError(f"{quoted(text)} is not a whole number above 0")
    return int(text)


def _digits(text: str) -> bool:
    # isdigit() alone takes other scripts' digits and superscripts; nine digits are past any real size
    return text.isascii() and text.isdigit() and len(text) <= 9
