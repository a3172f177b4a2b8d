"""Parts of random graphs that compute element by element, compare and choose; see randomgraphs."""

from __future__ import annotations

import numpy as np
from onnx import helper
from randomforms import operand, reduced, scalar
from randomgraphs import BOOL, F16, F32, F64, FLOATS, I32, I64, INTS, Maker


def elementwise(m: Maker) -> None:
    x = m.pick((F32, F32, F32, F64, I64, I32))  # onnxruntime computes float16 in float32, and rounds where it likes
    if x.dtype in INTS:
        m.op(m.rng.choice(["Neg", "Abs", "Sign"]), x)
        return
    ops = ["Relu", "Neg", "Abs", "Tanh", "Sigmoid", "Softsign", "Floor", "Ceil", "Elu", "LeakyRelu"]
    m.op(m.rng.choice(ops[:-2] if x.dtype == F64 else ops), x)


def repeats(m: Maker) -> None:
    """Chains of operators that do their work once, or undo each other."""
    x = m.pick((F32, F32, F64, I64))
    groups = [["Neg", "Abs"], ["Sign"]]
    if x.dtype not in INTS:
        groups = [["Relu", "Abs"], ["Neg"], ["Floor", "Ceil", "Round"], ["Sigmoid", "Relu"], ["Sign"]]
    ops = m.rng.choice(groups)
    for _ in range(m.rng.randint(2, 4)):
        x = m.op(m.rng.choice(ops), x)


def neutral(m: Maker) -> None:
    """Arithmetic with constants that are often neutral."""
    x = m.pick((F32, F32, F64, I64, I32))
    for _ in range(m.rng.randint(1, 4)):
        op, kind = m.rng.choice([
            ("Add", "zero"), ("Sub", "zero"), ("Mul", "one"), ("Div", "one"), ("Pow", "one"), ("Add", ""), ("Mul", ""),
            ("Sub", ""), ("Mul", "zero"), ("Div", "level"), ("Pow", "level"),
        ])  # fmt: skip
        if op in ("Div", "Pow") and x.dtype in INTS:
            kind = "one"
        c = operand(m, x, kind)
        x = m.op(op, *((c, x) if m.chance(0.3) and op in ("Add", "Mul", "Sub") else (x, c)))


def pairs(m: Maker) -> None:
    """Arithmetic of two values, also of one with itself, and of lone operands."""
    x = m.pick((F32, F32, I64))
    y = x if m.chance(0.2) else m.pick((x.dtype,), fits=lambda v: v.shapes == x.shapes)
    ops = ["Add", "Sub", "Mul", "Max", "Min"] if x.dtype in INTS else ["Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"]
    op = m.rng.choice(ops)
    if op in ("Max", "Min", "Sum", "Mean"):
        inner = m.op(op, *[x, y][: m.rng.randint(1, 2)])
        m.op(m.rng.choice([op, op, "Max"]), *m.rng.choice([[inner, x], [x, inner, y], [inner], [inner, inner]]))
    else:
        m.op(op, x, y)


def clips(m: Maker) -> None:
    """Clip, Relu, Max and Min in a row."""
    x = m.pick((F32, F32, F64, I64, I32) if m.opset >= 12 else (F32,))
    for _ in range(m.rng.randint(2, 4)):
        op = m.rng.choice(["Clip", "Clip", "Relu", "Max", "Min"])
        if op == "Relu" and x.dtype in FLOATS:
            x = m.op("Relu", x)
        elif op in ("Max", "Min") and x.dtype != F16:
            x = m.op(op, x, operand(m, x))
        else:
            low, high = sorted(m.rng.choice([-3, -1, 0, 0, 1, 2, 6]) for _ in range(2))
            if m.chance(0.1):
                low, high = high, low
            bounds = [scalar(m, number, x) if m.chance(0.8) else None for number in (low, high)]
            x = m.op("Clip", x, *bounds)


