"""Parts of random graphs that copy, convert and move elements, and compute sizes; see randomgraphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper
from randomforms import NUMPY, sign, some, split, squeeze, unsqueeze
from randomgraphs import BOOL, F16, F32, F64, FLOATS, I32, I64, INTS, Array, Maker, Unfit, Val

BIG = 2**63 - 1


def data_of(m: Maker, value: Val, *found: Array | None) -> Val:
    """Note the elements of a value of sizes for each size of ``N``."""
    known = Val(value.name, value.dtype, value.shapes, (found[0], found[1]))
    m.pool = [known if old.name == value.name else old for old in m.pool]
    return known


def copies(m: Maker) -> None:
    """Identity and Dropout at inference."""
    x = m.pick((F32, F32, F64, I64, BOOL, F16))
    for _ in range(m.rng.randint(1, 3)):
        if m.chance(0.6) or x.dtype not in (F32, F64):
            x = m.op("Identity", x)
            continue
        count = m.rng.choice([1, 1, 2])
        if m.opset < 12:
            found = m.ops("Dropout", x, count=count, ratio=0.4)
        else:
            ratio = m.constant(np.array(0.4, np.float32)) if m.chance(0.5) else None
            mode = m.constant(np.array(False)) if m.chance(0.5) else None
            found = m.ops("Dropout", x, ratio, mode, count=count)
        x = found[0]
        if count == 2 and m.chance(0.7):
            m.op("Not", found[1])


def casts(m: Maker) -> None:
    x = m.pick((F32, F32, F64, I64, I32, BOOL, F16))
    for _ in range(m.rng.randint(2, 4)):
        safe = x.dtype not in FLOATS  # a float beyond the range of an integer is the machine's affair
        to = m.rng.choice([F32, F64, F16, BOOL, *(INTS if safe else ()), x.dtype])
        like = m.opset >= 15 and m.chance(0.25)
        x = m.op("CastLike", x, m.pick((to,))) if like else m.op("Cast", x, to=to)


def transposes(m: Maker) -> None:
    """Transposes in a row, some of which only move axes of size 1."""
    x = m.pick((F32, F32, F64, I64, BOOL, F16), (2, 3, 4, 5))
    for _ in range(m.rng.randint(1, 3)):
        perm = list(range(x.rank))
        if m.chance(0.5):
            a, b = m.rng.sample(perm, 2)
            perm[a], perm[b] = perm[b], perm[a]
        elif m.chance(0.8):
            m.rng.shuffle(perm)
        x = m.op("Transpose", x, **({} if m.chance(0.1) else {"perm": perm}))
        if m.chance(0.3):
            x = m.op("Relu" if x.dtype in (F32, F64) else "Identity", x)


def views(m: Maker) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze and Expand in a row."""
    x = m.pick((F32, F32, I64, BOOL, F16), range(5))
    for _ in range(m.rng.randint(2, 4)):
        x = m.rng.choice([_reshape, _reshape, _flatten, _squeeze, _unsqueeze, _expand])(m, x)


