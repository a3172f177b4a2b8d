"""ConstantOfShape that fills with the element type it is cast to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.natives._placing import drop_unneeded
from graphtool.rewrite.result import Applied, Match, label

TRACKED = True  # edits go through methods of Graph: whoever keeps a journal sees them

_TYPES = frozenset(
    TensorProto.DataType.Value(name)
    for name in "FLOAT FLOAT16 DOUBLE INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 BOOL".split()
)


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Fold each Cast of a ConstantOfShape, in the main graph and its bodies."""
    matches = []
    for level in graph.levels():
        waiting = [
            reader
            for slot in level.index.slots_of_type("ConstantOfShape")
            if (fill := level.node(slot)) is not None and fill.domain in ("", "ai.onnx")
            for reader in level.index.reader_slots(fill.output[0])
        ]
        for slot in waiting:
            node = level.node(slot)
            made = None if node is None else _filled(level, node)
            if node is not None and made is not None:
                matches.append(Match(label(node), "native"))
                level.remove_node(slot)
                level.add_node(made, slot)
                drop_unneeded(level, node.input)
    return Applied(matches)


def _filled(graph: Graph, cast: NodeProto) -> NodeProto | None:
    """Return the ConstantOfShape in place of a Cast of one; None where the number is another in the new type."""
    fill = graph.index.producer(cast.input[0]) if cast.op_type == "Cast" and cast.domain in ("", "ai.onnx") else None
    if fill is None or fill.op_type != "ConstantOfShape":
        return None
    to = ops.effective(cast, "to", graph.opset())
    given = next((attribute.t for attribute in fill.attribute if attribute.name == "value"), None)
    value = np.zeros(1, np.float32) if given is None else numpy_helper.to_array(given).reshape(-1)
    if not isinstance(to, int) or to not in _TYPES or value.size != 1 or value.dtype.kind not in "biuf":
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        number = value.astype(helper.tensor_dtype_to_np_dtype(to))
    if float(number[0]) != float(value[0]):
        return None
    new = NodeProto()
    new.CopyFrom(cast)
    new.op_type, new.input[0] = "ConstantOfShape", fill.input[0]
    del new.attribute[:]
    new.attribute.append(helper.make_attribute("value", numpy_helper.from_array(number)))
    return new
