"""Another model put behind this one: outputs become its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import FunctionProto, GraphProto, NodeProto

from graphtool.errors import ModelError, PassError, did_you_mean, quoted, show
from graphtool.graph import Graph, Value, check
from graphtool.graph.bodies import all_names, all_tensors, bodies, walk
from graphtool.graph.fields import keep_only
from graphtool.graph.stripped import is_stripped
from graphtool.graph.weights import is_external
from graphtool.rewrite.result import Applied, Match, Miss


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Append the model at ``path``; raises PassError where the two do not fit together."""
    path, outputs, inputs = params["path"], params["outputs"], params["inputs"]
    assert isinstance(path, str) and isinstance(outputs, list) and isinstance(inputs, list)
    if not path:
        return Applied(misses=[Miss("", "native", "no model is named; give path=FILE")])
    other = _load(graph, path)
    pairs = _pairs(graph, other, outputs, inputs)
    _check_opsets(graph, other)
    for theirs, ours in pairs.items():
        _check_types(graph, ours, other, theirs)
    _take_weights(graph, other)
    for model in (graph, other):
        _without_weight_inputs(model)
    names = _names(graph, other, pairs, Path(path).name.removesuffix(".onnx"))
    _rename(other.proto.graph, names)
    _append(graph, other, pairs, not params["keep"])
    graph.reindex()
    graph.forget_shapes()
    return Applied([Match(show(path), "native")])


def _load(graph: Graph, path: str) -> Graph:
    """Return the other model: at ``path``, or beside this one."""
    beside = graph.path.parent / path if graph.path is not None else Path(path)
    where = Path(path) if Path(path).exists() or not beside.exists() else beside
    try:
        other = Graph.load(where)
        check(other)
    except ModelError as error:
        raise PassError(str(error)) from None
    if any(is_stripped(tensor) for tensor in all_tensors(other.proto)):
        raise PassError(f"the weights of {quoted(path)} are stripped; restore them first")
    return other


def _pairs(graph: Graph, other: Graph, outputs: Sequence[str], inputs: Sequence[str]) -> dict[str, str]:
    """Return for each input of the other model that is fed the output that feeds it."""
    made = [value.name for value in graph.outputs]
    wanted = [value.name for value in other.inputs]
    if len(outputs) != len(inputs):
        raise PassError(f"'outputs' has {len(outputs)} names and 'inputs' has {len(inputs)}; give one for each other")
    for what, given, known in (("output", outputs, made), ("input of the other model", inputs, wanted)):
        for name in given:
            if name not in known:
                near = did_you_mean(name, known) or f"; there are {', '.join(map(quoted, known)) or 'none'}"
                raise PassError(f"no {what} named {quoted(name)}{near}")
    if outputs:
        if len(set(inputs)) < len(inputs):
            raise PassError("an input of the other model is fed twice")
        return dict(zip(inputs, outputs, strict=True))
    same = [name for name in wanted if name in made]
    if same:
        return {name: name for name in same}
    if len(made) == len(wanted) == 1:
        return {wanted[0]: made[0]}
    raise PassError(
        f"which output feeds which input? outputs: {', '.join(map(quoted, made))}; inputs of the other model: "
        f"{', '.join(map(quoted, wanted))}; give outputs=a+b:inputs=c+d"
    )


def _check_opsets(graph: Graph, other: Graph) -> None:
    for entry in other.proto.opset_import:
        own = graph.opset(entry.domain)
        if own is not None and own != entry.version:
            domain = f"domain {quoted(entry.domain)}" if entry.domain not in ("", "ai.onnx") else "the default domain"
            raise PassError(f"the models have opsets {own} and {entry.version} of {domain}; convert one of them first")


def _check_types(graph: Graph, ours: str, other: Graph, theirs: str) -> None:
    a = next(value for value in graph.outputs if value.name == ours)
    b = next(value for value in other.inputs if value.name == theirs)
    if a.kind != b.kind or (a.dtype and b.dtype and a.dtype != b.dtype) or not _fit(a, b):
        raise PassError(f"output {quoted(ours)} is {a.type_text()}, input {quoted(theirs)} takes {b.type_text()}")


