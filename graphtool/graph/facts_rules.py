"""Shapes of operators whose result is sized by the content of an input, with sizes that may be symbols.

onnx's own inference takes such a content only where all of it is a number. A rule returns the sizes of each output, or
raises Unknown; then onnx is asked. A size that is None becomes a symbol of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

from onnx import TensorProto

from graphtool.graph import contents_moves
from graphtool.graph.contents import FARTHEST, FLOATS, MOST_ITEMS
from graphtool.graph.facts_call import NOTHING, Call, Fact, Sizes, Unknown, axes_in, axis_in
from graphtool.graph.facts_symbols import Size, Symbols

_INT64, _BOOL = int(TensorProto.INT64), int(TensorProto.BOOL)
_TRUTHS = frozenset("And Equal Greater GreaterOrEqual Less LessOrEqual Or Xor".split())  # make booleans
_FAR = FARTHEST[0]


def reshape(call: Call) -> list[Fact]:
    """Reshape, as far as the sizes asked for are known.

    A size that is a symbol could be 0 in a run, and would then copy an axis of the input (``allowzero=0``): it is
    taken only where that cannot make a difference.
    """
    fact, symbols = call.facts[0], call.symbols
    source = None if fact is None else fact.shape
    to = vector(call, 1) if call.has(1) else tuple(call.attr("shape", ()))
    total = None if source is None else symbols.product(source)
    if call.attr("allowzero", 0):
        sizes = [size if symbols.nonnegative(size) else None for size in to]
    else:
        sizes = [_asked(symbols, to, axis, source, total) for axis in range(len(to))]
    if sizes.count(None) == 1:
        left = sizes.index(None)
        rest = symbols.product([size for axis, size in enumerate(sizes) if axis != left])
        if to[left] == -1 or symbols.positive(rest):  # where the other axes make 0, -1 is an error
            sizes[left] = symbols.exact_quotient(total, rest)
    return [Fact(call.dtype(), tuple(sizes))]


def _asked(symbols: Symbols, to: Sizes, axis: int, source: Sizes | None, total: Size) -> Size:
    """Return the size of one axis of a Reshape that copies where it is asked for 0."""
    size = to[axis]
    copied = source[axis] if source is not None and axis < len(source) else None
    if size == 0:
        return copied
    if isinstance(size, int) or symbols.positive(size):
        return size if size != -1 else None
    if not symbols.nonnegative(size):
        return None
    if copied is not None and (copied == size or symbols.vanishes_with(copied, size)):
        return size
    # were it 0, so would be the input; a result that is not empty would not fit
    others = all(symbols.positive(other) for place, other in enumerate(to) if place != axis)
    return size if others and symbols.vanishes_with(total, size) else None


def expand(call: Call) -> list[Fact]:
    """Expand: the sizes asked for, broadcast with those there are."""
    return [Fact(call.dtype(), broadcast(call.symbols, call.shape(), vector(call, 1)))]


def vector(call: Call, place: int) -> Sizes:
    """Return the sizes in an input vector, each None where only their number is known; raises Unknown."""
    if call.contents[place] is not None:
        return call.sizes(place)
    shape = call.shape(place)
    if len(shape) != 1 or not isinstance(shape[0], int) or shape[0] > MOST_ITEMS:
        raise Unknown
    return (None,) * shape[0]


def broadcast(symbols: Symbols, a: Sizes, b: Sizes) -> Sizes:
    """Return numpy's broadcast of two shapes."""
    pairs = list(zip_longest(reversed(a), reversed(b), fillvalue=1))
    return tuple(symbols.broadcast(one, other) for one, other in reversed(pairs))


def elementwise(call: Call) -> list[Fact]:
    """Operators that broadcast all their inputs, where some size is a symbol."""
    if call.version < 7:
        raise Unknown  # an attribute said how to broadcast
    op = call.node.op_type
    sizes = call.shape()
    for place in range(1, len(call.node.input)):
        sizes = broadcast(call.symbols, sizes, call.shape(place))
    dtype = _BOOL if op in _TRUTHS else call.dtype(1 if op == "Where" else 0)
    if None in sizes or not dtype:
        raise Unknown
    return [Fact(dtype, sizes)]


def tile(call: Call) -> list[Fact]:
    """Tile by repeats of which some are symbols."""
    if call.version < 6:
        raise Unknown
    sizes, repeats = call.shape(), call.sizes(1)
    if len(sizes) != len(repeats):
        raise Unknown
    return [Fact(call.dtype(), tuple(call.symbols.mul(s, times) for s, times in zip(sizes, repeats, strict=True)))]


