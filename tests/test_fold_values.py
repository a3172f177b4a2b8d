"""What is computed in this process while constants are folded is what onnxruntime computes, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from graphtool import kernels
from graphtool.graph.text import parse_nodes
from graphtool.natives._evaluate import EVALUATORS, Undefined, evaluate

Array = NDArray[Any]
LIMIT = 1 << 24
INTS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
FLOATS = (np.float32, np.float64)
RNG = np.random.default_rng(5)


def judge(node: NodeProto, arrays: dict[str, Array], opset: int) -> list[Array]:
    """Return what onnxruntime makes of a node, its optimizations off."""
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    infos = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "g", [], infos, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    session = ort.InferenceSession(
        model.SerializeToString(), kernels.options(threads=1), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {}))


def bits(array: Array) -> bytes:
    """Return the bytes of an array; every NaN is the same one."""
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return np.ascontiguousarray(array).tobytes()


def check(text: str, opset: int = 17, **arrays: Array) -> None:
    """Hold a node's value computed here to onnxruntime's: bits, type and shape."""
    (node,) = parse_nodes(text)
    own = evaluate(node, opset, [arrays[name] if name else None for name in node.input], LIMIT)
    assert own is not None, text
    for mine, theirs in zip(own, judge(node, arrays, opset), strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), text
        assert bits(mine) == bits(theirs), text


def floats(dtype: type, count: int = 6000) -> Array:
    """Return random bit patterns, ordinary numbers, and each special one, in random order."""
    info = np.finfo(dtype)
    word = f"u{np.dtype(dtype).itemsize}"
    special = [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5, -1.5, 2.5, info.tiny, info.smallest_subnormal, info.max]
    parts = [
        RNG.integers(0, np.iinfo(word).max, count, np.dtype(word).type, endpoint=True).view(dtype),
        RNG.normal(size=count).astype(dtype),
        RNG.choice(np.array(special, dtype), count),
    ]
    return RNG.permutation(np.concatenate(parts))


def integers(dtype: type, count: int = 4000) -> Array:
    info = np.iinfo(dtype)
    anything = RNG.integers(info.min, info.max, count, dtype, endpoint=True)
    return RNG.permutation(np.concatenate([anything, np.array([info.min, info.max, 0, 1] * 50, dtype)]))


# -- arithmetic


@pytest.mark.parametrize("dtype", [*INTS, *FLOATS], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_arithmetic(op: str, dtype: type) -> None:
    a, b = (floats(dtype), floats(dtype)) if dtype in FLOATS else (integers(dtype), integers(dtype))
    check(f"y = {op}(a, b)", a=a, b=b)
    check(f"y = {op}(a, b)", a=a[:60].reshape(3, 1, 20), b=b[:8].reshape(4, 2)[:, :1])
    check(f"y = {op}(a, b)", a=a, b=b[0].reshape(()))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("op", "Abs Neg Sqrt Reciprocal Floor Ceil Round".split())
def test_functions_of_one_float(op: str, dtype: type) -> None:
    check(f"y = {op}(a)", a=floats(dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
def test_division_and_remainder_of_floats(dtype: type) -> None:
    a, b = floats(dtype), floats(dtype)
    check("y = Div(a, b)", a=a, b=b)
    check("y = Div(a, b)", a=a, b=np.array(3, dtype))
    check("y = Mod<fmod=1>(a, b)", a=a, b=b)


@pytest.mark.parametrize("dtype", INTS, ids=lambda dtype: dtype.__name__)
def test_division_and_remainder_of_integers(dtype: type) -> None:
    a, b = integers(dtype), integers(dtype)
    b[b == 0] = 3
    if np.iinfo(dtype).min < 0:
        b[b == -1] = -2
    b[::3] = 7
    for text in ("y = Div(a, b)", "y = Mod(a, b)", "y = Mod<fmod=1>(a, b)"):
        check(text, a=a, b=b)


@pytest.mark.parametrize("text", ["y = Div(a, b)", "y = Mod(a, b)"])
@pytest.mark.parametrize(
    "a,b,reason",
    [([1, 2], [1, 0], "of integers by zero"), ([-(2**31)], [-1], "of the least integer by -1")],
)
def test_a_division_that_would_kill_the_process_has_no_value(
    text: str, a: list[int], b: list[int], reason: str
) -> None:
    (node,) = parse_nodes(text)
    with pytest.raises(Undefined, match=reason):
        evaluate(node, 17, [np.array(a, np.int32), np.array(b, np.int32)], LIMIT)


def test_integers() -> None:
    a, b, c = integers(np.int64), integers(np.int64), integers(np.int64)
    check("y = Max(a, b, c)", a=a, b=b, c=c)
    check("y = Min(a, b)", a=a[:6].reshape(2, 3), b=b[:3])
    check("y = Neg(a)", a=a)
    check("y = Abs(a)", a=integers(np.int32))
    for start, limit, delta in ((0, 7, 2), (5, -6, -3), (3, 3, 1), (4, 9, -1)):
        check("y = Range(a, b, c)", a=np.array(start), b=np.array(limit), c=np.array(delta))


@pytest.mark.parametrize("dtype", [*INTS, *FLOATS], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("op", "Equal Greater GreaterOrEqual Less LessOrEqual".split())
def test_comparisons(op: str, dtype: type) -> None:
    a, b = (floats(dtype), floats(dtype)) if dtype in FLOATS else (integers(dtype), integers(dtype))
    b[::2] = a[::2]
    check(f"y = {op}(a, b)", a=a, b=b)


def test_logic() -> None:
    a, b = np.array([[True], [False]]), np.array([True, False, True])
    for op in ("And", "Or", "Xor", "Equal"):
        check(f"y = {op}(a, b)", a=a, b=b)
    check("y = Not(a)", a=a)


@pytest.mark.parametrize("source", [*INTS, *FLOATS, np.bool_], ids=lambda dtype: dtype.__name__)
def test_casts(source: type) -> None:
    data = floats(source) if source in FLOATS else np.array([True, False]) if source is np.bool_ else integers(source)
    for target in (*INTS, *FLOATS, np.bool_):
        code = helper.np_dtype_to_tensor_dtype(np.dtype(target))
        fits = data
        if source in FLOATS and target in INTS:  # elsewhere C++ says nothing
            info = np.iinfo(target)
            with np.errstate(invalid="ignore"):
                wide = np.nan_to_num(data.astype(np.float64), nan=np.inf)
            fits = data[(np.trunc(wide) >= info.min) & (np.trunc(wide) < float(info.max) + (info.max < 2**53))]
            assert len(fits) > 100
        check(f"y = Cast<to={code}>(a)", a=fits)
        check("y = CastLike(a, b)", a=fits, b=np.zeros(1, target))


@pytest.mark.parametrize(
    "value,target",
    [
        (np.float32(2.0**31), 6),
        (np.float32(np.nan), 7),
        (np.float64(-1.5), 2),
        (np.float32(2.0**63), 7),
        (np.int32(1), 10),
    ],
)
def test_a_cast_that_differs_by_machine_or_rounds_to_float16_is_left(value: Any, target: int) -> None:
    (node,) = parse_nodes(f"y = Cast<to={target}>(a)")
    assert evaluate(node, 17, [np.array([value])], LIMIT) is None


@pytest.mark.parametrize("op", "ReduceMax ReduceMin ReduceProd ReduceSum".split())
def test_reductions_of_integers(op: str) -> None:
    data = RNG.integers(-9, 9, (2, 3, 4))
    old = 12 if op == "ReduceSum" else 17
    for dtype in (np.int32, np.int64):
        a = data.astype(dtype)
        check(f"y = {op}(a)", a=a)
        check(f"y = {op}<axes=[0,-1], keepdims=0>(a)", opset=old, a=a)
        check(f"y = {op}(a, b)", opset=18, a=a, b=np.array([1]))
        check(f"y = {op}<noop_with_empty_axes=1>(a)", opset=18, a=a)


def test_a_sum_that_overflows_is_left() -> None:
    for op in ("ReduceSum", "ReduceProd"):
        (node,) = parse_nodes(f"y = {op}(a)")
        assert evaluate(node, 13, [np.array([2**62, 2**62])], LIMIT) is None


# -- moves: the same code for each type


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.bool_], ids=lambda dtype: dtype.__name__)
def test_moves(dtype: type) -> None:
    a = RNG.integers(0, 2, (2, 3, 4)).astype(dtype)
    i = lambda *items: np.array(items, np.int64)  # noqa: E731
    check("y = Identity(a)", a=a)
    check("y = Reshape(a, b)", a=a, b=i(0, -1, 2))
    check("y = Reshape<allowzero=1>(a, b)", a=a[:0], b=i(0, 7))
    check("y = Flatten<axis=2>(a)", a=a)
    check("y = Flatten<axis=-3>(a)", a=a)
    check("y = Transpose(a)", a=a)
    check("y = Transpose<perm=[1,2,0]>(a)", a=a)
    check("y = Squeeze(a)", a=a[:1, :, :1])
    check("y = Squeeze(a, b)", a=a[:1, :, :1], b=i(-1))
    check("y = Squeeze<axes=[0]>(a)", opset=11, a=a[:1, :, :1])
    check("y = Unsqueeze(a, b)", a=a, b=i(-1, 0))
    check("y = Unsqueeze<axes=[0,3]>(a)", opset=11, a=a)
    check("y = Concat<axis=-1>(a, b, a)", a=a, b=a[..., :1])
    check("x, y = Split<axis=1>(a, b)", a=a, b=i(1, 2))
    check("x, y = Split<axis=2>(a)", a=a)
    check("x, y = Split<axis=1, split=[2,1]>(a)", opset=11, a=a)
    check("x, y = Split<axis=1, num_outputs=2>(a)", opset=18, a=a)
    check("y = Gather<axis=1>(a, b)", a=a, b=np.array([[0, -1], [2, 1]]))
    check("y = Gather<axis=-1>(a, b)", a=a, b=np.array(-2, np.int32))
    check("y = Expand(a, b)", a=a[:, :1], b=i(2, 1, 3, 4))
    check("y = Tile(a, b)", a=a, b=i(2, 1, 2))
    check("y = Shape(a)", a=a)
    check("y = Shape<start=-2, end=5>(a)", a=a)
    check("y = Size(a)", a=a)
    check("y = NonZero(a)", a=a)
    if dtype is not np.bool_:  # which onnxruntime lacks
        check("y = Where(c, a, b)", a=a, b=a[:1, ::-1], c=np.array([True, False, True, True]))


def test_slices() -> None:
    a = RNG.integers(0, 99, (5, 6)).astype(np.float32)
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    for start in (-99, -5, -1, 0, 2, 5, 99):
        for end in (least, -6, -1, 0, 3, 5, most):
            for step in (1, 2, -1, -3) if end != most else (1, 2):  # backwards from the largest: left
                args = {"b": np.array([start]), "e": np.array([end]), "x": np.array([-2]), "s": np.array([step])}
                check("y = Slice(a, b, e, x, s)", a=a, **args)
    check("y = Slice(a, b, e)", a=a, b=np.array([1, 2], np.int32), e=np.array([3, 5], np.int32))
    check("y = Slice<starts=[1,-3], ends=[-1,100]>(a)", opset=9, a=a)
    check("y = Slice<starts=[1], ends=[3], axes=[1]>(a)", opset=9, a=a)
    check("y = Slice(a, b, e, x, s)", a=a[:0], b=np.array([3]), e=np.array([least]), x=np.array([0]), s=np.array([-1]))


def test_new_tensors() -> None:
    check("y = ConstantOfShape(a)", a=np.array([2, 3]))
    check("y = ConstantOfShape<value = int32[1] {7}>(a)", a=np.array([0, 3]))
    check("y = ConstantOfShape<value = bool[1] {1}>(a)", a=np.array([], np.int64))
    for upper in (0, 1):
        for k in (-1, 0, 2):
            check(f"y = Trilu<upper={upper}>(a, k)", a=floats(np.float32)[:24].reshape(2, 3, 4), k=np.array(k))


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, -2, 3, -4, 5, -6], ml_dtypes.int4),
        np.array([1, 2, 3, 4, 5, 6], ml_dtypes.bfloat16),
        np.array([1, 2, 3, 4, 5, 6], ml_dtypes.float8_e4m3fn),
        np.array([b"\xff", b"b", "ü".encode(), b"", b"e", b"f"], object),
    ],
    ids=["int4", "bfloat16", "float8", "text"],
)
def test_types_without_a_numpy_form_are_moved(array: Array) -> None:
    def result(text: str, *inputs: Array) -> list[Any]:
        (node,) = parse_nodes(text)
        found = evaluate(node, 21, inputs, LIMIT)
        assert found is not None and found[0].dtype == array.dtype
        return list(found[0].reshape(-1))

    a, b, c, d, e, f = array
    table = array.reshape(2, 3)
    assert result("y = Transpose(a)", table) == [a, d, b, e, c, f]
    assert result("y = Concat<axis=0>(a, b)", array[:1], array[4:]) == [a, e, f]
    assert result("y = Gather(a, b)", array, np.array([-1, 0])) == [f, a]
    assert result("y = Tile(a, b)", array[:2], np.array([2])) == [a, b, a, b]
    assert result("y = Where(a, b, c)", np.array([True, False]), array[:2], array[2:4]) == [a, d]


# -- what is left


@pytest.mark.parametrize(
    "text,opset,arrays",
    [
        ("y = Exp(a)", 17, [np.ones(2, np.float32)]),
        ("y = Add(a, b)", 17, [np.ones(2, np.float16), np.ones(2, np.float16)]),
        ("y = Add<broadcast=1>(a, b)", 6, [np.ones((2, 2), np.float32), np.ones(2, np.float32)]),
        ("y = Reshape(a, b)", 17, [np.ones((0, 2), np.float32), np.array([0, -1])]),
        ("y = Squeeze(a, b)", 17, [np.ones(1, np.float32), np.array([], np.int64)]),
        ("y = Cast<to=8>(a)", 17, [np.ones(1, np.float32)]),
        ("y = Gather(a, b)", 17, [np.ones(2, np.float32), np.array([2])]),
        ("y = Reshape(a, b)", 17, [np.ones(3, np.float32), np.array([2, 2])]),
        ("y = Max(a, b)", 17, [np.ones(1, np.float32), np.ones(1, np.float32)]),
        ("x, y = Split<axis=0>(a)", 17, [np.ones(3, np.float32)]),
    ],
)
def test_what_is_not_computed_here(text: str, opset: int, arrays: list[Array]) -> None:
    (node,) = parse_nodes(text)
    assert evaluate(node, opset, arrays, LIMIT) is None


@pytest.mark.parametrize(
    "text", ["y = Add(a, b)", "y = Concat<axis=0>(a, b)", "y = Where(c, a, b)", "y = Cast<to=11>(a)"]
)
def test_results_over_the_limit_are_not_computed(text: str) -> None:
    (node,) = parse_nodes(text)
    given = {"a": np.ones(64, np.float32), "b": np.ones(64, np.float32), "c": np.ones((2, 64), np.bool_)}
    assert evaluate(node, 17, [given[name] for name in node.input], 200) is None
    assert evaluate(node, 17, [given[name] for name in node.input], 512) is not None


def test_every_evaluator_is_tested_here() -> None:
    text = Path(__file__).read_text()
    assert [op for op in EVALUATORS if op not in text and op not in ("Dropout",)] == []
