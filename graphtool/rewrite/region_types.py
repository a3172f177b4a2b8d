"""Which inputs and outputs of a node can have another element type, by the type variables of its schema."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto, defs

from graphtool.graph import dtype_name
from graphtool.graph import opset as ops
from graphtool.rewrite.build import Refused

_VARIADIC = defs.OpSchema.FormalParameterOption.Variadic


def changeable(
    node: NodeProto, version: int | None, dtype: int, reads: Sequence[int], makes: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return those positions of inputs and outputs that can be of type ``dtype``; raises Refused where none can.

    Inputs and outputs of one type variable (ONNX operator specification) change together or not at all; what the
    schema fixes, such as the int64 shape of a Reshape, stays.
    """
    schema = ops.schema(node.op_type, node.domain, version)
    if schema is None:
        raise Refused(f"which element types {node.op_type} takes is not known")
    word = _word(dtype)
    allowed = {c.type_param_str for c in schema.type_constraints if word in c.allowed_type_strs}
    sides = []
    for formal, names, carried in ((schema.inputs, node.input, reads), (schema.outputs, node.output, makes)):
        variables = [variable(formal, place) if name else None for place, name in enumerate(names)]
        allowed -= {v for place, v in enumerate(variables) if v is not None and place not in carried}
        sides.append([(place, variables[place]) for place in carried])
    read, made = ([place for place, variable in side if variable in allowed] for side in sides)
    if not read and not made:
        raise Refused(f"{node.op_type} does not take {dtype_name(dtype)} there")
    return read, made


def _word(dtype: int) -> str:
    """Return an element type as schemas write it."""
    name = {"float32": "float", "float64": "double"}.get(dtype_name(dtype), dtype_name(dtype))
    return f"tensor({name})"


def variable(formal: Sequence[defs.OpSchema.FormalParameter], place: int) -> str | None:
    """Return the type variable of an input or output, or its type; None where each of a kind may have its own."""
    if place >= len(formal) and not (formal and formal[-1].option == _VARIADIC):
        return None
    found = formal[min(place, len(formal) - 1)]
    return str(found.type_str) if found.option != _VARIADIC or found.is_homogeneous else None
