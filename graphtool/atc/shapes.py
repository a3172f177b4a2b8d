"""Which shape each graph input has at each batch: the value of ATC's input_shape.

The batch is the first dimension of the first input that has dimensions, and of every other input whose first dimension
is symbolic or the same number. Where a profile's input_shape names an input, its ``{batch}`` says it instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import TensorProto

from graphtool.atc.values import BATCH, format_shapes
from graphtool.errors import ProfileError, did_you_mean, quoted, show
from graphtool.graph import Graph, Value

Dims = tuple[int | str, ...]
"""A shape with ``{batch}`` where the batch goes."""

# Number types that the ONNX front end of ATC maps to its own (Ascend parser, onnx_util.cc, 2020; bfloat16 and 8-bit
# floats in 2025 only). It maps strings and complex numbers too, but the manuals of CANN 5.x do not list them as inputs.
_TAKEN = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.BOOL,
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.UINT16,
    TensorProto.UINT32,
    TensorProto.UINT64,
}


@dataclass(frozen=True, slots=True)
class Request:
    """The shapes and batches that are asked for.

    ``template`` is the input_shape option, which messages call ``where``; ``given`` are the shapes of ``--shape``,
    which win. ``asked`` are the batches of ``--batch``, which win over the profile's, ``planned``. ``gears`` is the
    option that lists the sizes for a -1, None where there is none.
    """

    template: Mapping[str, Dims]
    where: str
    given: Mapping[str, tuple[int, ...]]
    asked: tuple[int, ...] = ()
    planned: tuple[int, ...] = ()
    gears: str | None = None


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes of a graph's inputs, scalars left out: ATC takes theirs from the model.

    ``batches`` is what to compile for; a single 0 where the inputs have no batch. ``fixed`` is the batch written into
    the graph, None where it has none.
    """

    inputs: Mapping[str, Dims]
    batches: tuple[int, ...]
    fixed: int | None
    notes: tuple[str, ...] = ()

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Return each shape in numbers, at the first batch; without those in which gears leave a -1."""
        first = self.batches[0]
        sized = {name: tuple(first if isinstance(d, str) else d for d in dims) for name, dims in self.inputs.items()}
        return {name: dims for name, dims in sized.items() if -1 not in dims}

    def text(self, batch: int) -> str:
        """Return input_shape at a batch; raises SpellingError where a name cannot be spelled there."""
        sized = {name: [batch if isinstance(d, str) else d for d in dims] for name, dims in self.inputs.items()}
        return format_shapes(sized.items())


def plan(graph: Graph, request: Request) -> Shapes:
    """Return the shape of every input; raises ProfileError where a request does not fit the graph."""
    for value in graph.inputs:
        if value.kind != "tensor" or value.dtype not in _TAKEN | {0}:
            raise ProfileError(f"input {quoted(value.name)} is {value.type_text()}, which ATC does not take")
    _check_names(graph, request)
    inputs = [value for value in graph.inputs if value.shape != ()]
    shapes = {value.name: _dims(value, inputs[0], request) for value in inputs}
    for value in inputs:
        _check(value, shapes[value.name], request)
    if request.gears and not any(-1 in dims for dims in shapes.values()):
        raise ProfileError(
            f"{request.where}: {request.gears} needs a -1 in input_shape (ATC: E10003) [GE, v2.0.0, 2023-03]"
        )
    batches, fixed = _batches(inputs, shapes, request)
    return Shapes(shapes, batches, fixed, _notes(inputs, shapes, request))


def _check_names(graph: Graph, request: Request) -> None:
    names = [value.name for value in graph.inputs]
    for where, wanted in ((request.where, request.template), ("--shape", request.given)):
        for name in wanted:
            if name not in names:
                hint = did_you_mean(name, names) or f"; the inputs are {', '.join(map(quoted, names)) or 'none'}"
                raise ProfileError(f"{where}: the graph has no input {quoted(name)}{hint}")


def _dims(value: Value, lead: Value, request: Request) -> Dims:
    """Return the shape asked for: by ``--shape``, by the profile, else the graph's own."""
    template = request.template.get(value.name)
    given = request.given.get(value.name)
    if template is not None and given is None:
        return template
    if given is None:
        if value.shape is None:
            raise ProfileError(f"input {quoted(value.name)} has no known rank; give --shape {show(value.name)}:DIMS")
        base = value.shape
    else:
        base = given
    batch = _follows(value, lead, request)
    if request.gears and given is None:
        base = _opened(base, request.gears, batch)
        batch = batch and base[:1] != (-1,)
    if batch and given is not None and value is not lead:
        # a number that is no batch of this run was meant as it stands
        known = {*request.asked, *request.planned, *request.given.get(lead.name, ())[:1]}
        batch = given[0] in known
    dims: list[int | str] = [BATCH] if batch else []
    for axis, dim in list(enumerate(base))[len(dims) :]:
        if not isinstance(dim, int):
            word = "unknown" if dim is None else quoted(dim)
            raise ProfileError(
                f"input {quoted(value.name)}: dimension {axis} is {word}; give --shape {show(value.name)}:DIMS"
            )
        dims.append(dim)
    return tuple(dims)


