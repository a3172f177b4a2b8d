"""One node from one opset to another: step by step, by an adapter where there is one, else as all ops are treated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnx import NodeProto, TensorProto
from onnx.defs import OpSchema

from graphtool.errors import quoted, show
from graphtool.graph import Value, forms
from graphtool.graph import opset as ops
from graphtool.natives._opset_site import Site
from graphtool.natives._opset_steps import HINTS, Refusal, Step, at, path

# an adapter changes a node in place, and hands back the nodes in order, each with the opset in whose form it is, where
# there are others or it took more than the step
Adapter = Callable[[Site, NodeProto, Step], "list[tuple[NodeProto, int]] | None"]
Adapters = Mapping[tuple[str, int], Adapter]


_OWN_TYPES = frozenset({("Constant", 9), ("Max", 12), ("Min", 12)})  # whose adapter minds types itself


def convert(site: Site, node: NodeProto, source: int, up: Adapters, down: Adapters) -> list[NodeProto] | None:
    """Return the nodes that take the place of ``node`` at the site's target opset; None where it stays as it is.

    ``node`` itself is not touched. Raises Refusal where there is no equivalent.
    """
    if not path(node.op_type, source, site.target):
        return None
    adapters = up if source < site.target else down
    site.begin(node)
    done: list[NodeProto] = []
    todo = [(node, source)]
    while todo:
        current, version = todo.pop()
        steps = path(current.op_type, version, site.target)
        if not steps:
            done.append(current)
            continue
        step = steps[0]
        adapter = adapters.get((step.op, step.number))
        if (step.op, step.number) not in _OWN_TYPES:
            check_types(site, current, step)
        if adapter is None and not _touches(current, step):
            todo.append((current, step.version))
            continue
        if current is node:
            current = NodeProto()
            current.CopyFrom(node)
        made = (adapter or generic)(site, current, step)
        todo += reversed(made if made is not None else [(current, step.version)])
    if len(done) == 1 and (done[0] is node or done[0] == node):
        return None
    return done


def generic(site: Site, node: NodeProto, step: Step) -> None:
    """Take a step in which only what all ops have in common changes: forms, new attributes, new optional inputs."""
    if step.up:
        raise_attributes(site, node, step)
    else:
        lower(site, node, step)


def raise_attributes(site: Site, node: NodeProto, step: Step) -> None:
    """Take a step upward: attributes that became inputs are moved, new ones say what the old opset computed."""
    _demand_fit(step)
    for name in HINTS - set(step.new.attributes):
        site.drop(node, name)
    if step.moved:
        try:
            inputs = forms.virtual_inputs(node, step.number - 1, site.constant)
        except ValueError as error:
            raise Refusal(str(error)) from None
        for position, name in forms.moved(step.op, step.number - 1).items():
            site.drop(node, name)
            held = inputs[position] if position < len(inputs) else ""
            if isinstance(held, forms.Virtual):
                hint = step.new.inputs[position].name.lower()
                inputs = (*inputs[:position], site.tensor(held.array, hint), *inputs[position + 1 :])
        set_inputs(node, [name for name in inputs if isinstance(name, str)])
    for name, value in step.assumed.items():
        site.set(node, name, value, step.version)


def lower(site: Site, node: NodeProto, step: Step) -> None:
    """Take a step downward: inputs that were attributes are moved back, what the old opset lacks must say nothing."""
    _demand_fit(step)
    assert step.old is not None
    values: dict[str, object] = {}
    for attribute in node.attribute:
        if attribute.name in step.old.attributes or attribute.name not in step.new.attributes:
            continue
        values[attribute.name] = site.attribute(node, attribute.name, step.number)
    for name in step.assumed:
        values.setdefault(name, ops.plain(ops.default(step.op, "", step.number, name)))
    for name in node.output[len(step.old.outputs) :] if not _variadic(step.old.outputs) else ():
        if name:
            raise Refusal(f"output {quoted(name)} is new in opset {step.number}")
    inputs: Sequence[str | forms.Virtual]
    extra: Mapping[str, object]
    try:
        if step.behind_a_form:
            inputs, extra = node.input, dict.fromkeys(forms.needless(step.op, step.version, values))
        else:
            inputs, extra = forms.write(step.op, "", step.version, list(node.input), site.constant, values)
        for name, value in extra.items():
            if value is None:
                site.drop(node, name)
            else:
                site.set(node, name, value, step.version)
    except ValueError as error:
        raise Refusal(str(error)) from None
    written = [site.tensor(held.array, "empty") if isinstance(held, forms.Virtual) else held for held in inputs]
    if written != list(node.input):
        set_inputs(node, written)
    missing = _lacking(node, step.old)
    if missing is not None:
        raise Refusal(f"{missing} is required before opset {step.number}")


def set_inputs(node: NodeProto, inputs: Sequence[str]) -> None:
    """Let ``node`` read ``inputs``; absent ones at the end are left off."""
    del node.input[:]
    node.input.extend(_stripped(inputs))


# the pass that writes an op out in older ones
INSTEAD = {
    "Einsum": "einsum_to_matmul",
    "Gelu": "decompose_gelu",
    "HardSwish": "decompose_hardswish",
    "LayerNormalization": "decompose_layer_norm",
    "Mish": "decompose_mish",
    "RMSNormalization": "decompose_rms_norm",
    "Swish": "decompose_silu",
}


def check_types(site: Site, node: NodeProto, step: Step) -> None:
    """Refuse where an input or output has an element type that the step takes away.

    A type that is not known passes: where it is such a one the result does not load, and no number is wrong.
    """
    if not step.narrows and not step.joined:
        return
    start = step.old if step.up else step.new
    assert start is not None  # else nothing is narrowed
    outputs = node.output
    sides = (
        (node.input, step.narrowed_inputs, start.inputs),
        (outputs, step.narrowed_outputs, start.outputs),
    )
    for names, narrowed, parameters in sides:
        for place, name in enumerate(names):
            gone = at(narrowed, parameters, place)
            if name and gone and not (place and names is outputs and site.unused(name)):
                _check_type(site.value(name), gone, step)
    for places in step.joined:
        codes = {site.value(node.input[place]).dtype for place in places if place < len(node.input)} - {0}
        if len(codes) > 1:
            raise Refusal(f"its inputs have different types, which {show(step.op)} cannot have in {_at(step)}")


def _at(step: Step) -> str:
    return f"opset {step.version}" if step.up else f"opsets before {step.number}"


def _check_type(value: Value, gone: frozenset[str], step: Step) -> None:
    prefix = {"sequence": "seq(", "optional": "optional("}.get(value.kind)
    if value.kind == "tensor" and value.dtype:
        name = TensorProto.DataType.Name(value.dtype).lower()
        bad, what = f"tensor({name})" in gone, name
    else:
        bad, what = prefix is not None and any(item.startswith(prefix) for item in gone), f"of kind {value.kind}"
    if bad:
        raise Refusal(f"{quoted(value.name)} is {what}, which {show(step.op)} cannot have in {_at(step)}")


def _touches(node: NodeProto, step: Step) -> bool:
    """Whether the step may change the node or its meaning, so that it must be looked at."""
    if step.old is None or not step.fits or step.moved or step.assumed:
        return True
    if any(attribute.name in HINTS or attribute.name in step.added for attribute in node.attribute):
        return True
    if step.up:
        return False
    more_inputs = len(node.input) > len(step.old.inputs) and not _variadic(step.old.inputs)
    more_outputs = len(node.output) > len(step.old.outputs) and not _variadic(step.old.outputs)
    return more_inputs or more_outputs or _lacking(node, step.old) is not None


def _lacking(node: NodeProto, schema: OpSchema) -> str | None:
    """Return the name of an input that ``schema`` requires and ``node`` lacks."""
    single = OpSchema.FormalParameterOption.Single
    given = [*node.input, *[""] * len(schema.inputs)]
    wanted = ((place, parameter) for place, parameter in enumerate(schema.inputs) if parameter.option == single)
    return next((str(parameter.name) for place, parameter in wanted if not given[place]), None)


def _demand_fit(step: Step) -> None:
    if step.old is None:
        if step.up:
            raise Refusal(f"{show(step.op)} is no operator before opset {step.number}")
        help_of = INSTEAD.get(step.op)
        raise Refusal(f"it is new in opset {step.number}" + (f"; run {help_of} first" if help_of else ""))
    if not step.fits:
        a, b = step.old.since_version, step.number
        raise Refusal(f"{show(step.op)} changed between opset {a} and {b}, and no conversion is known")


def _variadic(parameters: Sequence[OpSchema.FormalParameter]) -> bool:
    return bool(parameters) and parameters[-1].option == OpSchema.FormalParameterOption.Variadic


def _stripped(names: Sequence[str]) -> list[str]:
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return found


__all__ = ["Adapter", "Adapters", "check_types", "convert", "generic", "lower", "raise_attributes", "set_inputs"]
