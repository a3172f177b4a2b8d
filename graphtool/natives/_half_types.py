"""Which inputs and outputs of a node may be float16 in place of float32, by its operator's schema (``onnx.defs``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from onnx import NodeProto, defs

from graphtool.graph import opset as ops

FLOAT16 = "tensor(float16)"
# type variables that allow float16 and gain nothing by it: a region of interest is a position, not data
_PINNED = frozenset({("Resize", "T2")})
# an attribute, not an input, says what type the output has
_TYPED = frozenset({"dtype", "output_datatype", "output_dtype", "to"})


class Slots(NamedTuple):
    """Positions of the inputs and outputs of a node that become float16 together."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def slots_of(node: NodeProto, version: int | None, inputs: Iterable[int], outputs: Iterable[int]) -> Slots | None:
    """Return which of the float32 ``inputs`` and ``outputs`` of a node may be float16; None where none may.

    What shares a type variable is converted together. An input of a fixed type, such as the scales of Resize, is not.
    """
    if node.domain not in ("", "ai.onnx"):
        return None
    formals = _formals(node.op_type, version)
    if formals is None:
        return None
    takes, makes = formals
    read = {position: kind for position in inputs if (kind := _at(takes, position))}
    made = {position: kind for position in outputs if (kind := _at(makes, position))}
    bound = set(read.values())
    own = Slots(tuple(read), tuple(position for position, kind in made.items() if kind in bound))
    return own if own.inputs or own.outputs else None


def _at(kinds: Sequence[str], position: int) -> str:
    return kinds[min(position, len(kinds) - 1)] if kinds else ""


@lru_cache(maxsize=1024)
def _formals(op_type: str, version: int | None) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return for each formal input and output its type variable where that allows float16, else ''."""
    known = ops.schema(op_type, "", version)
    if known is None or _TYPED & set(known.attributes):
        return None
    variables = {constraint.type_param_str for constraint in known.type_constraints}

    def kinds(formals: Sequence[defs.OpSchema.FormalParameter]) -> tuple[str, ...]:
        return tuple(
            formal.type_str
            if formal.type_str in variables and FLOAT16 in formal.types and (op_type, formal.type_str) not in _PINNED
            else ""
            for formal in formals
        )

    return kinds(known.inputs), kinds(known.outputs)
