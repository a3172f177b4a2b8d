"""Operators whose attributes became inputs: a node read in the newest form, and written in the form of an older opset.

A pattern is written once, with everything that is an input today as an input. Before opset 13 the axes of a Squeeze are
an attribute: :func:`virtual_inputs` shows them as an input, :func:`write` turns the constant into the attribute again.
The source of the table is ``onnx.defs``, with which a test compares it.

What keeps its place and changes its meaning is no form: Softmax's axis (1 and flattening before opset 13, -1 after),
Reshape's allowzero (14), Cast's saturate (19), BatchNormalization's training_mode (14). There a pattern sees
the attribute as set or by default at the model's opset (``opset.effective``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, helper

from graphtool.graph import opset as ops

Array = NDArray[np.generic]
Constant = Callable[[str], "Array | None"]  # the value of a constant by name; None where it is none

INT, INTS, FLOAT, FLOATS = "int", "ints", "float", "floats"
_DTYPES: dict[str, type[np.generic]] = {INT: np.int64, INTS: np.int64, FLOAT: np.float32, FLOATS: np.float32}


@dataclass(frozen=True, slots=True, eq=False)
class Virtual:
    """An input that has no name: what an attribute of an old form is as a tensor. Equal by type, shape and bytes."""

    array: Array

    def _key(self) -> tuple[str, tuple[int, ...], bytes]:
        return self.array.dtype.str, self.array.shape, self.array.tobytes()

    def __eq__(self, other: object) -> bool:
        """Return whether type, shape and bytes are the same."""
        return isinstance(other, Virtual) and self._key() == other._key()

    def __hash__(self) -> int:
        """Return a hash of type, shape and bytes."""
        return hash(self._key())


class Move(NamedTuple):
    """An attribute in the opsets ``since`` <= version < ``until`` that is input ``position`` from ``until`` on.

    ``kind`` is what the attribute holds; ``scalar`` that the input is of rank 0 (else a list, of which TopK's ``k`` is
    one element). Where an absent attribute and an absent input mean different things, ``default`` and ``absent`` are
    what they mean.
    """

    attribute: str
    position: int
    until: int
    kind: str = INTS
    since: int = 1
    scalar: bool = False
    required: bool = False
    default: int | None = None
    absent: int | None = None

    def tensor(self, value: Any) -> Array:
        """Return the attribute's value as the input that it is in the newest form."""
        array = np.asarray(value, _DTYPES[self.kind])
        return array.reshape(()) if self.scalar else array.reshape(-1)


def _reduces() -> dict[str, tuple[Move, ...]]:
    since = dict.fromkeys("L1 L2 LogSum LogSumExp Max Mean Min Prod SumSquare".split(), 18) | {"Sum": 13}
    return {f"Reduce{name}": (Move("axes", 1, until),) for name, until in since.items()}


MOVES: dict[str, tuple[Move, ...]] = {
    "Clip": (Move("min", 1, 11, FLOAT, scalar=True), Move("max", 2, 11, FLOAT, scalar=True)),
    "DFT": (Move("axis", 2, 20, INT, since=17, scalar=True, default=1, absent=-2),),
    "Dropout": (Move("ratio", 1, 12, FLOAT, scalar=True),),
    "Pad": (
        Move("paddings", 1, 2, required=True),
        Move("pads", 1, 11, since=2, required=True),
        Move("value", 2, 11, FLOAT, scalar=True),
    ),
    **_reduces(),
    "Reshape": (Move("shape", 1, 5, required=True),),
    "Slice": (Move("starts", 1, 10, required=True), Move("ends", 2, 10, required=True), Move("axes", 3, 10)),
    "Split": (Move("split", 1, 13),),
    "Squeeze": (Move("axes", 1, 13),),
    "TopK": (Move("k", 1, 10, INT, required=True),),
    "Unsqueeze": (Move("axes", 1, 13, required=True),),
    "Upsample": (Move("scales", 1, 9, FLOATS, since=7, required=True),),
}
# the first opset at which nothing of an operator is left to read another way
_NEWEST: dict[str, int] = {op: max(move.until for move in moves) for op, moves in MOVES.items()} | {"Resize": 13}
_NOTHING: Mapping[int, str] = {}


def virtual_inputs(node: NodeProto, version: int | None, constant: Constant | None = None) -> tuple[str | Virtual, ...]:
    """Return the inputs of ``node`` in the newest form: names, '' for an absent one, Virtual for an attribute.

    ``version`` is the opset of the node's domain in its model. An attribute becomes int64 or float32, whatever the
    tensor beside it is. With ``constant``, the empty roi and scales that Resize needs at opset 11 and 12 are read as
    the absent inputs that they are from 13 on. Raises ValueError for an attribute that refers to one of a function.
    """
    if node.domain not in ("", "ai.onnx") or not takes_moved(node.op_type, version):
        return tuple(node.input[:])
    version = version or 1
    found: list[str | Virtual] = list(node.input[:])
    if node.op_type == "Resize":
        return _resize_inputs(found, version, constant)
    for move in _moves(node.op_type, version):
        own = ops.attribute_of(node, move.attribute)
        value: Any = move.default if own is None else _value(own)
        if value is None:
            continue
        found += [""] * (move.position + 1 - len(found))
        if not found[move.position]:  # Split of opset 1 has both, and the input comes first
            found[move.position] = Virtual(move.tensor(value))
    return tuple(found)