def _reshape(m: Maker, x: Val) -> Val:
    dims, attributes = [dim if dim is not None else 0 for dim in x.dims], {}
    if m.opset >= 14 and m.chance(0.15):
        attributes = {"allowzero": m.rng.randint(0, 1)}
    kind = m.rng.choice(["same", "last", "flat", "merge", "split", "infer", "ones"])
    fixed = None not in x.dims
    if kind == "infer" and dims:
        dims[m.rng.randrange(len(dims))] = -1
    elif kind == "last":
        dims = [-1, *dims[-1:]] if dims and dims[-1] > 0 else [-1]
    elif kind == "flat":
        dims = [int(np.prod(x.shape))] if fixed and m.chance(0.5) else [-1]
    elif kind == "merge" and len(dims) > 1:
        at = m.rng.randrange(len(dims) - 1)
        merged = dims[at] * dims[at + 1] if None not in x.dims[at : at + 2] else -1
        dims = [*dims[:at], merged, *dims[at + 2 :]]
        if merged == -1 or 0 in dims[at:]:
            dims = [dim if dim > 0 or place < at else -1 for place, dim in enumerate(dims)]
    elif kind == "split" and dims:
        at = m.rng.randrange(len(dims))
        if dims[at] > 0 and dims[at] % 2 == 0:
            dims = [*dims[:at], 2, dims[at] // 2, *dims[at + 1 :]]
            dims = [dim if dim > 0 or place <= at else -1 for place, dim in enumerate(dims)]
    elif kind == "ones":
        at = m.rng.randint(0, len(dims))
        dims = [*dims[:at], 1, *dims[at:]]
        dims = [dim if dim > 0 or place <= at else -1 for place, dim in enumerate(dims)]
    if dims.count(-1) > 1:
        raise Unfit("two dimensions to infer")
    return m.op("Reshape", x, m.ints(*dims), **attributes)


def _flatten(m: Maker, x: Val) -> Val:
    return m.op("Flatten", x, axis=m.rng.randint(-x.rank, x.rank)) if m.chance(0.7) else m.op("Flatten", x)


def _squeeze(m: Maker, x: Val) -> Val:
    ones = [axis for axis, dim in enumerate(x.dims) if dim == 1]
    if None in x.dims or m.chance(0.7):
        axes = m.rng.sample(ones, m.rng.randint(1, len(ones))) if ones else []
        if not axes:
            return _unsqueeze(m, x)
        return squeeze(m, x, [sign(m, axis, x.rank) for axis in sorted(axes)])
    return squeeze(m, x, None)


def _unsqueeze(m: Maker, x: Val) -> Val:
    if x.rank > 4:
        raise Unfit("rank")
    count = m.rng.randint(1, 2)
    axes = sorted(m.rng.sample(range(x.rank + count), count))
    return unsqueeze(m, x, [sign(m, axis, x.rank + count) for axis in axes])


def _expand(m: Maker, x: Val) -> Val:
    kind = m.rng.choice(["ones", "same", "wider", "rank"])
    dims = [dim if dim is not None else 1 for dim in x.dims]
    if kind == "ones":
        dims = [1] * m.rng.randint(0, len(dims))
    elif kind == "wider" and 1 in dims:
        dims[dims.index(1)] = 2
    elif kind == "rank" and len(dims) < 5:
        dims = [m.rng.choice([1, 2]), *dims]
    if m.chance(0.3):
        repeats = [m.rng.choice([1, 1, 1, 2]) for _ in range(x.rank)]
        return m.op("Tile", x, m.ints(*repeats))
    return m.op("Expand", x, m.ints(*dims))


def slices(m: Maker) -> None:
    x = m.pick((F32, F32, I64, I32), (1, 2, 3, 4))
    for _ in range(m.rng.randint(1, 4)):
        axes = m.rng.sample(range(x.rank), m.rng.choice([1, 1, 1, min(2, x.rank)]))
        starts, ends, steps = [], [], []
        for axis in axes:
            size = min(x.shapes[0][axis], x.shapes[1][axis])
            kind = m.rng.choice(["whole", "front", "back", "inner", "step", "turn", "beyond"])
            start, end, step = {
                "whole": (0, m.rng.choice([BIG, 2**31 - 1, size + 2]), 1),
                "front": (0, m.rng.choice([-1, max(size - 1, 0)]), 1),
                "back": (m.rng.choice([1, -2, -1]), BIG, 1),
                "inner": (1, -1, 1),
                "step": (m.rng.choice([0, 1]), BIG, 2),
                "turn": (-1, -BIG - 1, m.rng.choice([-1, -2])),
                "beyond": (m.rng.choice([0, -size - 3]), m.rng.choice([size + 5, 2]), 1),
            }[kind]
            starts.append(start), ends.append(end), steps.append(step)
        axes = [sign(m, axis, x.rank) for axis in axes]
        whole = all(step == 1 for step in steps)
        narrow = m.chance(0.2)

        def part(items: list[int], narrow: bool = narrow) -> Val:
            array = np.array(items, np.int64)
            return m.constant(np.clip(array, -(2**31), 2**31 - 1).astype(np.int32) if narrow else array)

        inputs: list[Val | None] = [part(starts), part(ends)]
        if axes != list(range(len(axes))) or not whole or m.chance(0.7):
            inputs.append(part(axes))
            inputs += [] if whole and m.chance(0.6) else [part(steps)]
        x = m.op("Slice", x, *inputs)


def concats(m: Maker) -> None:
    """Concats in a row, of one input, of pieces; Split and what takes a Split back together."""
    x = m.pick((F32, F32, I64, BOOL), (1, 2, 3, 4))
    axis = m.rng.randrange(x.rank)
    if m.chance(0.4) and x.dims[axis] is not None:
        pieces = split(m, x, axis)
        if m.chance(0.3):
            pieces = pieces[:1] + [m.op("Identity", p) for p in pieces[1:]]
        m.op("Concat", *pieces, axis=sign(m, axis, x.rank))
        return
    for _ in range(m.rng.randint(1, 3)):
        others = [x] * m.rng.randint(0, 2)
        if m.chance(0.2) and None not in x.dims:
            empty = [*x.shape[:axis], 0, *x.shape[axis + 1 :]]
            others.append(m.constant(np.zeros(empty, NUMPY[x.dtype])))
        row = [*others, x]
        m.rng.shuffle(row)
        if m.chance(0.25):
            axis = m.rng.randrange(x.rank)
        x = m.op("Concat", *row, axis=sign(m, axis, x.rank))


def gathers(m: Maker) -> None:
    x = m.pick((F32, F32, I64), (1, 2, 3, 4), lambda v: 0 not in v.shapes[1])
    axis = m.rng.randrange(x.rank)
    size = min(x.shapes[0][axis], x.shapes[1][axis])
    kind = m.rng.choice([np.int64, np.int32])
    index = np.array(m.rng.choice([0, -1, size - 1, [0], [-1], list(range(size)), [size - 1, 0]]), kind)
    if m.chance(0.15):
        top = m.ops("TopK", x, m.ints(m.rng.choice([1, size])), count=2, axis=axis)
        m.op("Neg", top[0])
        return
    m.op("Gather", x, m.constant(index), axis=sign(m, axis, x.rank))


def sizes(m: Maker) -> None:
    """Shape, arithmetic on sizes, and a Reshape or Expand by what comes out."""
    x = m.pick((F32, F32, I64), (1, 2, 3, 4))
    attributes: dict[str, Any] = {}
    begin, end = 0, x.rank
    if m.opset >= 15 and m.chance(0.3):
        begin, end = m.rng.randint(0, x.rank - 1), x.rank
        attributes = {"start": sign(m, begin, x.rank), **({"end": end} if m.chance(0.5) else {})}
    shape = m.op("Shape", x, **attributes)
    shape = data_of(m, shape, *[np.array(s[begin:end], np.int64) for s in x.shapes])
    if begin:
        m.op("Neg", shape)
        return
    kind = m.rng.choice(["same", "flat", "swap", "tail", "gather", "count", "expand", "range"])
    known = [np.array(s, np.int64) for s in x.shapes]
    if kind == "same":
        m.op("Reshape", x, shape)
    elif kind == "expand":
        y = m.constant(some(m, m.rng.choice([(), (1,)]), x.dtype))
        m.op(m.rng.choice(["Add", "Mul"]) if x.dtype == F32 else "Add", m.op("Expand", y, shape), x)
    elif kind == "count":
        total = data_of(m, m.op("Size", x), *[np.array(k.prod()) for k in known])
        m.op("Cast", m.op("Add", total, m.constant(np.array(1, np.int64))), to=F32)
    elif kind == "range" and x.rank:
        first = _taken(m, shape, known, 0)
        zero, one = (m.constant(np.array(number, np.int64)) for number in (0, 1))
        found = m.op("Range", zero, data_of(m, first, *[np.array(k[0]) for k in known]), one)
        m.op("Mul", found, found)
    elif kind == "swap" and x.rank > 1:
        back = m.ints(*reversed(range(x.rank)))
        turned = data_of(m, m.op("Gather", shape, back), *[k[::-1] for k in known])
        m.op("Reshape", x, turned)
    elif kind in ("tail", "flat"):
        head = unsqueeze(m, _taken(m, shape, known, 0), [0])
        head = data_of(m, head, *[k[:1] for k in known])
        rest = data_of(m, m.op("Concat", head, m.ints(-1), axis=0), *[np.array([k[0], -1]) for k in known])
        y = m.op("Reshape", x, rest)
        if kind == "tail" and x.rank > 1:
            m.op("Reshape", y, shape)
    else:
        _product(m, x, shape, known)


def _taken(m: Maker, shape: Val, known: list[Array], at: int) -> Val:
    index = m.constant(np.array(at, np.int64))
    return data_of(m, m.op("Gather", shape, index), *[np.array(k[at]) for k in known])


def _product(m: Maker, x: Val, shape: Val, known: list[Array]) -> None:
    """Reshape to what Gather, Mul and Concat make of the sizes: the first two axes as one."""
    if x.rank < 2:
        raise Unfit("rank")
    first, second = (_taken(m, shape, known, at) for at in (0, 1))
    product = data_of(m, m.op("Mul", first, second), *[np.array(k[0] * k[1]) for k in known])
    head = data_of(m, unsqueeze(m, product, [0]), *[np.array([k[0] * k[1]]) for k in known])
    start, end, axes = m.ints(2), m.ints(BIG), m.ints(0)
    rest = data_of(m, m.op("Slice", shape, start, end, axes), *[k[2:] for k in known])
    dims = [np.array([k[0] * k[1], *k[2:]], np.int64) for k in known]
    y = m.op("Reshape", x, data_of(m, m.op("Concat", head, rest, axis=0), *dims))
    m.op("Relu" if y.dtype == F32 else "Neg", y)


def sequences(m: Maker) -> None:
    """A sequence, and an element taken from it; only the element may be read further."""
    x = m.pick((F32, I64), (1, 2, 3))
    name, made = m.fresh("seq"), m.fresh("at")
    at = m.constant(np.array(0, np.int64))
    m.nodes.append(helper.make_node("SequenceConstruct", [x.name, x.name], [name]))
    m.raw(helper.make_node("SequenceAt", [name, at.name], [made]), [Val(made, x.dtype, x.shapes)])


PARTS = [
    (copies, 3), (casts, 3), (transposes, 5), (views, 6), (slices, 4), (concats, 4), (gathers, 2), (sizes, 4),
    (sequences, 1),
]  # fmt: skip
