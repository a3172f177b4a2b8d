"""Sequences and optionals: what a graph's type says of them, and the arrays that stand for them.

A sequence is an array of objects with one axis, each of them a tensor. An absent optional is an array without axes that
holds None; one that is there is what it holds. So are inputs of a run and outputs held, inside graphtool; Python
libraries take and give lists, and None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ValueInfoProto

from graphtool.graph import Graph, Value
from graphtool.graph.values import value_of

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """What an input or output holds: a tensor of the type of ``item``, a sequence of them, or nothing if ``optional``.

    ``item`` has the name of the whole. Its kind is ``tensor``, or another where no feed can hold it: a map, a sparse
    tensor, a sequence of sequences, a type that is not stated.
    """

    item: Value
    sequence: bool = False
    optional: bool = False

    def text(self) -> str:
        """Return the type the way ONNX writes it, such as ``optional(sequence(float32[?,2]))``."""
        text = self.item.type_text()
        text = f"sequence({text})" if self.sequence else text
        return f"optional({text})" if self.optional else text


def held_of(info: ValueInfoProto) -> Held:
    """Return what a declared type holds."""
    kind = info.type
    optional = kind.HasField("optional_type")
    if optional:
        kind = kind.optional_type.elem_type
    sequence = kind.HasField("sequence_type")
    if sequence:
        kind = kind.sequence_type.elem_type
    item = ValueInfoProto(name=info.name)
    item.type.CopyFrom(kind)
    return Held(value_of(item), sequence, optional)


def inputs_of(graph: Graph) -> dict[str, Held]:
    """Return what the inputs of a graph hold, by name and in their order."""
    declared = {info.name: info for info in graph.proto.graph.input}
    return {value.name: held_of(declared[value.name]) for value in graph.inputs}


ABSENT: Array = np.array(None, object)


def boxed(items: Sequence[Any]) -> Array:
    """Return a sequence as an array; numpy alone would join tensors of one shape."""
    found = np.empty(len(items), object)
    for place, item in enumerate(items):
        found[place] = item
    return found


def is_absent(array: Array) -> bool:
    """Whether an array stands for an optional that is not there."""
    return array.dtype.hasobject and array.ndim == 0 and array.item() is None


def is_sequence(array: Array) -> bool:
    """Whether an array stands for a sequence of tensors; an empty one may as well be an empty tensor of strings."""
    return array.dtype.hasobject and array.ndim == 1 and all(isinstance(item, np.ndarray) for item in array)


def each(array: Array, change: Callable[[Array], Array]) -> Array:
    """Return ``array`` with ``change`` made to every tensor that it holds."""
    if is_absent(array):
        return array
    return boxed([change(item) for item in array]) if is_sequence(array) else change(array)


def first(array: Array) -> Array:
    """Return a tensor that an array holds: itself, or the first of a sequence."""
    return array[0] if is_sequence(array) and array.size else array


def keys_of(array: Array) -> list[list[Any]] | None:
    """Return the keys of each map that an array holds, in order; None where it holds anything but maps to numbers.

    A classifier of scikit-learn gives such a sequence: for each item its score by class.
    """
    if not array.dtype.hasobject or not array.size:
        return None
    items = array.reshape(-1).tolist()
    whole = all(isinstance(item, dict) and all(type(n) in (int, float) for n in item.values()) for item in items)
    return [sorted(item) for item in items] if whole else None


def joined(array: Array) -> Array:
    """Return the numbers of a sequence end to end; any other array, and one of several types, as it is.

    Maps become a row each, by sorted keys, where all have the same keys; else they are laid end to end too.
    """
    keys = keys_of(array)
    if keys is not None:
        rows = [[item[key] for key in own] for item, own in zip(array.reshape(-1).tolist(), keys, strict=True)]
        numbers = np.array([number for row in rows for number in row])
        if numbers.dtype.kind == "f":  # of Python's floats; most were float32, whose eps is what counts
            with np.errstate(over="ignore"):
                narrow = numbers.astype(np.float32)
            numbers = narrow if np.array_equal(narrow, numbers, equal_nan=True) else numbers
        return numbers.reshape(len(rows), -1) if numbers.size and all(own == keys[0] for own in keys) else numbers
    if not is_sequence(array) or not array.size or len({item.dtype for item in array}) > 1:
        return array
    return np.concatenate([item.reshape(-1) for item in array])


def native(array: Array, held: Held | None) -> Any:
    """Return an array as Python libraries take it: a list for a sequence, None for what is absent."""
    if is_absent(array):
        return None
    return list(array) if held is not None and held.sequence else array
