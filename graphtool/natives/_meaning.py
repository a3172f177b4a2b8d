"""Does an operator mean the same at two opset versions? What a function's nodes mean when they move into a model."""

from __future__ import annotations

from functools import lru_cache

from onnx import defs

from graphtool.graph.opset import schema

_END = 10_000
# Ranges of opsets in which each version only adds element types, attributes with neutral defaults, or words: what an
# older one allows means the same in a newer one (ONNX operator changelog, up to opset 28). Those whose schemas differ
# in nothing but types are found without this table.
_WIDENED: dict[str, tuple[tuple[int, int], ...]] = {
    **dict.fromkeys(("Abs", "Ceil", "Floor"), ((6, _END),)),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), ((7, _END),)),
    **dict.fromkeys(("Max", "Min", "Mean", "Sum"), ((8, _END),)),
    **dict.fromkeys(("GatherElements", "GatherND", "ScatterElements", "ScatterND", "Clip"), ((11, _END),)),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
         "ReduceProd", "ReduceSumSquare"), ((1, 17), (18, _END))
    ),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), ((1, 12), (13, _END))),
    "ArgMax": ((1, _END),),
    "ArgMin": ((1, _END),),
    "Cast": ((6, 23),),
    "Concat": ((4, _END),),
    "DepthToSpace": ((11, _END),),
    "Gather": ((1, _END),),
    "Gemm": ((7, _END),),
    "Mod": ((10, _END),),
    "PRelu": ((7, _END),),
    "ReduceSum": ((1, 12), (13, _END)),
    "Reshape": ((5, _END),),
    "Shape": ((1, _END),),
    "Slice": ((10, _END),),
    "Softmax": ((13, _END),),
    "LogSoftmax": ((13, _END),),
    "Split": ((2, 12), (13, 17)),
    "Tile": ((6, _END),),
}  # fmt: skip


@lru_cache(maxsize=4096)
def same_meaning(op_type: str, domain: str, old: int, new: int) -> bool:
    """Whether what opset ``old`` of a domain allows for an operator means the same at opset ``new``.

    Operators of which ONNX knows no schema mean the same at the same version only.
    """
    if old == new:
        return True
    was, now = schema(op_type, domain, old), schema(op_type, domain, new)
    if was is None or now is None:
        return False
    if was.since_version == now.since_version:
        return True
    if was.deprecated or now.deprecated or not _takes(now, was):
        return False
    default_domain = domain in ("", "ai.onnx")
    ranges = _WIDENED.get(op_type, ()) if default_domain and old < new else ()
    return _words(was) == _words(now) or any(first <= old and new <= last for first, last in ranges)


def _words(known: defs.OpSchema) -> object:
    """Return all that a schema says but the element types."""
    attributes = sorted(
        (name, str(attribute.type), attribute.required, attribute.default_value.SerializeToString())
        for name, attribute in known.attributes.items()
    )
    inputs, outputs = ([(one.name, str(one.option)) for one in part] for part in (known.inputs, known.outputs))
    return known.doc, attributes, inputs, outputs


def _takes(now: defs.OpSchema, was: defs.OpSchema) -> bool:
    """Whether ``now`` takes and makes every element type that ``was`` does, place by place."""
    return all(
        first.types <= second.types
        for before, after in ((was.inputs, now.inputs), (was.outputs, now.outputs))
        for first, second in zip(before, after, strict=False)
    )
