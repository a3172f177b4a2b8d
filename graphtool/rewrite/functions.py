"""The fixed list of functions that an expression may call, and what the documentation says of each. Floor 2."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from graphtool.rewrite import functions_equations as equations
from graphtool.rewrite import functions_lists as lists
from graphtool.rewrite import functions_shapes as shapes
from graphtool.rewrite import functions_tensors as tensors
from graphtool.rewrite import functions_types as types
from graphtool.rewrite import matrices

FAR = frozenset(("never_negative",))  # what they say depends on nodes that no statement of a match names
_MANY = 64


class Function(NamedTuple):
    """A pure function of expressions: ``call`` takes ``min_args`` to ``max_args`` positional values."""

    name: str
    signature: str
    doc: str
    min_args: int
    max_args: int
    call: Callable[..., Any]


def _function(call: Callable[..., Any]) -> Function:
    name = call.__name__.rstrip("_")
    parameters = inspect.signature(call).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    optional = [p.name for p in parameters if p.default is not p.empty]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    words = ", ".join([*required, "..."] if variadic else required) + "".join(f"[, {word}" for word in optional)
    return Function(
        name,
        f"{name}({words}{']' * len(optional)})",
        inspect.getdoc(call).partition("\n")[0],  # type: ignore[union-attr]  # each has one; a test says so
        len(required),
        _MANY if variadic else len(required) + len(optional),
        call,
    )


_CALLS: tuple[Callable[..., Any], ...] = (
    # what is known of a tensor
    tensors.shape,
    tensors.rank,
    tensors.dtype,
    types.type_code,
    types.lowest,
    types.highest,
    types.widens,
    tensors.static,
    tensors.const,
    tensors.present,
    tensors.has,
    tensors.uses,
    tensors.quantized,
    tensors.never_negative,
    shapes.elements,
    shapes.extents,
    shapes.unchanged,
    shapes.can_reshape,
    shapes.reshape_dims,
    lists.glob,
    lists.equation,
    equations.einsum_plain,
    equations.einsum_counts,
    equations.einsum_order,
    equations.einsum_turned,
    equations.einsum_joined,
    equations.einsum_fits,
    # its value
    tensors.scalar,
    tensors.ints,
    tensors.floats,
    tensors.near,
    tensors.finite,
    # new constants
    tensors.like,
    tensors.cast,
    tensors.int64,
    tensors.int32,
    tensors.float64,
    tensors.float32,
    tensors.float16,
    tensors.wide,
    tensors.lead,
    tensors.reshape,
    tensors.transpose,
    tensors.flatten,
    tensors.concat,
    shapes.join,
    tensors.full,
    matrices.interp_matrix,
    matrices.pool_matrix,
    matrices.window_matrix,
    # numbers and lists
    lists.len_,
    lists.min_,
    lists.max_,
    lists.sum_,
    lists.prod,
    lists.all_,
    lists.any_,
    lists.maximum,
    lists.minimum,
    lists.abs_,
    lists.sqrt,
    lists.exp,
    lists.log,
    lists.floor,
    lists.ceil,
    lists.round_,
    lists.clamp,
    lists.sorted_,
    lists.repeat,
    lists.iota,
    lists.first,
    lists.divisor,
    lists.zip_add,
    lists.zip_sub,
    lists.zip_mul,
    lists.zip_floordiv,
    # permutations and shapes
    shapes.reshape_as,
    shapes.tile_counts,
    shapes.keeps_order,
    shapes.earlier_dims,
    shapes.earlier_axes,
    shapes.joined_axes,
    shapes.same_or,
    shapes.disjoint,
    shapes.wrapped,
    shapes.order,
    shapes.full_pads,
    shapes.per_channel,
    lists.compose,
    lists.inverse,
    lists.picked,
    lists.without,
    lists.broadcasts,
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({f.name: f for f in map(_function, _CALLS)})