def _fit(a: Value, b: Value) -> bool:
    if a.shape is None or b.shape is None:
        return True
    return len(a.shape) == len(b.shape) and all(
        x == y or not (isinstance(x, int) and isinstance(y, int)) for x, y in zip(a.shape, b.shape, strict=True)
    )


def _take_weights(graph: Graph, other: Graph) -> None:
    """Let the other model's weights be found from this one: what is in its data files is so from its folder only."""
    for tensor in all_tensors(other.proto):
        if is_external(tensor):
            source, start, length = other.weights.place(tensor)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = source.marker(start, start + length)
            other.weights.sources.append(source)
    graph.weights.adopt(other.weights)


def _without_weight_inputs(model: Graph) -> None:
    """Take weights off the inputs, where they had to be before IR 4: from then on that would make them defaults."""
    if model.proto.ir_version < 4:
        weights = set(model.initializers)
        keep_only(model.proto.graph.input, lambda info: info.name not in weights)


def _names(graph: Graph, other: Graph, pairs: Mapping[str, str], stem: str) -> dict[str, str]:
    """Return the new name of each tensor of the other model that has one: fed inputs, and names that are taken."""
    taken = all_names(graph.proto.graph)
    theirs = all_names(other.proto.graph)
    names = dict(pairs)
    for name in sorted(theirs - pairs.keys() - {""}):
        if name in taken:
            fresh, count = f"{stem}/{name}", 1
            while fresh in taken or fresh in theirs:
                count += 1
                fresh = f"{stem}/{name}_{count}"
            taken.add(fresh)
            names[name] = fresh
    return names


def _rename(body: GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors throughout, bodies included: one new name for each old one keeps what refers to what."""
    for node in body.node:
        for part in (node.input, node.output):
            for position, name in enumerate(part):
                if name in names:
                    part[position] = names[name]
        for inner in bodies(node):
            _rename(inner, names)
    sparse = (tensor.values for tensor in body.sparse_initializer)
    for item in (*body.input, *body.output, *body.value_info, *body.initializer, *sparse):
        if item.name in names:
            item.name = names[item.name]
    for note in body.quantization_annotation:
        note.tensor_name = names.get(note.tensor_name, note.tensor_name)
        for entry in note.quant_parameter_tensor_names:
            entry.value = names.get(entry.value, entry.value)


def _append(graph: Graph, other: Graph, pairs: Mapping[str, str], drop: bool) -> None:
    proto, theirs = graph.proto, other.proto
    own, more = proto.graph, theirs.graph
    fed = set(pairs.values())
    nodes: list[NodeProto] = list(walk(more))
    for node in nodes:
        if node.name:
            node.name = graph.names.fresh_node(node.name)
    if drop:
        keep_only(own.output, lambda info: info.name not in fed)
    there = {info.name for info in own.output}
    own.input.extend(info for info in more.input if info.name not in fed)
    own.output.extend(info for info in more.output if info.name not in there)
    own.node.extend(more.node)
    own.initializer.extend(more.initializer)
    own.sparse_initializer.extend(more.sparse_initializer)
    own.value_info.extend(info for info in more.value_info if info.name not in fed)
    own.quantization_annotation.extend(more.quantization_annotation)
    known = {_plain(entry.domain) for entry in proto.opset_import}
    proto.opset_import.extend(entry for entry in theirs.opset_import if _plain(entry.domain) not in known)
    _add_functions(proto.functions, theirs.functions)
    proto.ir_version = max(proto.ir_version, theirs.ir_version, 4)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _add_functions(own: Sequence[FunctionProto], more: Sequence[FunctionProto]) -> None:
    known = {(function.domain, function.name, function.overload): function for function in own}
    for function in more:
        same = known.get((function.domain, function.name, function.overload))
        if same is not None and same.SerializeToString(deterministic=True) != function.SerializeToString(
            deterministic=True
        ):
            raise PassError(f"both models have a function {quoted(function.name)}, and they differ; inline them first")
        if same is None:
            own.append(function)  # type: ignore[attr-defined]  # a repeated field
