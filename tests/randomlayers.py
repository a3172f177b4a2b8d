"""Parts of random graphs that are layers of networks; see randomgraphs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import helper
from randomforms import operand, reduced, scalar, some, split, squeeze, unsqueeze
from randomgraphs import F32, I64, Maker, Unfit, Val


def weight(m: Maker, *shape: int, kind: str = "mixed") -> Val:
    return m.constant(some(m, shape, F32, kind))


def image(m: Maker, rank: int = 4) -> Val:
    """A value with channels and room for a window."""
    fits = m.rng.choice([2, 3])

    def wide(v: Val) -> bool:
        return v.dims[1] is not None and 0 < v.dims[1] <= 8 and all(d is not None and d >= fits for d in v.dims[2:])

    return m.pick((F32,), (rank,), wide)


def pad(m: Maker, x: Val, pads: list[int], value: float | None = None, mode: str = "constant") -> Val:
    fill = None if value is None else scalar(m, value, x)
    return m.op("Pad", x, m.ints(*pads), fill, **({} if mode == "constant" and m.chance(0.5) else {"mode": mode}))


def _around(m: Maker, rank: int, whole: bool = False) -> list[int]:
    """Widths for a Pad: of the inner axes, sometimes of batch and channels too."""
    spatial = rank - 2
    outer = [m.rng.choice([0, 0, 0, 1]) if whole else 0 for _ in range(4)]
    inner = [m.rng.choice([0, 1, 1, 2]) for _ in range(2 * spatial)]
    return [*outer[:2], *inner[:spatial], *outer[2:], *inner[spatial:]]


def pads(m: Maker) -> None:
    """Pads in a row, also by nothing and by negative widths."""
    x = m.pick((F32, F32, I64), (2, 3, 4))
    for _ in range(m.rng.randint(1, 3)):
        widths = _around(m, x.rank, True) if m.chance(0.8) else [0] * (2 * x.rank)
        if m.chance(0.1):
            widths[-1] = -1
        mode = m.rng.choice(["constant"] * 5 + ["edge", "reflect"])
        value = m.rng.choice([None, 0, 0, 1]) if mode == "constant" else None
        x = pad(m, x, widths, value, mode)


def convs(m: Maker) -> None:
    """Pad, Conv or ConvTranspose, and the BatchNormalization or arithmetic by channel behind it."""
    rank = m.rng.choice([3, 4, 4, 4])
    x = image(m, rank)
    if m.chance(0.35):
        mode = m.rng.choice(["constant"] * 5 + ["reflect"])
        x = pad(m, x, _around(m, rank, m.chance(0.1)), m.rng.choice([None, 0, 0, 0.5]), mode)
    channels = x.fixed(1)
    group = m.rng.choice([1, 1, channels])
    out = group * m.rng.randint(1, 3)
    kernel = [m.rng.choice([1, 2, 3]) for _ in range(rank - 2)]
    attributes: dict[str, Any] = {"group": group} if group > 1 or m.chance(0.3) else {}
    if m.chance(0.6):
        attributes["kernel_shape"] = kernel
    if m.chance(0.3):
        attributes["strides"] = [m.rng.choice([1, 2]) for _ in kernel]
    kind = m.rng.choice(["none", "pads", "pads", "auto"])
    transposed = m.chance(0.25)
    if kind == "pads":
        attributes["pads"] = [m.rng.choice([0, 1]) for _ in range(2 * len(kernel))]
    elif kind == "auto" and not transposed:
        attributes["auto_pad"] = m.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
    if m.chance(0.15) and kind != "auto":
        attributes["dilations"] = [m.rng.choice([1, 2]) for _ in kernel]
    w = weight(m, *((channels, out // group) if transposed else (out, channels // group)), *kernel)
    bias = [weight(m, out)] if m.chance(0.5) else []
    y = m.op("ConvTranspose" if transposed else "Conv", x, w, *bias, **attributes)
    for _ in range(m.rng.randint(0, 3)):
        y = _scaled(m, y)
    if m.chance(0.3):
        m.op("Relu", y)
    if m.chance(0.15) and not transposed:  # the same weights again
        m.op("Conv", x, w, *bias, **attributes)


def _scaled(m: Maker, y: Val) -> Val:
    if m.chance(0.35):
        return batch_norm(m, y)
    op = m.rng.choice(["Add", "Mul", "Sub", "Div"])
    channels = y.fixed(1)
    shape = m.rng.choice([(channels,) + (1,) * (y.rank - 2), (1, channels) + (1,) * (y.rank - 2)])
    kind = "positive" if op == "Div" else m.rng.choice(["mixed", "mixed", "level", "zero", "one"])
    c = m.constant(some(m, shape, F32, kind)) if m.chance(0.75) else operand(m, y, kind)
    return m.op(op, *((c, y) if op in ("Add", "Mul", "Sub") and m.chance(0.3) else (y, c)))


def batch_norm(m: Maker, x: Val) -> Val:
    channels = x.dims[1] if x.rank > 1 else None
    if not channels:
        raise Unfit("channels")
    row = [weight(m, channels), weight(m, channels), weight(m, channels), weight(m, channels, kind="positive")]
    return m.op("BatchNormalization", x, *row, **({"epsilon": 0.001} if m.chance(0.5) else {}))


def stacks(m: Maker) -> None:
    """Two convolutions, with an activation between them or not."""
    x = image(m)
    channels, inner, out = x.fixed(1), m.rng.choice([2, 3, 4, 5]), m.rng.randint(1, 3)
    y = m.op("Conv", x, weight(m, inner, channels, 1, 2), *([weight(m, inner)] if m.chance(0.5) else []))
    if m.chance(0.6):
        y = m.op(m.rng.choice(["Relu", "Sigmoid", "LeakyRelu", "Neg"]), y)
    m.op("Conv", y, weight(m, out, inner, 1, 1), *([weight(m, out)] if m.chance(0.5) else []))


def batch_norms(m: Maker) -> None:
    """A BatchNormalization of its own, also behind a product or of a matrix."""
    x = m.pick((F32,), (2, 3, 4), lambda v: v.dims[1] is not None and 0 < v.dims[1] <= 8)
    batch_norm(m, x)


def pools(m: Maker) -> None:
    x = image(m, m.rng.choice([3, 4, 4]))
    op = m.rng.choice(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    if op.startswith("Global"):
        y = m.op(op, x)
        if m.chance(0.5):
            m.op("Flatten", y)
        return
    if m.chance(0.5):
        value = m.rng.choice([float("-inf"), float("-inf"), 0, None]) if op == "MaxPool" else m.rng.choice([0, None, 1])
        x = pad(m, x, _around(m, x.rank, m.chance(0.1)), value)
    kernel = [m.rng.choice([1, 2, 2, 3]) for _ in range(x.rank - 2)]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if m.chance(0.6):
        attributes["strides"] = kernel if m.chance(0.5) else [m.rng.choice([1, 2]) for _ in kernel]
    if m.chance(0.4):
        attributes["pads"] = [m.rng.choice([0, 1 if size > 1 else 0]) for size in kernel * 2]
    elif m.chance(0.15):
        attributes["auto_pad"] = m.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
    if m.chance(0.2) and "auto_pad" not in attributes and not _behind(x, attributes):
        attributes["ceil_mode"] = 1
    if op == "AveragePool" and m.chance(0.5):
        attributes["count_include_pad"] = m.rng.randint(0, 1)
    m.op(op, x, **attributes)


def _behind(x: Val, attributes: dict[str, Any]) -> bool:
    """Whether a pool that rounds up has a window behind the data, which onnx counts and onnxruntime drops.

    The output would be declared as onnx infers it. Pools of that kind have a test of their own.
    """
    kernel = attributes["kernel_shape"]
    strides = attributes.get("strides", [1] * len(kernel))
    pads = attributes.get("pads", [0] * 2 * len(kernel))
    for shape in x.shapes:
        for size, k, s, before, after in zip(shape[2:], kernel, strides, pads, pads[len(kernel) :], strict=False):
            last = -(-(size + before + after - k) // s)
            if last * s >= size + before:
                return True
    return False


def products(m: Maker) -> None:
    """MatMul and Gemm with Transposes around them, sums behind them, and products beside them."""
    x = m.pick((F32,), (2, 2, 3, 4), lambda v: v.dims[-1] is not None and 0 < v.dims[-1] <= 12)
    inner = x.fixed(-1)
    columns = m.rng.choice([1, 2, 4])
    if m.chance(0.15) and x.dims[-2] is not None:  # a Transpose, into the product or not
        x = m.op("Transpose", m.op("Transpose", x, perm=_swapped(x.rank)), perm=_swapped(x.rank))
    if m.chance(0.35) and x.rank == 2:
        _gemm(m, x, inner, columns)
        return
    for _ in range(m.rng.choice([1, 1, 2, 3])):  # siblings
        turned = m.chance(0.25)
        w = weight(m, *((columns, inner) if turned else (inner, columns)))
        y = m.op("MatMul", x, m.op("Transpose", w, perm=[1, 0]) if turned else w)
        kind = m.rng.choice(["", "", "Add", "Add", "Mul", "norm", "Transpose", "Sub"])
        if kind in ("Add", "Mul", "Sub"):
            c = weight(m, *m.rng.choice([(columns,), (columns,), (1, columns), (1,), ()]))
            m.op(kind, *((y, c) if kind == "Sub" or m.chance(0.6) else (c, y)))
        elif kind == "norm" and x.rank == 2:
            batch_norm(m, y)
        elif kind == "Transpose":
            m.op("Transpose", y, perm=_swapped(y.rank))


def _swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def _gemm(m: Maker, x: Val, inner: int, columns: int) -> None:
    trans_a, trans_b = m.chance(0.3), m.chance(0.5)
    attributes: dict[str, Any] = {}
    if trans_a:
        x = m.op("Transpose", x, perm=[1, 0])
        attributes["transA"] = 1
    if trans_b:
        attributes["transB"] = 1
    if m.chance(0.3):
        attributes |= {"alpha": m.rng.choice([1.0, 0.5]), "beta": m.rng.choice([1.0, 2.0, 0.0])}
    w = weight(m, *((columns, inner) if trans_b else (inner, columns)))
    bias = [weight(m, *m.rng.choice([(columns,), (1, columns), (), (1,)]))] if m.chance(0.6) else []
    y = m.op("Gemm", x, w, *bias, **attributes)
    for _ in range(m.rng.randint(0, 2)):
        kind = m.rng.choice(["Add", "Mul", "norm"])
        y = (
            batch_norm(m, y)
            if kind == "norm"
            else m.op(kind, y, weight(m, *m.rng.choice([(columns,), (1, columns), ()])))
        )


def reductions(m: Maker) -> None:
    """ReduceX with Squeeze, Unsqueeze or Flatten behind it."""
    x = m.pick((F32,), (1, 2, 3, 4), lambda v: 0 not in v.shapes[0] + v.shapes[1])
    op = m.rng.choice(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1"])
    axes = sorted(m.rng.sample(range(x.rank), m.rng.randint(1, x.rank)))
    if x.rank == 4 and m.chance(0.4):
        axes = [2, 3]
    signed = [axis - x.rank for axis in axes] if m.chance(0.3) else axes
    keepdims = m.rng.choice([1, 1, 0])
    y = reduced(m, op, x, None if m.chance(0.1) else signed, keepdims)
    if keepdims and len(y.shapes[0]) == x.rank and m.chance(0.7):
        chosen = axes if m.chance(0.7) else axes[:1]
        if all(y.dims[axis] == 1 for axis in chosen):
            squeeze(m, y, chosen)
    elif not keepdims and m.chance(0.5) and y.rank == x.rank - len(axes):
        unsqueeze(m, y, axes)
    elif m.chance(0.3):
        m.op("Div", x, y) if m.chance(0.1) else m.op("Sub", x, y)


def softmaxes(m: Maker) -> None:
    x = m.pick((F32,), (1, 2, 3, 4), lambda v: 0 not in v.shapes[0] + v.shapes[1])
    axis = m.rng.randrange(-x.rank, x.rank)
    if x.rank > 1 and m.chance(0.3):
        perm = list(range(x.rank))
        m.rng.shuffle(perm)
        turned = m.op("Softmax", m.op("Transpose", x, perm=perm), axis=axis)
        m.op("Transpose", turned, perm=[perm.index(place) for place in range(x.rank)] if m.chance(0.8) else perm)
        return
    logarithm = m.chance(0.5)
    if logarithm:  # of no share that is zero in float32
        x = m.op("Clip", x, scalar(m, -9, x), scalar(m, 9, x))
    y = m.op("Softmax", x, **({} if m.chance(0.2) else {"axis": axis}))
    if logarithm:
        m.op("Log", y)
    elif m.chance(0.4):
        m.op("ArgMax", y, axis=m.rng.randrange(x.rank), keepdims=m.rng.randint(0, 1))


def activations(m: Maker) -> None:
    """Activations written out, right or off by a constant, and as operators."""
    x = m.pick((F32,))
    off = 1 if m.chance(0.85) else 1.5
    kind = m.rng.choice(["gelu", "tanh", "silu", "hardswish", "hardsigmoid", "softplus", "mish", "prelu", "op"])
    flip = m.chance(0.5)

    def mul(a: Val, b: Val) -> Val:
        return m.op("Mul", *((b, a) if flip else (a, b)))

    if kind == "gelu":
        inner = m.op("Div", x, scalar(m, math.sqrt(2), x)) if flip else m.op("Mul", x, scalar(m, math.sqrt(0.5), x))
        term = m.op("Add", m.op("Erf", inner), scalar(m, off, x))
        mul(mul(x, term), scalar(m, 0.5, x)) if m.chance(0.5) else mul(mul(x, scalar(m, 0.5, x)), term)
    elif kind == "tanh":
        cube = m.op("Pow", x, scalar(m, 3, x)) if flip else m.op("Mul", m.op("Mul", x, x), x)
        inner = m.op("Add", x, m.op("Mul", cube, scalar(m, 0.044715, x)))
        term = m.op("Add", m.op("Tanh", m.op("Mul", inner, scalar(m, math.sqrt(2 / math.pi), x))), scalar(m, off, x))
        mul(m.op("Mul", x, scalar(m, 0.5, x)), term)
    elif kind == "silu":
        mul(x, m.op("Sigmoid", x))
    elif kind in ("hardswish", "hardsigmoid"):
        gate = m.op("Clip", m.op("Add", x, scalar(m, 3, x)), scalar(m, 0, x), scalar(m, 6 * off, x))
        if kind == "hardsigmoid":
            m.op("Div", gate, scalar(m, 6, x))
        elif m.chance(0.5):
            m.op("Div", mul(x, gate), scalar(m, 6, x))
        else:
            mul(x, m.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    elif kind in ("softplus", "mish"):
        bounded = m.op("Clip", x, scalar(m, -9, x), scalar(m, 9, x))
        soft = m.op("Softplus", bounded) if flip else m.op("Log", m.op("Add", m.op("Exp", bounded), scalar(m, off, x)))
        if kind == "mish":
            mul(bounded, m.op("Tanh", soft))
    elif kind == "prelu" and x.rank:
        channels = x.fixed(1) if x.rank > 1 else 1
        m.op("PRelu", x, weight(m, *m.rng.choice([(1,), (channels,) + (1,) * max(x.rank - 2, 0), ()])))
    else:
        newer = {"HardSigmoid": 6, "Softplus": 1, "HardSwish": 14, "Mish": 18, "Gelu": 20, "Swish": 24}
        op = m.rng.choice([op for op, since in newer.items() if m.opset >= since][-3:])
        m.op(op, x, **({"approximate": "tanh"} if op == "Gelu" and flip else {}))


def norms(m: Maker) -> None:
    """Layer and RMS normalization, written out or as operators, with scale and bias or without."""
    x = m.pick((F32,), (2, 3, 4), lambda v: v.dims[-1] is not None and v.dims[-1] > 1)
    size = x.fixed(-1)
    axes, eps = [x.rank - 1] if m.chance(0.3) else [-1], scalar(m, 1e-5, x)
    if m.opset >= 17 and m.chance(0.25):
        m.op("LayerNormalization", x, weight(m, size), *([weight(m, size)] if m.chance(0.5) else []), axis=axes[0])
        return
    if m.opset >= 23 and m.chance(0.3):
        m.op("RMSNormalization", x, weight(m, size))
        return
    rms = m.chance(0.3)
    centred = x if rms else m.op("Sub", x, reduced(m, "ReduceMean", x, axes, 1))
    square = m.op("Pow", centred, scalar(m, 2, x)) if m.chance(0.6) else m.op("Mul", centred, centred)
    deviation = m.op("Sqrt", m.op("Add", reduced(m, "ReduceMean", square, axes, 1 if m.chance(0.95) else 0), eps))
    divided = m.chance(0.7)
    y = m.op("Div", centred, deviation) if divided else m.op("Mul", centred, m.op("Reciprocal", deviation))
    if m.chance(0.7):
        y = m.op("Mul", y, weight(m, *m.rng.choice([(size,), (size,), (1,), (1, size)])))
        if m.chance(0.7):
            m.op("Add", y, weight(m, *m.rng.choice([(size,), (size,), (), (1, 1, size)])))


def attention(m: Maker) -> None:
    """Scores of queries and keys, a mask, and values; projections of one input."""
    x = m.pick((F32,), (3,), lambda v: v.dims[-1] in (4, 6, 8) and v.dims[1] is not None and 0 < v.dims[1] <= 6)
    size = x.fixed(-1)
    biased = m.chance(0.5)
    if m.chance(0.4):
        w = m.op("MatMul", x, weight(m, size, 3 * size))
        w = m.op("Add", w, weight(m, 3 * size)) if biased else w
        if m.opset < 13:
            q, k, v = m.ops("Split", w, count=3, axis=-1, split=[size] * 3)
        elif m.opset < 18 or m.chance(0.5):
            q, k, v = m.ops("Split", w, m.ints(size, size, size), count=3, axis=-1)
        else:
            q, k, v = m.ops("Split", w, count=3, axis=-1, num_outputs=3)
    else:
        rows = [m.op("MatMul", x, weight(m, size, size)) for _ in range(3)]
        q, k, v = [m.op("Add", row, weight(m, size)) if biased else row for row in rows]
    if m.opset >= 23 and m.chance(0.4):
        m.op("Attention", q, k, v, q_num_heads=2, kv_num_heads=2, **({"is_causal": 1} if m.chance(0.3) else {}))
        return
    heads = [m.op("Transpose", m.op("Reshape", t, m.ints(0, 0, 2, size // 2)), perm=[0, 2, 1, 3]) for t in (q, k, v)]
    keys = m.op("Transpose", heads[1], perm=[0, 1, 3, 2])
    scores = m.op("MatMul", heads[0], keys)
    if m.chance(0.7):
        op, factor = m.rng.choice([("Div", math.sqrt(size / 2)), ("Mul", 0.7)])
        scores = m.op(op, scores, scalar(m, factor, x))
    if m.chance(0.3):
        scores = m.op("Add", scores, weight(m, 1, 1, 1, 1))
    mixed = m.op("MatMul", m.op("Softmax", scores, axis=-1), heads[2])
    m.op("Reshape", m.op("Transpose", mixed, perm=[0, 2, 1, 3]), m.ints(0, 0, size))


def layouts(m: Maker) -> None:
    """DepthToSpace and Einsum, which are other operators in disguise."""
    kind = m.rng.choice(["depth", "space", "einsum"])
    if kind == "einsum":
        x = m.pick((F32,), (2, 3), lambda v: v.dims[-1] is not None and v.dims[-1] > 0)
        equation = "ij,jk->ik" if x.rank == 2 else m.rng.choice(["bij,jk->bik", "aij,jb->aib"])
        m.op("Einsum", x, weight(m, x.fixed(-1), 3), equation=equation)
        return
    x = image(m)
    block, per = x.dims[2:], x.fixed(1)
    if kind == "depth" and per % 4 == 0:
        m.op("DepthToSpace", x, blocksize=2, mode=m.rng.choice(["DCR", "CRD"]))
    elif all(size is not None and size % 2 == 0 for size in block):
        m.op("SpaceToDepth", x, blocksize=2)
    else:
        raise Unfit("not in blocks")


def resizes(m: Maker) -> None:
    """Resize by scales or to sizes, of rows, images and volumes; labels behind it."""
    x = image(m, m.rng.choice([3, 4, 4, 5]))
    labels = m.chance(0.3)
    mode = "nearest" if labels or m.chance(0.5) else "linear"
    coordinates = m.rng.choice(["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"])
    rounding = {"nearest_mode": m.rng.choice(["floor", "round_prefer_floor"])} if mode == "nearest" else {}
    roi = m.constant(np.zeros(0, np.float32), node=False) if m.opset < 13 else None
    if m.chance(0.7) or None in x.dims:
        scales = [1, 1, *(m.rng.choice([2, 2, 3]) for _ in range(x.rank - 2))]
        by: list[Val | None] = [m.constant(np.array(scales, np.float32))]
    else:
        sizes = [size * (1 if axis < 2 else m.rng.choice([2, 2, 3])) for axis, size in enumerate(x.shape)]
        by = [m.constant(np.zeros(0, np.float32), node=False) if m.opset < 13 else None, m.ints(*sizes)]
    y = m.op("Resize", x, roi, *by, mode=mode, coordinate_transformation_mode=coordinates, **rounding)
    if labels:
        m.op("ArgMax", y, axis=1, keepdims=m.rng.randint(0, 1))


def samples(m: Maker) -> None:
    """GridSample, and boxes for NonMaxSuppression."""
    if m.chance(0.5):
        x = m.pick((F32,), (4,), lambda v: None not in v.dims and 0 not in v.dims and v.fixed(1) <= 4)
        grid = m.op("Tanh", weight(m, x.fixed(0), 2, 3, 2))
        padding = m.rng.choice(["zeros", "zeros", "border"])
        m.op("GridSample", x, grid, align_corners=m.rng.randint(0, 1), padding_mode=padding)
        return
    if m.parent is not None:
        raise Unfit("as many rows as boxes are left")
    boxes = m.constant(np.array([[[0, 0, 1, 1], [0, 0, 1, 1.1], [2, 2, 3, 3]]], np.float32))
    scores = m.op("Sigmoid", weight(m, 1, 1, 3))
    name = m.fresh("nms")
    limits = [m.constant(np.array(2, np.int64)), m.constant(np.array(0.5, np.float32))]
    names = [boxes.name, scores.name, *(limit.name for limit in limits)]
    rows = ((0, 3), (1, 3))  # the first size is not known: it differs between the runs, as far as is known here
    m.raw(helper.make_node("NonMaxSuppression", names, [name]), [Val(name, I64, rows)])


def chunks(m: Maker) -> None:
    """Channels split, treated apart and joined."""
    x = m.pick((F32,), (2, 3, 4), lambda v: v.dims[1] in (2, 4, 6, 8))
    parts = split(m, x, 1)
    if m.chance(0.5):
        parts = [m.op(m.rng.choice(["Relu", "Identity", "Neg"]), part) for part in parts]
    m.op("Concat", *parts, axis=1)


PARTS = [
    (pads, 3), (convs, 7), (stacks, 3), (batch_norms, 2), (pools, 5), (products, 6), (reductions, 4), (softmaxes, 3),
    (activations, 5), (norms, 3), (attention, 2), (layouts, 3), (resizes, 3), (samples, 1), (chunks, 1),
]  # fmt: skip
