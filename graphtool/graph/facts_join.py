"""What two descriptions of one value say together."""

from __future__ import annotations

import math
from functools import lru_cache
from math import prod

from onnx import TypeProto

from graphtool.graph.contents import MOST_ITEMS, holds
from graphtool.graph.facts_call import INVENTED, Fact
from graphtool.graph.facts_symbols import Size, Symbols
from graphtool.graph.values import Value


def both(old: Fact, new: Fact, symbols: Symbols) -> Fact:
    """Return what two facts say together; where they contradict each other, nothing."""
    if old == new or new.kind == "unknown":
        return old
    if old.kind == "unknown":
        return new
    if old.kind != "tensor" or new.kind != "tensor":
        return new if old.kind == new.kind and known_inside(new.other) > known_inside(old.other) else old
    dtype = old.dtype or new.dtype
    if old.shape is None or new.shape is None:
        one = new if old.shape is None else old
        return one if one.dtype == dtype else Fact(dtype, one.shape)
    if len(old.shape) != len(new.shape):
        return Fact(dtype)
    return Fact(dtype, tuple(_size(a, b, symbols) for a, b in zip(old.shape, new.shape, strict=True)))


def _size(old: Size, new: Size, symbols: Symbols) -> Size:
    if old == new or new is None:
        return old
    if isinstance(old, int):
        return None if isinstance(new, int) else old
    # of two opaque symbols the later one says more: it was made from what is known now
    return old if symbols.is_own(old) and not isinstance(new, int) else new


@lru_cache(maxsize=1024)
def known_inside(other: bytes) -> float:
    """Return how many sizes a sequence's or optional's type says of the tensors in it: inf for all, -1 for no rank."""
    kind = TypeProto.FromString(other)
    while (which := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = getattr(kind, which).elem_type
    if which not in ("tensor_type", "sparse_tensor_type"):
        return math.inf
    tensor = getattr(kind, which)
    known = [dim.HasField("dim_value") or _says(dim.dim_param) for dim in tensor.shape.dim]
    return -1 if not tensor.HasField("shape") else math.inf if all(known) else sum(known)


def _says(symbol: str) -> bool:
    """Whether a name of a size may be one of the model's symbols: neither onnx nor graphtool made it up."""
    return bool(symbol) and not symbol.startswith("?") and not INVENTED.fullmatch(symbol)


def with_declared(inferred: Value | None, declared: Value) -> Value:
    """Return the inferred facts of a graph output, with what only its declaration says."""
    if inferred is None or (not inferred.dtype and inferred.kind == "tensor"):
        return declared
    if inferred.shape is None:
        return Value(inferred.name, inferred.dtype, declared.shape, inferred.kind)
    if declared.shape is None or len(declared.shape) != len(inferred.shape):
        return inferred
    shape = tuple(d if i is None else i for i, d in zip(inferred.shape, declared.shape, strict=True))
    return Value(inferred.name, inferred.dtype, shape, inferred.kind)


@lru_cache(maxsize=1024)
def may_have_content(fact: Fact) -> bool:
    """Whether a value can be one of few numbers, as far as is known."""
    if fact.kind not in ("tensor", "unknown") or (fact.dtype and not holds(fact.dtype)):
        return False
    return not fact.static or prod(size for size in fact.shape or () if isinstance(size, int)) <= MOST_ITEMS
