"""What parts of random graphs share: operators in the form of the opset, and constants that rewrites look at."""

from __future__ import annotations

import numpy as np
from onnx import helper
from randomgraphs import BOOL, F16, F32, F64, FLOATS, I32, I64, INTS, Array, Maker, Unfit, Val

NUMPY = {code: helper.tensor_dtype_to_np_dtype(code) for code in (F32, F64, F16, I64, I32, BOOL)}


def some(m: Maker, shape: tuple[int, ...], dtype: int, kind: str = "") -> Array:
    """Return numbers for a constant of one of the kinds that rewrites look at."""
    kinds = ["zero", "one", "mixed", "mixed", "mixed", "positive", "half", "minus", "level"]
    kind = kind or m.rng.choice([*kinds, "special"] if m.chance(0.1) else kinds)
    count = int(np.prod(shape))
    if kind == "mixed":
        whole = dtype in INTS
        flat = [m.rng.choice([-2, -1, 0, 1, 2, 3]) + (0 if whole else round(m.rng.random(), 2)) for _ in range(count)]
    elif kind == "positive":
        flat = [m.rng.choice([1, 2, 3]) + (0 if dtype in INTS else 0.5 * m.rng.random()) for _ in range(count)]
    elif kind == "special" and dtype in FLOATS:
        flat = [m.rng.choice([float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 1.0]) for _ in range(count)]
    elif kind == "level":
        flat = [m.rng.choice([0.25, 2, 6, 3])] * count
    else:
        flat = [{"zero": 0, "one": 1, "half": 0.5, "minus": -1}.get(kind, 0)] * count
    with np.errstate(over="ignore"):
        return np.array(flat).reshape(shape).astype(NUMPY[dtype])


def operand(m: Maker, x: Val, kind: str = "") -> Val:
    """Return a constant that broadcasts to ``x``, seldom one that widens it."""
    dims = [dim if dim is not None else 1 for dim in x.dims]
    shapes: list[tuple[int, ...]] = [(), (1,), tuple(dims)]
    if dims:
        shapes += [tuple(dims[-1:]), (1,) * len(dims)]
    if len(dims) > 1:
        shapes += [(dims[1],) + (1,) * (len(dims) - 2), (1, dims[1]) + (1,) * (len(dims) - 2), (*dims[:-1], 1)]
    if m.chance(0.08):
        shapes = [(1,) * (len(dims) + 1), (2, *[1] * len(dims)), *[(3,)][: 1 if dims and dims[-1] == 1 else 0]]
    return m.constant(some(m, m.rng.choice(shapes), x.dtype, kind))


def squeeze(m: Maker, x: Val, axes: list[int] | None) -> Val:
    if axes is None:
        return m.op("Squeeze", x)
    return m.op("Squeeze", x, axes=axes) if m.opset < 13 else m.op("Squeeze", x, m.ints(*axes))


def unsqueeze(m: Maker, x: Val, axes: list[int]) -> Val:
    return m.op("Unsqueeze", x, axes=axes) if m.opset < 13 else m.op("Unsqueeze", x, m.ints(*axes))


def reduced(m: Maker, op: str, x: Val, axes: list[int] | None, keepdims: int) -> Val:
    as_input = 13 if op == "ReduceSum" else 18
    if axes is None or m.opset < as_input:
        return m.op(op, x, keepdims=keepdims, **({} if axes is None else {"axes": axes}))
    return m.op(op, x, m.ints(*axes), keepdims=keepdims)


def scalar(m: Maker, number: float, like: Val) -> Val:
    return m.constant(np.array(number, NUMPY[like.dtype]))


def sign(m: Maker, axis: int, rank: int) -> int:
    """An axis, counted from the front or from the back."""
    return axis - rank if m.chance(0.3) else axis


def split(m: Maker, x: Val, axis: int) -> list[Val]:
    size = x.dims[axis]
    if not size:
        raise Unfit("nothing to split")
    parts = [size] if size == 1 or m.chance(0.2) else [size // 2, size - size // 2]
    where = sign(m, axis, x.rank)
    if m.opset < 13:
        return m.ops("Split", x, count=len(parts), axis=where, split=parts)
    if m.opset >= 18 and parts[0] == parts[-1] and m.chance(0.4):
        return m.ops("Split", x, count=len(parts), axis=where, num_outputs=len(parts))
    return m.ops("Split", x, m.ints(*parts), count=len(parts), axis=where)