def takes_moved(op_type: str, version: int | None) -> bool:
    """Whether the inputs of a standard operator are others at opset ``version`` than in the newest form."""
    newest = _NEWEST.get(op_type)
    return newest is not None and (version or 1) < newest


def moved(op_type: str, version: int | None) -> Mapping[int, str]:
    """Return what is an attribute at opset ``version``: input position in the newest form -> name of the attribute."""
    if not takes_moved(op_type, version):
        return _NOTHING
    return {move.position: move.attribute for move in _moves(op_type, version or 1)}


def write(
    op_type: str,
    domain: str,
    version: int | None,
    inputs: Sequence[str],
    constant: Constant,
    attributes: Mapping[str, object],
) -> tuple[list[str | Virtual], dict[str, object]]:
    """Return inputs and attributes, in the form of opset ``version``, of a node that is given in the newest form.

    In the inputs a Virtual asks for a constant of that value (the empty roi of a Resize at opset 11). The attributes
    are those to set beside ``attributes``; None stands for one to leave out, since this opset does not have it and
    computes what it says anyway. Raises ValueError where the opset cannot say what is wanted.
    """
    known = None if domain not in ("", "ai.onnx") else ops.schema(op_type, domain, version)
    if known is None:
        if domain in ("", "ai.onnx") and ops.versions(op_type):
            raise ValueError(f"{op_type} needs opset {ops.versions(op_type)[0]}")
        return list(inputs), {}
    if known.deprecated and known.since_version == ops.versions(op_type)[-1]:  # GroupNormalization came back
        raise ValueError(f"{op_type} is deprecated since opset {known.since_version}")
    version = version or 1
    given: list[str | Virtual] = list(inputs)
    while given and not given[-1]:
        given.pop()
    extra: dict[str, object] = dict.fromkeys(needless(op_type, version, attributes, len(given) > 1 and bool(given[1])))
    if op_type == "Resize":
        return _resize_form(given, version, constant), extra
    for move in _moves(op_type, version) if op_type in MOVES else ():
        held = given[move.position] if move.position < len(given) else ""
        if held:
            assert isinstance(held, str)
            value = _attribute(move, op_type, constant(held))
            given[move.position] = ""
            if value == [] and not move.required:
                _check_empty(op_type, move, attributes)
                continue
            extra[move.attribute] = value
        elif move.required:
            raise ValueError(f"{move.attribute} of {op_type} is missing")
        elif move.absent is not None:
            extra[move.attribute] = move.absent
    while given and not given[-1]:
        given.pop()
    for position, held in enumerate(given[known.max_input :], known.max_input):
        if held:
            assert isinstance(held, str)
            _check_needless(op_type, position, constant(held))
    return given[: known.max_input], extra


def needless(op_type: str, version: int, attributes: Mapping[str, object], axes: bool = False) -> list[str]:
    """Return the attributes that opset ``version`` lacks and computes anyway; raises ValueError for one it does not.

    ``axes`` says that a reduction has axes: then noop_with_empty_axes says nothing.
    """
    known = ops.schema(op_type, "", version)
    found = []
    for name, value in attributes.items():
        since = ops.introduced(op_type, name) or 0
        if known is not None and name not in known.attributes and since > version:
            if not _unsaid(op_type, name, value, axes):
                raise ValueError(f"{name}={_shown(value)} of {op_type} needs opset {since}")
            found.append(name)
    return found


def _moves(op_type: str, version: int) -> list[Move]:
    return [move for move in MOVES.get(op_type, ()) if move.since <= version < move.until]


def _value(attribute: AttributeProto) -> Any:
    if attribute.ref_attr_name:
        raise ValueError(f"attribute '{attribute.name}' is given by the caller of a function")
    return helper.get_attribute_value(attribute)


