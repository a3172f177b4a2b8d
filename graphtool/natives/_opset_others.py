"""Adapters for ops that another op takes the place of, constants, bodies, and what changed before opset 8."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from graphtool.errors import quoted
from graphtool.graph import opset as ops
from graphtool.natives._opset_node import Adapter, check_types, generic, raise_attributes, set_inputs
from graphtool.natives._opset_site import Site
from graphtool.natives._opset_steps import Refusal, Step

Nodes = list[tuple[NodeProto, int]]

# -- another op


def scatter_up(site: Site, node: NodeProto, step: Step) -> Nodes:
    """Scatter is ScatterElements from opset 11 on."""
    node.op_type = "ScatterElements"
    return [(node, step.version)]


def scatter_down(site: Site, node: NodeProto, step: Step) -> Nodes:
    """ScatterElements is Scatter before opset 11, which counts from the front."""
    indices = site.constant(node.input[1])
    if indices is None or np.any(indices < 0) or site.attribute(node, "axis", step.number) < 0:
        raise Refusal("indices or axis may be negative, which opset 10 does not have")
    node.op_type = "Scatter"
    return [(node, step.version)]


def or_equal_down(site: Site, node: NodeProto, step: Step) -> Nodes:
    """Before opset 12 it takes two comparisons: what is not less may also be NaN."""
    strict = site.make(
        step.op.removesuffix("OrEqual"),
        node.input,
        step.version,
        (TensorProto.BOOL, site.known(node.output[0])[1]),
        "strict",
    )
    equal = site.make("Equal", node.input, step.version, (TensorProto.BOOL, site.known(node.output[0])[1]), "equal")
    node.op_type = "Or"
    set_inputs(node, [strict.output[0], equal.output[0]])
    return [(strict, step.version), (equal, step.version), (node, step.version)]


def extreme_down(site: Site, node: NodeProto, step: Step) -> Nodes | None:
    """Before opset 12 Max and Min take no integers: from opset 9 on a comparison and a Where take them, two by two."""
    code = site.value(node.input[0]).dtype
    if code not in (TensorProto.INT32, TensorProto.INT64) or site.target < 9:
        check_types(site, node, step)
        generic(site, node, step)
        return None
    chosen, *others = node.input
    known, nodes = site.known(node.output[0]), list[NodeProto]()
    for place, other in enumerate(others, 1):
        last = place == len(others)
        shape = known[1] if last else None
        compared = [chosen, other]
        beyond = site.make(
            "Greater" if step.op == "Max" else "Less", compared, step.version, (TensorProto.BOOL, shape), "beyond"
        )
        nodes.append(beyond)
        if not last:
            nodes.append(site.make("Where", [beyond.output[0], *compared], step.version, (code, None), "so_far"))
            chosen = nodes[-1].output[0]
    node.op_type = "Where" if nodes else "Identity"
    set_inputs(node, [nodes[-1].output[0], chosen, others[-1]] if nodes else [chosen])
    return [(new, step.version) for new in (*nodes, node)]


def cast_like_down(site: Site, node: NodeProto, step: Step) -> Nodes:
    """Before opset 15 the type is written out."""
    code = site.dtype(node.input[1], "before opset 15 the type must be written out")
    site.drop(node, "saturate")
    node.op_type = "Cast"
    set_inputs(node, [node.input[0]])
    site.set(node, "to", code, step.version)
    return [(node, step.version)]


# -- constants and bodies


def constant_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 12 a Constant holds a tensor."""
    kinds = {
        "float": np.float32,
        "floats": np.float32,
        "int": np.int64,
        "ints": np.int64,
        "string": object,
        "strings": object,
    }
    for kind, dtype in kinds.items():
        name = f"value_{kind}"
        own = ops.attribute_of(node, name)
        if own is None:
            continue
        site.attribute(node, name, step.number)
        held = helper.get_attribute_value(own)
        tensor = numpy_helper.from_array(np.asarray(held, dtype))
        site.drop(node, name)
        site.set(node, "value", tensor, step.version)


def constant_down_9(site: Site, node: NodeProto, step: Step) -> Nodes | None:
    """Before opset 9 a Constant is float16, float or double; others are initializers."""
    held = ops.attribute_of(node, "value")
    if held is None or held.ref_attr_name:
        raise Refusal("it has no tensor of its own")
    if held.t.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        return None
    array = site.constant(node.output[0])
    if array is None or not site.becomes(node.output[0], array):
        raise Refusal("a Constant of that type, and an output, needs opset 9")
    return []


