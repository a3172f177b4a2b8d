"""What an operator looks like at an opset: its attributes, their defaults and types. The source is ``onnx.defs``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, defs, helper

# binary ops whose two inputs may change places (ONNX operator specification)
COMMUTATIVE = frozenset("Add And BitwiseAnd BitwiseOr BitwiseXor Equal Max Mean Min Mul Or Sum Xor".split())
# ops that may give another result each time; never merged, folded or judged bit by bit
RANDOM = frozenset("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split())

BEYOND = 10_000  # an opset newer than all there are

AttrValue = int | float | bytes | str | list[int] | list[float] | list[bytes] | object


@lru_cache(maxsize=4096)
def schema(op_type: str, domain: str, version: int | None) -> defs.OpSchema | None:
    """Return the schema of an op at an opset version; None for an op that ONNX does not define there."""
    domain = "" if domain == "ai.onnx" else domain
    try:
        return defs.get_schema(op_type, version or 1, domain)
    except (defs.SchemaError, TypeError, ValueError):  # TypeError: a version beyond 32 bits
        return None


@lru_cache(maxsize=256)
def versions(op_type: str) -> tuple[int, ...]:
    """Return the opsets of the default domain in which an op was defined anew, ascending; () for an unknown op."""
    found: list[int] = []
    version = BEYOND
    while (known := schema(op_type, "", version)) is not None:
        found.append(known.since_version)
        version = known.since_version - 1
        if not version:
            break
    return tuple(reversed(found))


@lru_cache(maxsize=1024)
def introduced(op_type: str, attribute: str) -> int | None:
    """Return the opset of the default domain that last brought an op's attribute in; None where it has no such one."""
    first: int | None = None
    for version in reversed(versions(op_type)):
        known = schema(op_type, "", version)
        if known is not None and attribute in known.attributes:
            first = version
        elif first is not None:
            break
    return first


@lru_cache(maxsize=4096)
def attributes(op_type: str, domain: str, version: int | None) -> frozenset[str] | None:
    """Return the names of an op's attributes at an opset; None for an unknown op. A schema makes its map anew."""
    known = schema(op_type, domain, version)
    return None if known is None else frozenset(known.attributes)


@lru_cache(maxsize=4096)
def default(op_type: str, domain: str, version: int | None, attribute: str) -> AttrValue | None:
    """Return an attribute's default at an opset; None where it has none or the op is unknown."""
    known = schema(op_type, domain, version)
    if known is None or attribute not in known.attributes:
        return None
    value = known.attributes[attribute].default_value
    return None if value.type == AttributeProto.UNDEFINED else helper.get_attribute_value(value)


def attribute_of(node: NodeProto, name: str) -> AttributeProto | None:
    """Return the attribute that ``node`` sets under that name."""
    attribute: AttributeProto
    for attribute in node.attribute[:]:
        if attribute.name == name:
            return attribute
    return None


def effective(node: NodeProto, name: str, version: int | None) -> AttrValue | None:
    """Return an attribute's value as set or by default; text as str; None where there is neither.

    BatchNormalization's ``training_mode`` is there before opset 14 too, where further outputs say training.
    """
    own = attribute_of(node, name)
    if own is not None and not own.ref_attr_name:
        match own.type:  # onnx's own way looks at the class of every value
            case AttributeProto.INT:
                return own.i
            case AttributeProto.INTS:
                return list(own.ints)
    if own is None and name == "training_mode" and _trains(node, version):
        return 1
    value = (
        default(node.op_type, node.domain, version, name)
        if own is None or own.type == AttributeProto.UNDEFINED
        else helper.get_attribute_value(own)
    )
    return plain(value)


def _trains(node: NodeProto, version: int | None) -> bool:
    """Whether a BatchNormalization says by further outputs, read or not, that it trains (its definition, opset 7)."""
    return node.op_type == "BatchNormalization" and 7 <= (version or 0) < 14 and any(node.output[1:])


def plain(value: AttrValue | None) -> AttrValue | None:
    """Return an attribute's value as onnx gives it out with text as str and repeated ones as lists."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (int, float, str)) or value is None:
        return value
    if isinstance(value, onnx.TensorProto | onnx.GraphProto | onnx.SparseTensorProto | onnx.TypeProto):
        return value
    return [plain(item) for item in value]  # type: ignore[attr-defined]  # the repeated kinds


def make_attribute(op_type: str, domain: str, version: int | None, name: str, value: AttrValue) -> AttributeProto:
    """Return an attribute of the type that the op's schema asks for; raises ValueError where it takes no such value."""
    known = attributes(op_type, domain, version)
    if known is None:
        return helper.make_attribute(name, value)
    if name not in known:
        since = schema(op_type, domain, version)
        raise ValueError(f"{op_type} of opset {since and since.since_version} has no attribute '{name}'")
    kind = _kind(op_type, domain, version, name)
    if kind == AttributeProto.INT and type(value) is int and -(2**63) <= value < 2**63:
        return AttributeProto(name=name, type=AttributeProto.INT, i=value)
    if kind == AttributeProto.INTS and type(value) is list:
        numbers = [item for item in value if type(item) is int and -(2**63) <= item < 2**63]
        if len(numbers) == len(value):
            return AttributeProto(name=name, type=AttributeProto.INTS, ints=numbers)
    if kind == AttributeProto.FLOAT and isinstance(value, int):
        value = float(value)
    if kind == AttributeProto.FLOATS and isinstance(value, list):
        value = [float(item) for item in value]
    try:
        return helper.make_attribute(name, value, attr_type=kind)
    except (AssertionError, TypeError, ValueError):
        wanted = AttributeProto.AttributeType.Name(kind).lower()
        raise ValueError(f"attribute '{name}' of {op_type} takes {wanted}, not {value!r}") from None


@lru_cache(maxsize=4096)
def _kind(op_type: str, domain: str, version: int | None, name: str) -> int:
    """Return the type of an attribute that the op's schema has."""
    known = schema(op_type, domain, version)
    assert known is not None
    return int(AttributeProto.AttributeType.Value(str(known.attributes[name].type).rpartition(".")[2]))


def numpy_dtype(code: int) -> np.dtype[Any]:
    """Return the numpy type of an element type; bfloat16 and smaller ones come from ml_dtypes."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(code))


def import_domain(model: onnx.ModelProto, domain: str, op_type: str) -> None:
    """Let ``model`` import the domain of an operator that a pass brings in, where it does not yet.

    The default domain is imported at the newest opset of the ONNX release that the model's IR version belongs to
    (``onnx.helper.VERSION_TABLE``): a newer one would ask for a newer onnxruntime than the model did.
    """
    same = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
    if any(entry.domain in same for entry in model.opset_import):
        return
    if domain in ("", "ai.onnx"):
        fitting = [row[2] for row in helper.VERSION_TABLE if row[1] <= model.ir_version]
        version = max(fitting, default=1)
    else:
        known = schema(op_type, domain, BEYOND)
        version = known.since_version if known else 1
    model.opset_import.add(domain=domain, version=version)