def constant_of_shape(call: Call) -> list[Fact]:
    """ConstantOfShape: its input is its shape."""
    value = call.attr("value")
    return [Fact(int(TensorProto.FLOAT) if value is None else value.data_type, vector(call, 0))]


def slice_(call: Call) -> list[Fact]:
    """Slice with steps of 1, of axes and by bounds that may be symbols; reversal of a whole axis."""
    sizes = list(call.shape())
    if call.has(1):
        starts, ends = vector(call, 1), vector(call, 2)
    else:
        starts, ends = tuple(call.attr("starts", ())), tuple(call.attr("ends", ()))
    try:
        axes = call.listed("axes", 3)
    except Unknown:
        return [Fact(call.dtype(), (None,) * len(sizes))]
    axes = tuple(range(len(starts))) if axes is None else axes
    try:
        steps: Sizes = call.listed("steps", 4) or (1,) * len(starts)
    except Unknown:
        steps = (None,) * len(starts)
    axes_in(axes, len(sizes))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        sizes[axis] = _between(call.symbols, sizes[axis], start, end, step)
    return [Fact(call.dtype(), tuple(sizes))]


def _between(symbols: Symbols, size: Size, start: Size, end: Size, step: Size) -> Size:
    """Return how many elements a Slice takes of an axis."""
    if size is None or start is None or end is None or step is None:
        return None
    if all(isinstance(number, int) for number in (size, start, end, step)):
        try:
            return len(contents_moves.taken(size, start, end, step))  # type: ignore[arg-type]
        except Unknown:
            return None
    if step == -1 and start == -1 and isinstance(end, int) and end <= -_FAR:
        return size
    if step != 1:
        return None
    if isinstance(end, int) and end >= _FAR:
        if isinstance(start, int) and start < 0:
            return symbols.minimum(-start, size)
        return symbols.maximum(symbols.sub(size, start), 0) if symbols.nonnegative(start) else None
    first, last = _place(symbols, size, start), _place(symbols, size, end)
    return symbols.maximum(symbols.sub(last, first), 0)


def _place(symbols: Symbols, size: Size, bound: Size) -> Size:
    """Return a bound of a Slice as a place in the axis."""
    if symbols.nonnegative(bound):
        return symbols.minimum(bound, size)
    return symbols.maximum(symbols.add(size, bound), 0) if isinstance(bound, int) else None


def range_(call: Call) -> list[Fact]:
    """Range with a step of 1 between bounds that may be symbols."""
    contents = [call.content(place) for place in range(3)]
    dtype = contents[0].dtype
    start, limit, step = (call.sizes(place)[0] for place in range(3)) if dtype not in FLOATS else (None,) * 3
    if step != 1:
        raise Unknown
    return [Fact(dtype, (call.symbols.maximum(call.symbols.sub(limit, start, dtype), 0),))]


def squeeze(call: Call) -> list[Fact]:
    """Squeeze; without axes, or with none named, every axis of size 1 goes: onnx keeps them if none is named."""
    sizes = call.shape()
    try:
        axes = call.listed("axes", 1)
    except Unknown:
        count = len(vector(call, 1))
        return [Fact(call.dtype(), (None,) * (len(sizes) - count) if count else None)]
    if axes:
        gone = axes_in(axes, len(sizes))
    elif all(isinstance(size, int) for size in sizes):
        gone = [axis for axis, size in enumerate(sizes) if size == 1]
    else:
        return [Fact(call.dtype())]  # an open axis could be 1
    return [Fact(call.dtype(), tuple(size for axis, size in enumerate(sizes) if axis not in gone))]


def unsqueeze(call: Call) -> list[Fact]:
    """Unsqueeze; axes count in the result."""
    sizes = list(call.shape())
    try:
        axes = call.listed("axes", 1)
    except Unknown:
        return [Fact(call.dtype(), (None,) * (len(sizes) + len(vector(call, 1))))]
    if axes is None:
        raise Unknown
    for axis in axes_in(axes, len(sizes) + len(axes)):
        sizes.insert(axis, 1)
    return [Fact(call.dtype(), tuple(sizes))]


def flatten(call: Call) -> list[Fact]:
    """Flatten to two axes."""
    sizes, axis = call.shape(), call.attr("axis", 1)
    axis = axis if axis == len(sizes) else axis_in(axis, len(sizes))
    product = call.symbols.product
    return [Fact(call.dtype(), (product(sizes[:axis]), product(sizes[axis:])))]