def if_down(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 11 both branches give the same shapes."""
    shapes = []
    for branch in (attribute.g for attribute in node.attribute if attribute.name in ("then_branch", "else_branch")):
        types = [output.type.tensor_type for output in branch.output]
        if not all(
            kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim) for kind in types
        ):
            raise Refusal("whether both branches give the same shapes is not known; before opset 11 they must")
        shapes.append([[dim.dim_value for dim in kind.shape.dim] for kind in types])
    if shapes[:-1] != shapes[1:]:
        raise Refusal("its branches give different shapes, which needs opset 11")


def same_shapes(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 8 all inputs have one shape."""
    shapes = {site.shape(name) for name in node.input}
    if len(shapes) > 1 or any(shape is None or None in shape for shape in shapes):
        raise Refusal("its inputs may have different shapes, which needs opset 8")


# -- before opset 8


def broadcast_up(site: Site, node: NodeProto, step: Step) -> Nodes | None:
    """Before opset 7 the axis at which B lies along A is an attribute, where it is not the last ones."""
    axis = site.attribute(node, "axis", step.number - 1) if site.attribute(node, "broadcast", step.number - 1) else None
    for name in ("axis", "broadcast", "consumed_inputs"):
        site.drop(node, name)
    if axis is None:
        return None
    a, b = node.input
    whole, part = (site.rank(name, "axis says where the second input lies along the first") for name in (a, b))
    missing = whole - axis % max(whole, 1) - part
    if missing <= 0:
        return None
    code, shape = site.known(b)
    wider = (*shape, *[1] * missing) if shape is not None else None
    axes = list(range(part, part + missing))
    made = site.make("Unsqueeze", [b], step.version, (code, wider), "unsqueeze", axes=axes)
    set_inputs(node, [a, made.output[0]])
    return [(made, step.version), (node, step.version)]


def gemm_up_7(site: Site, node: NodeProto, step: Step) -> None:
    """From opset 7 on a summand is broadcast without saying so."""
    site.drop(node, "broadcast")


def inference_up(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 7 is_test says that it is no training; from then on nothing needs to."""
    if not site.attribute(node, "is_test", step.number - 1):
        raise Refusal("is_test=0 is training, which opset 7 does not have")
    site.drop(node, "is_test")


def cast_up_6(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 6 the type has a name."""
    name = site.attribute(node, "to", step.number - 1)
    if name not in TensorProto.DataType.keys():  # noqa: SIM118  # no dict
        raise Refusal(f"{quoted(name)} is no element type")
    site.drop(node, "to")
    site.set(node, "to", TensorProto.DataType.Value(name), step.version)


def concat_up_4(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 4 the axis was 1 unless given."""
    if ops.attribute_of(node, "axis") is None:
        site.set(node, "axis", 1, step.version)


def pad_up_2(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 2 the attribute had another name."""
    pads = site.attribute(node, "paddings", 1)
    site.drop(node, "paddings")
    site.set(node, "pads", pads, step.version)


def upsample_up_7(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 7 there are two scales, for images."""
    height, width = (site.attribute(node, f"{name}_scale", 1) for name in ("height", "width"))
    site.drop(node, "height_scale")
    site.drop(node, "width_scale")
    site.set(node, "scales", [1.0, 1.0, height, width], step.version)


def prelu_up_7(site: Site, node: NodeProto, step: Step) -> None:
    """Before opset 7 a slope of one axis lies along the channels."""
    slope = site.constant(node.input[1])
    shape = site.shape(node.input[0])
    if slope is None or shape is None or slope.ndim > 1:
        raise Refusal("the slope lies along the channels before opset 7; it must be constant, and the rank known")
    if slope.size > 1:
        lying = slope.reshape(-1, *[1] * (len(shape) - 2))
        set_inputs(node, [node.input[0], site.tensor(lying, "slope")])


def hints_up(site: Site, node: NodeProto, step: Step) -> None:
    """Say the default that opset 6 changed, and drop a hint about memory."""
    for name, attribute in step.old.attributes.items() if step.old else ():
        same = name in step.new.attributes and step.new.attributes[name].default_value == attribute.default_value
        if name in step.new.attributes and not same and ops.attribute_of(node, name) is None:
            before = ops.default(step.op, "", step.number - 1, name)
            if before is not None:
                site.set(node, name, before, step.version)
    site.drop(node, "consumed_inputs")


_ARITHMETIC = "Add Div Mul Sub".split()
_COMPARING = "And Equal Greater Less Or Pow Xor".split()
UP: dict[tuple[str, int], Adapter] = {
    **{(op, 7): broadcast_up for op in (*_ARITHMETIC, *_COMPARING)},
    ("BatchNormalization", 6): hints_up,
    ("BatchNormalization", 7): inference_up,
    ("Cast", 6): cast_up_6,
    ("Clip", 6): hints_up,
    ("Concat", 4): concat_up_4,
    ("Dropout", 7): inference_up,
    ("Gemm", 7): gemm_up_7,
    ("PRelu", 7): prelu_up_7,
    ("Pad", 2): pad_up_2,
    ("Reshape", 5): raise_attributes,
    ("Scatter", 11): scatter_up,
    ("Selu", 6): hints_up,
    ("Upsample", 7): upsample_up_7,
}
DOWN: dict[tuple[str, int], Adapter] = {
    **{(op, 8): same_shapes for op in "Max Mean Min Sum".split()},
    **{(f"{op}OrEqual", 12): or_equal_down for op in ("Greater", "Less")},
    **{(op, 12): extreme_down for op in ("Max", "Min")},
    ("CastLike", 15): cast_like_down,
    ("Constant", 9): constant_down_9,
    ("Constant", 12): constant_down,
    ("If", 11): if_down,
    ("ScatterElements", 11): scatter_down,
}