def _opened(base: tuple[int | str | None, ...], gears: str, batch: bool) -> tuple[int | str | None, ...]:
    """Return a shape with -1 for the symbolic dimensions that the gears are for."""
    axes = {
        "dynamic_batch_size": (0,) if batch else (),
        "dynamic_image_size": (2, 3) if len(base) == 4 else (),
    }.get(gears, tuple(range(len(base))))
    return tuple(-1 if axis in axes and not isinstance(dim, int) else dim for axis, dim in enumerate(base))


def _follows(value: Value, lead: Value, request: Request) -> bool:
    """Whether the first dimension of an input is the batch."""
    if value.name in request.template:
        return request.template[value.name][0] == BATCH
    if lead.name in request.template and request.template[lead.name][0] != BATCH:
        return False
    first = value.shape[0] if value.shape else None
    return value is lead or not isinstance(first, int) or (lead.shape is not None and first == lead.shape[0])


def _check(value: Value, dims: Dims, request: Request) -> None:
    """Hold a shape against the graph: same rank, same numbers apart from the batch."""
    where = "--shape" if value.name in request.given else request.where
    own = value.shape
    if own is not None and len(own) != len(dims):
        raise ProfileError(
            f"{where}: input {quoted(value.name)} has {len(own)} dimensions ({value.type_text()}), not {len(dims)}"
        )
    for axis, dim in enumerate(dims):
        has = own[axis] if own is not None else None
        if dim == -1 and not request.gears:
            raise ProfileError(
                f"{where}: input {quoted(value.name)}: -1 needs dynamic_batch_size or another such option"
            )
        size = has if dim == BATCH else dim
        if isinstance(size, int) and size >= 2**31:
            raise ProfileError(f"input {quoted(value.name)}: dimension {axis} is {size}, more than an int32 holds")
        if size == 0:
            raise ProfileError(
                f"input {quoted(value.name)}: dimension {axis} is 0, which ATC refuses (E10011) [GE, v2.0.0, 2023-03]"
            )
        # the batch may be overridden (a model that does not bear it fails in ATC), an image size may not
        if dim != BATCH and not (dim == -1 and axis == 0) and isinstance(has, int) and dim != has:
            raise ProfileError(
                f"{where}: input {quoted(value.name)}: dimension {axis} is {has} in the graph, not {dim}"
            )


def _batches(inputs: list[Value], shapes: Mapping[str, Dims], request: Request) -> tuple[tuple[int, ...], int | None]:
    """Return the batches to compile for, and the batch the graph has of its own."""
    value = next((value for value in inputs if BATCH in shapes[value.name]), None)
    if value is None:
        if request.asked or request.planned:
            listed = ", ".join(map(str, request.asked or request.planned))
            where = "--batch" if request.asked else request.where
            raise ProfileError(f"{where}: batch {listed} asked for, but no input shape has a batch in it")
        first = shapes[inputs[0].name][0] if inputs else 0
        return (first if isinstance(first, int) and first > 0 else 0,), None
    axis = shapes[value.name].index(BATCH)
    own = value.shape[axis] if value.shape is not None else None
    fixed = own if isinstance(own, int) else None
    base = request.given[value.name][axis] if value.name in request.given else fixed
    if request.asked:
        return request.asked, fixed
    if request.planned:
        if value.name in request.given and base not in request.planned:
            listed = ", ".join(map(str, request.planned))
            raise ProfileError(
                f"--shape {show(value.name)}: batch {base} is none of the profile's ({listed}); give --batch"
            )
        return request.planned, fixed
    if base is None:
        word = quoted(own) if isinstance(own, str) else "unknown"
        raise ProfileError(
            f"input {quoted(value.name)}: dimension {axis} is {word}; give --batch N or --shape {show(value.name)}:DIMS"
        )
    return (base,), fixed


def _notes(inputs: list[Value], shapes: Mapping[str, Dims], request: Request) -> tuple[str, ...]:
    """Say which inputs are taken to have the batch first although their symbol is another one."""
    symbols = {
        value.name: value.shape[0]
        for value in inputs
        if value.shape and isinstance(value.shape[0], str) and value.name not in request.template
        if shapes[value.name][0] == BATCH
    }
    lead = next(iter(symbols.values()), None)
    return tuple(
        f"dimension 0 of input {quoted(name)}, {quoted(symbol)}, is taken as the batch; if it is not, give "
        f"--shape {show(name)}:DIMS"
        for name, symbol in symbols.items()
        if symbol != lead
    )