def concat(call: Call) -> list[Fact]:
    """Concat along an axis of which some sizes are symbols; on the other axes all sizes are the same."""
    shapes = [call.shape(place) for place in range(len(call.node.input))]
    rank = len(shapes[0])
    axis = axis_in(call.attr("axis", 1), rank)
    sizes: list[Size] = []
    for at, column in enumerate(zip(*shapes, strict=True)):
        if at == axis:
            total: Size = 0
            for size in column:
                total = call.symbols.add(total, size)
            sizes.append(total)
        else:
            numbers = {size for size in column if isinstance(size, int)}
            if len(numbers) > 1:
                raise Unknown
            sizes.append(numbers.pop() if numbers else column[0])
    return [Fact(call.dtype(), tuple(sizes))]


def split(call: Call) -> list[Fact]:
    """Split into parts whose sizes may be symbols."""
    sizes = call.shape()
    axis = axis_in(call.attr("axis", 0), len(sizes))
    whole, count = sizes[axis], len(call.node.output)
    if call.version < 2:
        raise Unknown
    if isinstance(whole, int) or call.attr("split") or call.has(1):
        parts = contents_moves.split_sizes(call, whole if isinstance(whole, int) else 0)
    else:
        # in opset 18 the last part may be smaller, and how large the others are follows from the whole
        part = call.symbols.exact_quotient(whole, count)
        parts = (part,) * count
    return [Fact(call.dtype(), (*sizes[:axis], part, *sizes[axis + 1 :])) for part in parts]


def nonzero(call: Call) -> list[Fact]:
    """NonZero: a row for each axis; of a scalar onnx says none and onnxruntime has one."""
    try:
        return [Fact(_INT64, contents_moves.nonzero(call).shape)]
    except Unknown:
        fact = call.facts[0]
        rank = None if fact is None or not fact.shape else len(fact.shape)
        return [Fact(_INT64, (rank, None))]


def top_k(call: Call) -> list[Fact]:
    """TopK with a count that is an input (opset 10)."""
    sizes = list(call.shape())
    if not call.has(1):
        raise Unknown
    (count,) = call.sizes(1)
    if not call.symbols.nonnegative(count):
        raise Unknown
    sizes[axis_in(call.attr("axis", -1), len(sizes))] = count
    return [Fact(call.dtype(), tuple(sizes)), Fact(_INT64, tuple(sizes))]


def attention(call: Call) -> list[Fact]:
    """Attention (opset 23) of sizes that are symbols, which onnx 1.23 counts as 0; other outputs by type only."""
    query, value = call.shape(0), call.shape(2)
    if all(isinstance(size, int) for fact in call.facts if fact is not None for size in fact.shape or (None,)):
        raise Unknown
    rest = [Fact(call.dtype(1)), Fact(call.dtype(2)), Fact(call.dtype(0))]
    if len(query) == len(value) == 4:
        return [Fact(call.dtype(), (*query[:3], value[3])), *rest]
    heads, shared = call.attr("q_num_heads"), call.attr("kv_num_heads")
    width = call.symbols.exact_quotient(value[-1], shared)
    return [Fact(call.dtype(), (*query[:2], call.symbols.mul(width, heads))), *rest]


def like_first(call: Call) -> list[Fact]:
    """Operators whose first output is like their first input; of others nothing is known."""
    return [Fact(call.dtype(), call.shape()), *[NOTHING] * (len(call.node.output) - 1)]


def layer_norm(call: Call) -> list[Fact]:
    """LayerNormalization before opset 17, which onnxruntime has and onnx has not."""
    if call.version >= 17:
        raise Unknown
    return like_first(call)


# -- by operator

RULES: dict[str, Callable[[Call], list[Fact]]] = {
    "Reshape": reshape, "Expand": expand, "Tile": tile, "ConstantOfShape": constant_of_shape, "Slice": slice_,
    "Range": range_, "Squeeze": squeeze, "Flatten": flatten, "Concat": concat, "Split": split, "NonZero": nonzero,
    "TopK": top_k, "Attention": attention, "Unsqueeze": unsqueeze,
    **dict.fromkeys((*_TRUTHS, *"Add Div Max Mean Min Mod Mul Pow Sub Sum Where".split()), elementwise),
    # of onnxruntime, in the default domain (onnxruntime, docs/ContribOperators.md)
    "SimplifiedLayerNormalization": like_first, "LayerNormalization": layer_norm,
    **dict.fromkeys(("GroupNormalization", "MeanVarianceNormalization"), like_first),
}  # fmt: skip
