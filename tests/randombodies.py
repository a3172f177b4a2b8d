"""Parts of random graphs that are control flow and local functions, and all parts with their weights."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, helper
from randomforms import reduced, scalar
from randomgraphs import BOOL, F32, I64, Maker, Part, Unfit, Val, attempt
from randomlayers import PARTS as LAYERS
from randomlayers import activations, products, reductions, softmaxes
from randommoves import PARTS as MOVES
from randomvalues import PARTS as VALUES


def _body(m: Maker) -> Maker:
    if m.parent is not None:
        raise Unfit("deep enough")
    return Maker(m.rng, m.model, m)


def _wander(body: Maker, x: Val, steps: int) -> Val:
    """Let a few parts write into a body, and return a value of type and shape of ``x`` made of what they made."""
    inner: list[Part] = [part for part, _ in [*MOVES, *VALUES]] + [products, reductions, softmaxes, activations]
    for _ in range(steps):
        attempt(body, body.rng.choice(inner))
    made = [v for v in body.pool if v.dtype == x.dtype and v.name != x.name]
    fitting = [v for v in made if v.shapes == x.shapes]
    produced = {name for node in body.nodes for name in node.output}
    found = body.rng.choice(fitting) if fitting else x
    if not fitting and made and x.dtype == F32:
        total = reduced(body, "ReduceMax", body.op("Clip", made[-1], scalar(body, -2, x), scalar(body, 2, x)), None, 0)
        return body.op("Add", x, total)
    return found if found.name in produced else body.op("Identity", found)


def _plain(m: Maker) -> Val:
    return m.pick((F32, F32, I64), range(1, 5), lambda v: 0 not in v.shapes[0] + v.shapes[1])


def _condition(m: Maker) -> Val:
    kind = m.rng.choice(["constant", "constant", "input", "computed", "size"])
    if kind == "constant":
        return m.constant(np.array(m.chance(0.5)))
    if kind == "computed":
        return m.op("Not", m.constant(np.array(m.chance(0.5))))
    if kind == "input":
        return m.pick((BOOL,), (0,))
    x = m.pick((F32,), range(1, 5))
    size = m.op("Gather", m.op("Shape", x), m.constant(np.array(0, np.int64)))
    return m.op("Equal", size, m.constant(np.array(1, np.int64)))


def branches(m: Maker) -> None:
    """An If over values outside, with a condition that is constant or not."""
    condition, x = _condition(m), _plain(m)
    graphs = []
    for stem in ("then", "else"):
        body = _body(m)
        y = _wander(body, x, m.rng.randint(1, 2))
        graphs.append(helper.make_graph(body.nodes, m.fresh(stem), [], [y.info()], body.weights))
    name = m.fresh("if")
    node = helper.make_node("If", [condition.name], [name], then_branch=graphs[0], else_branch=graphs[1])
    m.raw(node, [Val(name, x.dtype, x.shapes)])


def loops(m: Maker) -> None:
    """A Loop with a small or an open number of trips, carried values and what it collects."""
    x = _plain(m)
    constant = m.chance(0.7)
    count = m.rng.choice([0, 1, 1, 2, 3])
    trips = m.constant(np.array(count, np.int64)) if constant else m.pick((I64,), (0,))
    body = _body(m)
    at = Val(m.fresh("it"), I64, ((), ()))
    go = Val(m.fresh("go"), BOOL, ((), ()))
    carried = Val(m.fresh("carried"), x.dtype, x.shapes)
    body.pool += [carried] if m.chance(0.7) else [carried, at]
    y = _wander(body, carried, m.rng.randint(1, 2))
    on = body.op("Identity", go) if m.chance(0.7) else body.op("And", go, body.constant(np.array(True)))
    outputs, found = [on, y], [Val(m.fresh("loop"), x.dtype, x.shapes)]
    if constant and count and m.chance(0.4):  # of no trips onnxruntime makes a scan of any shape
        outputs.append(body.op("Identity", y))
        found.append(Val(m.fresh("scan"), x.dtype, ((count, *x.shapes[0]), (count, *x.shapes[1]))))
    inputs = [at.info(), go.info(), carried.info()]
    graph = helper.make_graph(body.nodes, m.fresh("body"), inputs, [v.info() for v in outputs], body.weights)
    start = m.constant(np.array(True)) if m.chance(0.6) else None
    names = [trips.name, start.name if start is not None else "", x.name]
    m.raw(helper.make_node("Loop", names, [v.name for v in found], body=graph), found)


def functions(m: Maker) -> None:
    """A call of a local function, one of which takes an attribute."""
    if m.parent is not None:
        raise Unfit("functions are called in the main graph")
    x = m.pick((F32,))
    imports = [helper.make_opsetid("", m.opset)]
    if m.chance(0.5):
        nodes = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
        function = helper.make_function("local", "Gate", ["a"], ["b"], nodes, imports)
    else:
        value = helper.make_node("Constant", [], ["k"])
        reference = AttributeProto(name="value_float", ref_attr_name="factor", type=AttributeProto.FLOAT)
        value.attribute.append(reference)
        nodes = [value, helper.make_node("Identity", ["a"], ["i"]), helper.make_node("Mul", ["i", "k"], ["b"])]
        function = helper.make_function("local", "Times", ["a"], ["b"], nodes, imports, ["factor"])
    if m.opset < 13 and function.name == "Times":
        raise Unfit("Constant takes a number since opset 12")
    m.model.functions[function.name] = function
    for _ in range(m.rng.randint(1, 2)):
        name = m.fresh("fun")
        attributes = {"factor": m.rng.choice([1.0, 2.0])} if function.name == "Times" else {}
        node = helper.make_node(function.name, [x.name], [name], domain="local", **attributes)
        x = Val(name, F32, x.shapes)
        m.raw(node, [x])


PARTS = [*MOVES, *VALUES, *LAYERS, (branches, 3), (loops, 3), (functions, 1)]