def _attribute(move: Move, op_type: str, array: Array | None) -> object:
    """Return a constant as the value of the attribute that it is in an old form."""
    what = f"{move.attribute} of {op_type}"
    if array is None:
        raise ValueError(f"{what} is an attribute before opset {move.until} and must be constant")
    if move.kind in (INT, INTS):
        if array.dtype.kind not in "iu":
            raise ValueError(f"{what} must be whole numbers, not {array.dtype}")
        whole = [int(number) for number in array.reshape(-1)]
        return _single(whole, what) if move.kind == INT else whole
    if array.dtype.kind not in "fV":
        raise ValueError(f"{what} is an attribute before opset {move.until}, a float, and cannot be {array.dtype}")
    narrow = array.astype(np.float32)
    if array.dtype == np.float64 and not np.array_equal(narrow.astype(np.float64), array, equal_nan=True):
        raise ValueError(f"{what} is an attribute before opset {move.until} and loses digits as float32")
    numbers = [float(number) for number in narrow.reshape(-1)]
    return numbers if move.kind == FLOATS else _single(numbers, what)


def _check_empty(op_type: str, move: Move, attributes: Mapping[str, object]) -> None:
    """Raise ValueError unless an empty list means what an absent attribute means: all axes of a reduction."""
    if not op_type.startswith("Reduce") or attributes.get("noop_with_empty_axes"):
        raise ValueError(f"{move.attribute} of {op_type}, given and empty, need opset {move.until}")


def _single(numbers: Sequence[object], what: str) -> object:
    if len(numbers) != 1:
        raise ValueError(f"{what} must be one number, not {len(numbers)}")
    return numbers[0]


def _check_needless(op_type: str, position: int, array: Array | None) -> None:
    """Raise ValueError unless an input that an old form lacks says what the old form does."""
    if op_type == "Slice" and position == 4:
        if array is None or not np.all(array == 1):
            raise ValueError("steps of Slice, other than ones, need opset 10")
    elif op_type == "Dropout" and position == 2:
        if array is None or np.any(array):
            raise ValueError("training_mode of Dropout, other than a constant False, needs opset 12")
    else:
        newest = ops.schema(op_type, "", ops.BEYOND)
        known = newest is not None and position < len(newest.inputs)
        name = newest.inputs[position].name if newest is not None and known else f"input {position}"
        raise ValueError(f"{name} of {op_type} is not an input at the model's opset")


def _resize_inputs(found: list[str | Virtual], version: int, constant: Constant | None) -> tuple[str | Virtual, ...]:
    if version < 11:
        return (found[0], "", *found[1:]) if len(found) > 1 else tuple(found)
    if constant is not None:
        for position in (1, 2):
            if position < len(found) and isinstance(name := found[position], str) and _is_empty(constant(name)):
                found[position] = ""
    return tuple(found)


def _resize_form(given: list[str | Virtual], version: int, constant: Constant) -> list[str | Virtual]:
    """Return the inputs of a Resize: (x, scales) at opset 10, roi and scales required at 11 and 12."""
    given += [""] * (4 - len(given))
    x, roi, scales, sizes = given
    if version >= 13:
        return [x, roi, scales, sizes] if sizes else [x, roi, scales] if scales else [x, roi]
    if version >= 11:
        empty = Virtual(np.zeros(0, np.float32))
        return [x, roi or empty, scales or empty, *([sizes] if sizes else [])]
    if sizes:
        raise ValueError("sizes of Resize need opset 11")
    if roi and not (isinstance(roi, str) and _is_empty(constant(roi))):
        raise ValueError("roi of Resize needs opset 11")
    if not scales:
        raise ValueError("scales of Resize are missing")
    return [x, scales]


def _is_empty(array: Array | None) -> bool:
    return array is not None and array.size == 0


# what an opset computes that does not have the attribute, where that is not the attribute's default in the next one
BEFORE: dict[tuple[str, str], object] = {
    ("Resize", "coordinate_transformation_mode"): "asymmetric",  # the formula of opset 10, onnx#8480
    ("Resize", "nearest_mode"): "floor",
    ("RoiAlign", "coordinate_transformation_mode"): "output_half_pixel",
}
# attributes that an older opset has no use for: the number of outputs says it, only training reads it, or it is about
# element types that are as new as the attribute
_SILENT = frozenset(
    {
        ("Cast", "round_mode"),
        ("Cast", "saturate"),
        ("CastLike", "round_mode"),
        ("CastLike", "saturate"),
        ("Dropout", "seed"),
        ("QuantizeLinear", "saturate"),
        ("Range", "stash_type"),
        ("Split", "num_outputs"),
    }
)


def _unsaid(op_type: str, name: str, value: object, axes: bool) -> bool:
    """Whether an opset without the attribute computes what ``value`` says."""
    if (op_type, name) in _SILENT or (name == "noop_with_empty_axes" and axes):
        return True
    if name == "dilations":
        return isinstance(value, Sequence) and all(item == 1 for item in value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    before = BEFORE.get((op_type, name))
    if before is None:
        before = ops.plain(ops.default(op_type, "", ops.introduced(op_type, name), name))
    return before is not None and value == before


def _shown(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


__all__ = ["BEFORE", "MOVES", "Move", "Virtual", "moved", "needless", "virtual_inputs", "write"]