def wheres(m: Maker) -> None:
    x = m.pick((F32, F32, I64))
    if m.chance(0.5):
        ops = ["Greater", "Less", "Equal"] if x.dtype in INTS else ["Greater", "Less"]
        c = m.op(m.rng.choice(ops), x, operand(m, x))
    else:
        flags = m.rng.choice([np.array(True), np.array(False), np.array([True]), np.array([True, False])[:, None]])
        c = m.constant(flags) if m.chance(0.8) else m.pick((BOOL,), range(3))
    for _ in range(m.rng.randint(0, 2)):
        c = m.rng.choice([
            lambda c: m.op("Not", c),
            lambda c: m.op("And", c, m.constant(np.array(m.chance(0.7)))),
            lambda c: m.op("Or", c, m.constant(np.array(m.chance(0.3)))),
            lambda c: m.op(m.rng.choice(["And", "Or"]), c, c),
        ])(c)  # fmt: skip
    y = m.rng.choice([x, operand(m, x)])
    row = [x, y] if m.chance(0.7) else [operand(m, x), operand(m, x)]
    m.rng.shuffle(row)
    m.op("Where", c, *row)


def again(m: Maker) -> None:
    """Equal expressions, with operands in another order, and equal weights under two names."""
    x = m.pick((F32,), (1, 2, 3, 4))
    c = operand(m, x, "mixed")
    assert c.data[0] is not None
    copy = m.constant(c.data[0].copy())
    one = m.op("Add", x, c)
    two = m.op("Add", *((c, x) if m.chance(0.5) else (x, copy)))
    ops = m.rng.choice([("Exp", "Exp"), ("Tanh", "Tanh"), ("Relu", "Abs")])
    m.op("Sub", m.op(ops[0], one), m.op(ops[1], two))


def folds(m: Maker) -> None:
    """Nodes on constants only, and what reads them."""
    x = m.pick((F32, F32, I64), range(1, 5))
    c = operand(m, x)
    for _ in range(m.rng.randint(1, 3)):
        if x.dtype in INTS:
            c = m.op(m.rng.choice(["Neg", "Abs", "Identity"]), c)
        else:
            c = m.op(m.rng.choice(["Neg", "Abs", "Identity", "Relu", "Floor", "Sqrt"]), c)
    if m.chance(0.4):
        shape = m.ints(*m.rng.choice([[], [1], [2, 1], [0]]))
        value = helper.make_tensor("v", x.dtype, [1], [m.rng.choice([0, 1, 2])])
        filled = m.op("ConstantOfShape", shape, value=value)
        c = m.op("Add", c, filled)
    m.op(m.rng.choice(["Add", "Mul"]), x, c)


def integers(m: Maker) -> None:
    """Index arithmetic in 64 bits, as exporters write it for token ids and masks."""
    x = m.pick((I64, I64, I32), range(1, 4))
    for _ in range(m.rng.randint(1, 3)):
        op = m.rng.choice(["Add", "Mul", "Sub", "Max", "Min", "Concat", "Mod", "ReduceSum", "ArgMax", "CumSum"])
        if op == "Concat":
            x = m.op("Concat", x, x, axis=0)
        elif op == "Mod":
            x = m.op("Mod", x, scalar(m, m.rng.choice([2, 3]), x))
        elif op == "ReduceSum":
            x = reduced(m, "ReduceSum", x, [0], 1)
        elif op == "ArgMax" and x.rank and 0 not in x.shapes[1]:
            x = m.op("ArgMax", x, axis=0, keepdims=m.rng.randint(0, 1))
        elif op == "CumSum" and x.rank:
            x = m.op("CumSum", x, m.constant(np.array(0, np.int64)))
        elif op in ("Max", "Min") and m.opset < 12:
            x = m.op("Neg", x)
        else:
            x = m.op(op if op in ("Add", "Mul", "Sub", "Max", "Min") else "Add", x, operand(m, x))
    if m.chance(0.4):
        m.op("Less", x, operand(m, x))
    else:
        m.op("Cast", x, to=m.rng.choice([F32, I32, BOOL]))


PARTS = [
    (elementwise, 4), (repeats, 3), (neutral, 4), (pairs, 3), (clips, 3), (wheres, 3), (again, 2), (folds, 2),
    (integers, 2),
]  # fmt: skip
