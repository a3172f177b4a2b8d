"""The expression language of pass files: what it allows, what it means, and that no text can hurt."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphtool.data import data_dir
from graphtool.errors import PassError
from graphtool.rewrite import functions_values
from graphtool.rewrite.expr import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, Expr, ExprError, TensorRef
from graphtool.rewrite.functions_values import MAX_ELEMENTS, MAX_ITEMS, Tensors
from graphtool.rewrite.matrices import MODES, interp_matrix, pool_matrix
from graphtool.rewrite.passfile import load_pass
from graphtool.rewrite.rule import Rule


def constant(value: Any, name: str = "model.weight") -> TensorRef:
    array = np.asarray(value)
    code = helper.np_dtype_to_tensor_dtype(array.dtype)
    return TensorRef(name, code, array.shape, lambda: array, uses=1)


BFLOAT16 = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
ENV: Mapping[str, object] = {
    "x": TensorRef("images", TensorProto.FLOAT, ("N", 3, 32, 64), uses=2),
    "u": TensorRef("mystery"),
    "d": TensorRef("ragged", TensorProto.FLOAT, (None, None)),
    "h": TensorRef("half", TensorProto.FLOAT16, (2,)),
    "gone": TensorRef("", present=False),
    "w": constant(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "s": constant(np.float32(0.5)),
    "v": constant(np.array([4.0, 9.0], np.float32)),
    "size": constant(np.array([6, 6], np.int64)),
    "words": constant(np.array(["a", "b"], dtype=object)),
    "b16": constant(np.array([1.5, 2.0], BFLOAT16)),
    "arr": np.array([1, 2, 3], np.int32),
    "many": Tensors((constant(np.array([4.0, 9.0], np.float32)), constant(np.array([4.0, 9.0], np.float32)))),
    "pair": TensorRef("pair", TensorProto.FLOAT, (1, 2)),
    "unit": TensorRef("unit", TensorProto.FLOAT, ("N", 1)),
    "k": 3,
    "p": [0, 2, 3, 1],
    "q": [0, 3, 1, 2],
    "name": "/ppm/Resize",
    "nothing": None,
    "@eps": 1e-5,
    "@axis": 1,
    "@k": 99,
}


def value(text: str, env: Mapping[str, object] = ENV) -> Any:
    return Expr.parse(text).evaluate(env)


# --- values -----------------------------------------------------------------------------------------------------------

PLAIN = {
    "type_code('float32')": 1,
    "lowest('int8')": -128,
    "highest('uint16')": 65535,
    "lowest('float16') < highest('float32')": True,
    "widens('int8', 'float16') and widens('bool', 'int8') and widens(1, 'float64')": True,
    "widens('int32', 'float32') or widens('float32', 'float16')": False,
    "widens('int8', 'uint16') or widens('uint8', 'int8')": False,
    "elements(size)": [6, 6],
    "elements([1, 2])": [1, 2],
    "extents(many, 0)": [2, 2],
    "unchanged(x, [0, 3, -1, 64])": True,
    "unchanged(x, [0, 3, 64, -1])": False,
    "unchanged(x, [-1, 3, 32, 128])": False,
    "unchanged(x, [0, 3, 32])": False,
    "can_reshape(x)": True,
    "can_reshape(d)": False,
    "reshape_dims(x)": [-1, 3, 32, 64],
    "sorted([3, 1, 2])": [1, 2, 3],
    "repeat(0, 3)": [0, 0, 0],
    "reshape_as(x, ['N', 96, 64], ['N', 96, 64])": [0, 96, 64],
    "reshape_as(x, ['?', 64], [96, 64])": [96, 64],
    "reshape_as(x, ['?', 64], ['?', 64])": [-1, 64],
    "earlier_axes([0, 2, 1], [2, 4, 6], [2, 4, 2, 3])": [0, 2, 3, 1],
    "earlier_dims([0, 2, 1], ['N', 4, 6], ['N', 4, 2, 3])": [-1, 2, 3, 4],
    "keeps_order([1, 0], unit)": True,
    "keeps_order([0, 2, 1, 3], x)": False,
    "joined_axes([1], [-3], 4)": [1, 2],
    "same_or([1, 3], [2, 3], 1)": True,
    "same_or([1, 4], [2, 3], 1) or same_or([1], [1, 2], 1)": False,
    "disjoint([0, 1], [2])": True,
    "disjoint([0, 1], [1])": False,
    "wrapped([-1, 0], 4)": [3, 0],
    "order(nothing, x)": [3, 2, 1, 0],
    "order(p, x)": [0, 2, 3, 1],
    "full_pads([1, 2], [-1], 3)": [0, 0, 1, 0, 0, 2],
    "1 + 2 * 3 - 4": 3,
    "7 // 2 + 7 % 4 + 1 / 2": 6.5,
    "-7 // 2": -4,
    "-k": -3,
    "true and not false": True,
    "True == true": True,
    "None": None,
    "'it\\'s @a #1'": "it's @a #1",
    "[1, 2] + [k]": [1, 2, 3],
    "(1, 2)": [1, 2],
    "()": [],
    "'a' + \"b\"": "ab",
    "p[1]": 2,
    "p[-1]": 1,
    "p[1:]": [2, 3, 1],
    "p[:None:2]": [0, 3],
    "p[::-1]": [1, 3, 2, 0],
    "name[:4]": "/ppm",
    "1 < k < 4": True,
    "1 < k < 3": False,
    "k in p and 7 not in p": True,
    "'ppm' in name": True,
    "1 if k == 3 else p[99]": 1,
    "k == 4 and p[99]": False,
    "k == 3 or p[99]": True,
    "0 or nothing": None,
    "[] or [7]": [7],
    "p == [0, 2, 3, 1] and p != q": True,
    "'a' < 'b'": True,
    "eps": 1e-5,  # an attribute, where no value has the name
    "k + @k": 102,  # and the value where one has
    "@missing": None,
    "has(@eps) and not has(@missing)": True,
    "-9223372036854775807 - 1": -(2**63),
    "[\n 1,\n 2]": [1, 2],
    "shape(x)": ["N", 3, 32, 64],
    "shape(x)[2:]": [32, 64],
    "shape(w)": [2, 3],
    "shape(2)": [],
    "shape(x)[0] == 'N'": True,
    "shape(d) == shape(d)": True,
    "shape(d)[0] == shape(d)[1]": False,  # two unknowns are not one
    "rank(x)": 4,
    "[rank(x, w), rank(u, w)]": [4, 2],
    "dtype(x)": "float32",
    "dtype(h)": "float16",
    "dtype(arr)": "int32",
    "dtype(b16)": "bfloat16",
    "static(w) and not static(x) and not static(u) and not static(d)": True,
    "const(w) and const(arr) and const(1) and not const(x) and not const(gone)": True,
    "present(x) and not present(gone) and not present(nothing)": True,
    "uses(x)": 2,
    "quantized(x)": False,
    "never_negative(x)": False,
    "scalar(s)": 0.5,
    "scalar(b16[1])": 2.0,
    "ints(size)": [6, 6],
    "ints(p)": [0, 2, 3, 1],
    "ints(size[0])": [6],
    "floats(v)": [4.0, 9.0],
    "floats(b16)": [1.5, 2.0],
    "floats(size)": [6.0, 6.0],
    "len(p) + len('abc') + len(w)": 9,
    "min(p) + max(w) + min(3, 1, 2) + max(2, 2.5)": 8.5,
    "sum(p) + prod(size) + prod([])": 43,
    "abs(-2) + sqrt(9) + exp(0) + log(1)": 6.0,
    "[floor(2.5), ceil(2.5), round(2.5), round(3.5), floor(-0.5)]": [2, 3, 2, 4, -1],
    "all([1, true]) and not all(w) and any(w) and not any([0])": True,
    "all(w >= 0) and any(w == 5)": True,
    "iota(4)": [0, 1, 2, 3],
    "[clamp(7, 0, 5), clamp(-1.5, 0, 5), clamp(3, 0, 5)]": [5, 0, 3],
    "[first([0, 0, 3, 1]), first([true])]": [2, 0],
    "[divisor(66, 63), divisor(128, 63), divisor(67, 63), divisor(6, 6)]": [33, 32, 1, 6],
    "tile_counts(['N', 1, 3, 1], ['N', 4, 3, 1])": [1, 4, 1, 1],
    "einsum_counts('nctv,kvw->nkctw') + einsum_counts('i,ij->j')": [0, 3, 1, 2, 0, 0, 1, 1],
    "einsum_order('bqc,bchw->bhwq', 0) + einsum_order('hbj,bij->bhi', 1)": [0, 1, 2, 0, 2, 1],
    "einsum_joined('nkctv,kvw->nctw')": "acdb,bf->acdf",
    "[einsum_turned('jbi,bjk->bki', 0), einsum_turned('jbi,bjk->bki', 2)]": ["bca,bad->bdc", "abc,bad->bcd"],
    "einsum_fits('bij,bjk->bik', ['N', 'M', 4], ['N', 4, 5])": True,
    "einsum_fits('bhi,hij->bj', ['N', 2, 3], [2, 3, 4])": True,
    "einsum_fits('bqc,bchw->bqhw', ['N', 'Q', 4], ['N', 4, 5, 'W'])": False,
    "einsum_fits('ij,jk->ik', [3, 1], [4, 5]) or einsum_fits('bhi,hij->bj', [2, 'h', 3], ['h', 3, 4])": False,
    "equation('b h i d, b h j d -> b h i j')": "abcd,abed->abce",
    "[equation('ij,jk->ik'), equation('i,i->')]": ["ab,bc->ac", "a,a->"],
    "[equation('kj,ji'), equation('ii')]": ["ab,bc->ca", "aa->"],
    "einsum_plain('...ij,...jk->...ik', [2, 'N', 3, 4], ['N', 4, 5])": "abij,bjk->abik",
    "einsum_plain('...k,kj', [2, 3, 4], [4, 5])": "abk,kj->abj",
    "compose(p, q) == iota(len(p))": True,
    "inverse(p)": [0, 3, 1, 2],
    "picked(p, [3, 0]) + picked(size, [1])": [1, 0, 6],
    "without(p, [1]) + without(p, [])": [0, 2, 1, 0, 2, 3, 1],
    "zip_floordiv(shape(x)[2:], ints(size))": [5, 10],
    "zip_add([1, 2], [3, 4]) + zip_sub([1, 2], [3, 5]) + zip_mul(size, size)": [4, 6, -2, -3, 36, 36],
    "broadcasts(shape(x), [3, 1, 1])": True,
    "broadcasts(shape(x), ['N', 3, 1, 64])": True,
    "broadcasts(shape(x), ['M', 3, 1, 64])": False,
    "broadcasts(shape(x), [1, 1, 1, 1, 1])": False,
    "broadcasts([1, 3], [2, 1])": False,
    "broadcasts([2], [])": True,
    "glob(name, '/ppm/*') and not glob(name, '/PPM/*') and glob(x, 'im?ges')": True,
    "glob(name, '*/[!a-q]esize')": True,
    "near(s, 0.5) and near(1.4142135, 1.41421356) and not near(1.42, 1.41421356)": True,
    "near(0.0, 0) and not near(0.0000001, 0)": True,
    "near(size, 6) and not near(w, 0) and not near(size[:0], 6)": True,
    "near(s, 0.51, 0.1) and not near(s, 0.51, 0.01)": True,
    "near(1.2, 1, 0.1)": False,
    "near(-1, 1)": False,
    "finite(w) and not finite([1, 1e999]) and not finite(1e999 - 1e999)": True,
}


@pytest.mark.parametrize("text", PLAIN, ids=str)
def test_plain_values(text: str) -> None:
    found = value(text)
    assert found == PLAIN[text]
    assert type(found) is type(PLAIN[text])


F32, F16, I64, I32 = np.float32, np.float16, np.int64, np.int32
ARRAYS: dict[str, tuple[Any, Any]] = {
    "wide(float16([0.1, 2]))": (F32, np.float16([0.1, 2])),
    "wide(b16) + wide(v)": (F32, [5.5, 11]),
    "wide(w)": (F32, [[0, 1, 2], [3, 4, 5]]),
    "wide(size)": (I64, [6, 6]),
    "wide(float64([0.1, 2]))": (np.dtype(np.float64), [0.1, 2]),
    "join(many, 0)": (F32, [4, 9, 4, 9]),
    "per_channel(v, pair)": (F32, [4, 9]),
    "per_channel(s, x)": (F32, [0.5, 0.5, 0.5]),
    "w + 1": (F32, [[1, 2, 3], [4, 5, 6]]),
    "s * 0.1": (F32, np.float32(0.5) * np.float32(0.1)),  # a plain number does not widen, rank 0 included
    "0.1 * s": (F32, np.float32(0.5) * np.float32(0.1)),
    "s * v": (F32, [2, 4.5]),
    "-v": (F32, [-4, -9]),
    "v / sqrt(v)": (F32, [2, 3]),
    "size // 4": (I64, [1, 1]),
    "size % 4": (I64, [2, 2]),
    "arr * 2": (I32, [2, 4, 6]),
    "arr / 2": (np.float64, [0.5, 1, 1.5]),
    "w[1]": (F32, [3, 4, 5]),
    "w[1][2]": (F32, 5),
    "w[1:]": (F32, [[3, 4, 5]]),
    "w > 2": (np.bool_, [[0, 0, 0], [1, 1, 1]]),
    "arr == 2": (np.bool_, [0, 1, 0]),
    "b16 + 1": (BFLOAT16, [2.5, 3]),
    "floor(v / 2)": (F32, [2, 4]),
    "ceil(arr)": (I32, [1, 2, 3]),
    "round(v / 8)": (F32, [0, 1]),
    "abs(-v)": (F32, [4, 9]),
    "maximum(v, like([5, 5], v))": (F32, [5, 9]),
    "minimum(v, reshape(like([5, 2], v), [2, 1]))": (F32, [[4, 5], [2, 2]]),
    "log(exp(w[0][:1]))": (F32, [0]),
    "like(k, h)": (F16, 3),
    "like(2.0, arr)": (I32, 2),
    "like(0.1, x)": (F32, np.float32(0.1)),
    "like([1, 2], b16)": (BFLOAT16, [1, 2]),
    "int64([k])": (I64, [3]),
    "int64([])": (I64, []),
    "int32(v)": (I32, [4, 9]),
    "float16(v)": (F16, [4, 9]),
    "float32(size)": (F32, [6, 6]),
    "float64(s)": (np.float64, 0.5),
    "float16(1e999)": (F16, np.inf),
    "cast([1, 0], 'bool')": (np.bool_, [1, 0]),
    "cast(255, 'uint8')": (np.uint8, 255),
    "lead(v, 4)": (F32, [[[[4]]], [[[9]]]]),
    "lead([1, 2], 2)": (I64, [[1], [2]]),
    "reshape(w, [3, -1])": (F32, [[0, 1], [2, 3], [4, 5]]),
    "transpose(w, [1, 0])": (F32, [[0, 3], [1, 4], [2, 5]]),
    "flatten(w)": (F32, [0, 1, 2, 3, 4, 5]),
    "concat(v, v[:1])": (F32, [4, 9, 4]),
    "full([2, 1], 7)": (I64, [[7], [7]]),
    "full([2], 0.5)": (np.float64, [0.5, 0.5]),
    "full([], true)": (np.bool_, True),
    "pool_matrix(4, 2)": (F32, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]),
    "window_matrix(4, 2, 2, 2, 1, 1)": (F32, [[1, 0, 0, 0], [0, 0.5, 0.5, 0]]),
    "window_matrix(4, 2, 2, 3, 1, 1, 1, 1)": (F32, [[0.5, 0, 0, 0], [0, 0, 0.5, 0.5]]),
    "clamp(v - 5, -0.5, 3)": (F32, [-0.5, 3]),
    "interp_matrix(2, 3, None, 'align_corners')": (F32, [[1, 0], [0.5, 0.5], [0, 1]]),
}


@pytest.mark.parametrize("text", ARRAYS, ids=str)
def test_arrays(text: str) -> None:
    dtype, wanted = ARRAYS[text]
    found = value(text)
    assert isinstance(found, np.ndarray)
    assert found.dtype == dtype
    assert found.shape == np.shape(wanted)
    assert np.array_equal(found, np.asarray(wanted, dtype))


@pytest.mark.parametrize(("dtype", "ulps"), [(np.float32, 4), (np.float16, 0.501), (BFLOAT16, 0.501)])
def test_a_folded_batch_normalization_is_right(dtype: type, ulps: float) -> None:
    """The expressions of fuse_conv_bn, against the definition in float64: types of 16 bits are rounded to once."""
    rng = np.random.default_rng(3)
    arrays = {n: rng.uniform(0.5, 2, (4,)).astype(dtype) for n in ("scale", "bias", "mean", "var")}
    arrays["w"] = rng.normal(size=(4, 3, 3, 3)).astype(dtype)
    env: dict[str, object] = {name: constant(a, name) for name, a in arrays.items()} | {"@eps": 1e-3}
    rule = load_pass(data_dir("passes") / "fuse_conv_bn.toml").bodies[0].run
    assert isinstance(rule, Rule)
    for name, expression in (*rule.defaults, *rule.lets):
        env[name] = expression.quiet(env)
    exact = {name: a.astype(np.float64) for name, a in arrays.items()}
    k = exact["scale"] / np.sqrt(exact["var"] + 1e-3)
    wanted = {"w2": exact["w"] * k[:, None, None, None], "b2": exact["bias"] - exact["mean"] * k}
    for name, right in wanted.items():
        found = env[name]
        assert isinstance(found, np.ndarray) and found.dtype == dtype
        spacing = np.abs(np.spacing(right.astype(dtype)).astype(np.float64))
        # a sum near zero has the rounding of what it is the sum of
        slack = 1e-6 if name == "b2" else 0
        assert np.all(np.abs(found.astype(np.float64) - right) <= ulps * spacing + slack)


def test_near_knows_the_spacing_of_the_type() -> None:
    for dtype in (np.float16, BFLOAT16, np.float32):
        env = {"c": constant(np.array([math.sqrt(2)], dtype))}
        assert value("near(c, 1.41421356)", env)
        assert not value("near(c, 1.45)", env)


def test_constants_are_read_only_where_needed() -> None:
    def read() -> None:
        raise AssertionError("read")

    env = {"x": TensorRef("x", TensorProto.FLOAT, (1, 2), read)}
    assert value("shape(x)[1] + rank(x) + uses(x)", env) == 4
    assert value("false and const(x)", env) is False
    assert value("x", env) is env["x"]


def test_expression_reports_what_it_reads() -> None:
    expr = Expr.parse("has(@perm) and max(x, k)[0] in [true, len, @perm]")
    assert expr.names == {"x", "k", "len"}  # a name is a function only where it is called
    assert expr.attributes == {"perm"}
    assert expr.text.startswith("has(@perm)")
    assert expr == Expr.parse(expr.text)
    assert value("max(max, 1)", {"max": 5}) == 5


def test_holds() -> None:
    assert Expr.parse("near(s, 0.5)").holds(ENV)
    assert not Expr.parse("arr[0] == 2").holds(ENV)
    with pytest.raises(ExprError, match=r"'arr == 2': .*all\(\.\.\.\)"):
        Expr.parse("arr == 2").holds(ENV)


# --- what is refused at load ------------------------------------------------------------------------------------------

FORBIDDEN = {
    "x.__class__": "x.__class__",
    "1 + x.shape[0]": "x.shape",
    "has(@a.b)": "@a.b",
    "().__class__.__bases__[0]": "().__class__.__bases__",
    "2 ** 9": "2 ** 9",
    "1 << 9": "1 << 9",
    "p @ q": "p @ q",
    "p | q": "p | q",
    "~k": "~k",
    "+k": "+k",
    "k is None": "k is None",
    "[i for i in p]": "[i for i in p]",
    "sum(i for i in p)": "(i for i in p)",
    "lambda: 1": "lambda: 1",
    "f'{k}'": "f'{k}'",
    "b'k'": "b'k'",
    "1j": "1j",
    "...": "...",
    "{1: 2}": "{1: 2}",
    "{1}": "{1}",
    "(k := 2)": "k := 2",
    "len(*p)": "*p",
    "[*p]": "*p",
    "near(s, v=1)": "near(s, v=1)",
    "len(**p)": "len(**p)",
    "p[0, 1]": "p[0, 1]",
    "p[0:1, 1]": "p[0:1, 1]",
    "(yield)": "yield",
    "(await k)": "await k",
    "len(p)(p)": "len(p)(p)",
    "@a(1)": "@a(1)",
    "a@b": "a@b",
    "k # three": "#",
    "é": "é",
    "k\\\n+1": "\\",
    "9223372036854775808": "9223372036854775808",
}


@pytest.mark.parametrize("text", FORBIDDEN, ids=str)
def test_forbidden(text: str) -> None:
    with pytest.raises(PassError) as caught:
        Expr.parse(text)
    assert str(caught.value).partition(";")[0] == f"'{FORBIDDEN[text]}' is not allowed in a pass file"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not empty"),
        ("  ", "not empty"),
        ("1 +", "'1 .' is not an expression"),
        ("'open", "is not an expression"),
        ("k; k", "is not an expression"),
        ("k = 2", "is not an expression"),
        ("import os", "is not an expression"),
        ("k @ ", "is not an expression"),
        ("'\0'", "is not an expression"),
        ("'\ud800'", "is not an expression"),
        ("shap(x)", "no function 'shap'; did you mean 'shape'"),
        ("__import__('os')", "no function '__import__'"),
        ("eval('1')", "no function 'eval'"),
        ("near(x)", r"near\(x, v\[, tol\]\) cannot take 1 arguments"),
        ("rank()", r"rank\(x\[, other\]\) cannot take 0 arguments"),
        ("rank(x, x, x)", r"rank\(x\[, other\]\) cannot take 3 arguments"),
        ("min()", r"min\(v, \.\.\.\) cannot take 0"),
        ("1" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH} characters, this one {MAX_LENGTH + 1}"),
        ("(" * 200 + "1" + ")" * 200, "nested more than"),
        ("[" * 499, "nested more than"),
        ("-" * 490 + "1", "nested more than"),
        ("not " * 120 + "1", "nested more than"),
        ("1" + "+1" * 240, "nested more than"),
        ("x" + "[0]" * 160, "nested more than"),
        ("x" + ".x" * 240, "not allowed"),
    ],
)
def test_refused_at_load(text: str, reason: str) -> None:
    with pytest.raises(ExprError, match=reason) as caught:
        Expr.parse(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_the_limits_themselves_are_allowed() -> None:
    assert value("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH) == 1
    assert value("-" * (MAX_DEPTH - 1) + "1") == -1
    assert value("0 if 0 else " * 40 + "1") == 1
    assert value("1".ljust(MAX_LENGTH)) == 1


# --- what fails at a match --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 + shape(u)[0]", r"^'shape\(u\)': the rank of 'mystery' is unknown$"),
        ("2 * shape(x)[0]", r"^'2 \* shape\(x\)\[0\]': 'N' is not a number$"),
        ("dtype(u)", "element type of 'mystery' is unknown"),
        ("x + 1", "^'x . 1': 'images' is not a constant$"),
        ("gone + 1", "input '' is absent"),
        ("@missing + 1", "^'@missing . 1': an absent value is not a number$"),
        ("nowhere", "^'nowhere': no value of that name here$"),
        ("siz", "did you mean 'size'"),
        ("w + v", "broadcast"),
        ("p[9]", r"^'p\[9\]': list index out of range$"),
        ("w[9]", "out of bounds"),
        ("p[1.0]", "1.0 is not an integer"),
        ("p['a']", "'a' is not an integer"),
        ("p[::0]", "zero"),
        ("k[0]", "3 has no elements"),
        ("1 // 0", r"^'1 // 0': .*zero"),
        ("1 % 0.0", "zero|modulo"),
        ("size // 0", "division by zero"),
        ("size % (size - 6)", "division by zero"),
        ("9223372036854775807 + 1", "does not fit in 64 bits"),
        ("-(-9223372036854775807 - 1)", "does not fit in 64 bits"),
        ("floor(1e999)", "infinity"),
        ("sqrt(-1)", "math domain|nonnegative"),
        ("exp(1000)", "range|overflow"),
        ("[1] * 3", "a list is not a number"),
        ("'a' * 3", "'a' is not a number"),
        ("'%999999999d' % 1", "is not a number"),
        ("words * 1000", "takes no part in arithmetic"),
        ("[1] + 'a'", "is not a number"),
        ("arr + [1]", "a list is not a number"),
        ("-p", "a list is not a number"),
        ("k < 'a'", "'a' is not a number"),
        ("p < q", "a list is not a number"),
        ("k in 'abc'", "cannot be looked for"),
        ("arr in p", "cannot be looked for"),
        ("not arr", r"write all\(\.\.\.\) or any\(\.\.\.\)"),
        ("x and 1", "neither true nor false"),
        ("[[1]]", "a list where only numbers"),
        ("[x]", "tensor 'images' where only numbers"),
        ("uses(1)", "not a tensor of the graph"),
        ("quantized(1)", "not a tensor of the graph"),
        ("never_negative(1)", "not a tensor of the graph"),
        ("maximum(v, 1)", "float32 and int64 are two element types"),
        ("picked(p, [4])", "not all places of a list of 4 elements"),
        ("scalar(v)", "2 elements, not one"),
        ("ints(v)", "4.0 is not an integer"),
        ("ints(w)", "rank 2"),
        ("ints(x)", "'images' is not a constant"),
        ("floats('a')", "'a' is not a list"),
        ("int64(2.5)", "do not all fit int64"),
        ("int64(1e30)", "do not all fit int64"),
        ("int64(9223372036854775808.0)", "do not all fit int64"),
        ("int64(1e999)", "do not all fit int64"),
        ("int64(1e999 - 1e999)", "do not all fit int64"),
        ("int32(2147483648)", "do not all fit int32"),
        ("cast(-1, 'uint64')", "do not all fit uint64"),
        ("cast(2, 'bool')", "do not all fit bool"),
        ("like(0.5, size)", "do not all fit int64"),
        ("float16(70000)", "too large for float16"),
        ("float16(70000.0)", "too large for float16"),
        ("like(3.4e38, h)", "too large for float16"),
        ("like(1, u)", "'mystery' is unknown"),
        ("cast(1, 'flaot32')", "did you mean 'float32'"),
        ("cast(1, 'string')", "no constant can be made of type 'string'"),
        ("cast(1, 32)", "32 is not the name of an element type"),
        ("lead(w, 4)", "lead needs a vector"),
        ("lead(v, 0)", "lead needs a vector"),
        ("lead(v, 9223372036854775807)", "dimension"),
        ("reshape(w, [4, 4])", "reshape"),
        ("transpose(w, [0, 0])", "repeated axis"),
        ("concat(v, size)", "two element types"),
        ("concat(v, w)", "dimension"),
        ("full([-1], 0)", "negative extent"),
        ("full([9999999, 9999999], 0)", "array of 99999980000001 elements"),
        ("full([67108865], true)", "67108865 elements"),
        ("full([1, 1], w)", "not a number; scalar"),
        ("iota(4097)", "0 to 4096"),
        ("iota(-1)", "0 to 4096"),
        ("iota(4000) + iota(4000)", "a list of 8000 elements"),
        ("concat(iota(4000), iota(97))", "a list of 4097 elements"),
        ("reshape(arr[:2], [8192, 1]) * arr", "reshape"),
        ("lead(iota(4096), 3) * lead(iota(4096), 2) * lead(iota(4096), 1)", "68719476736 elements"),
        ("lead(iota(4096), 3) == lead(iota(4096), 2) + lead(iota(4096), 1)", "68719476736 elements"),
        ("ints(flatten(lead(iota(4096), 2) * lead(iota(4096), 1)))", "at most 4096 make a list"),
        ("prod(iota(100)[1:])", "does not fit in 64 bits"),
        ("sum(w)", "rank 2"),
        ("min([])", "empty"),
        ("max(w[:0])", "zero-size|no identity"),
        ("zip_add([1], [1, 2])", "lists of 1 and 2 elements"),
        ("zip_floordiv([1], [0])", "zero"),
        ("compose(p, [0, 1])", "permutations of 4 and 2 axes"),
        ("compose(@missing, q)", "an absent value is not a list"),
        ("inverse([0, 0])", r"\[0, 0\] is not a permutation"),
        ("glob(1, 'a')", "not a name and a pattern"),
        ("len(k)", "3 is not a list"),
        ("near(w, w)", "scalar"),
        ("interp_matrix(0, 4)", "at least 1"),
        ("interp_matrix(65536, 65536)", "4294967296 elements"),
        ("interp_matrix(4, 4, 0)", "a scale of 0.0"),
        ("interp_matrix(4, 4, 1e999)", "a scale of inf"),
        ("interp_matrix(4, 4, 1e-320, 'half_pixel_symmetric')", "no finite coordinate"),
        ("interp_matrix(4, 4, None, 'half_pixle')", "did you mean 'half_pixel'"),
        ("interp_matrix(4, 4, None, 7)", "'7' is no coordinate_transformation_mode"),
        ("interp_matrix(4, 8, None, 'tf_crop_and_resize', 0, 1.5, 1)", "extrapolation_value 1 is not 0"),
        ("pool_matrix(shape(x)[0], 1)", "'N' is not an integer"),
        ("window_matrix(4, 3, 2, 2, 0, 1, 1, 0)", "a window lies in the padding"),
        ("window_matrix(4, 2, 3, 2, 0, 0, 1, 1)", "a window leaves the padded input"),
        ("window_matrix(4, 1, 0)", "a window of 0 with stride 1"),
        ("clamp(1, 3, 2)", "no number lies between 3 and 2"),
        ("first([0, 0])", "no element is true"),
        ("divisor(0, 4)", "no divisor of 0"),
        ("divisor(1000000000000, 4)", "too large to be factored"),
        ("equation('iJ,Jk')", "to the order of large and small letters"),
        ("einsum_plain('...ij', [2, 3, 4], [2, 4])", "has not two operands"),
        ("einsum_plain('ij,...jk', [2, 3, 4], [4, 5])", "is not one of 3 and 2 dimensions"),
        ("equation('...ij->...i')", "is not plain"),
        ("equation('ij->k')", "makes what it does not read"),
        ("equation(3)", "is not the equation of an Einsum"),
        ("tile_counts(['N', 1], ['M', 2])", "no known number of"),
        ("tile_counts([1, 1], ['N', 2])", "no known number of"),
        ("tile_counts([1], [0])", "no known number of"),
        ("tile_counts([1], [2, 2])", "lists of 1 and 2 elements"),
        ("einsum_counts('ij->ji')", "has not two operands"),
        ("einsum_counts('ii,ij->ij')", "takes a diagonal"),
        ("einsum_counts('ij,jk->k')", "sums within one operand"),
        ("einsum_counts('ij,ij->i')", "no product of matrices"),
        ("einsum_order('ij,jk->ik', 3)", "operand 3 of two"),
        ("einsum_turned('ij,jk->ik', -1)", "operand -1 of two"),
        ("einsum_fits('ij,jk->ik', [3], [4, 5])", "2 letters for 1 dimensions"),
    ],
)
def test_no_value(text: str, reason: str) -> None:
    expr = Expr.parse(text)
    with pytest.raises(ExprError, match=reason) as caught:
        expr.evaluate(ENV)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_hostile_environment() -> None:
    huge = np.broadcast_to(np.float32(0), (MAX_ELEMENTS + 1,))  # takes no memory
    env = {
        "big": huge,
        "lazy": TensorRef("lazy", TensorProto.FLOAT, huge.shape, lambda: huge),
        "long": [0] * (MAX_ITEMS + 1),
        "text": "a" * (MAX_ITEMS + 1),
        "half": "a" * (MAX_ITEMS - 1),
        "wide": 2**63,
        "odd": object(),
        "proto": TensorProto(),
        "evil": TensorRef("\x1b[31m", TensorProto.FLOAT, (1,)),
    }
    for text in ("big", "lazy + 1", "near(lazy, 0)", "long", "text", "half + 'bb'", "wide", "odd", "proto"):
        with pytest.raises(ExprError):
            value(text, env)
    with pytest.raises(ExprError) as caught:
        value("evil * 2", env)
    assert "\x1b" not in str(caught.value)
    assert value("list + [3]", {"list": (np.int64(1), np.float32(2))}) == [1, 2.0, 3]


# --- the table of functions -------------------------------------------------------------------------------------------


def test_functions_are_documented_and_bounded() -> None:
    assert list(FUNCTIONS)[:3] == ["shape", "rank", "dtype"]
    for name, function in FUNCTIONS.items():
        assert name == function.name
        assert re.fullmatch(rf"{name}\([a-z_, .\[\]]+\)", function.signature), function.signature
        assert 20 < len(function.doc) < 121 and function.doc.endswith((".", ";", "...")), function.doc
        assert 1 <= function.min_args <= function.max_args
    assert FUNCTIONS["near"].signature == "near(x, v[, tol])"
    assert FUNCTIONS["min"].signature == "min(v, ...)"
    assert FUNCTIONS["interp_matrix"].signature.startswith("interp_matrix(in_size, out_size[, scale[, mode[,")


def test_every_function_is_tested_above() -> None:
    used = "\n".join([*PLAIN, *ARRAYS])
    assert [name for name in FUNCTIONS if not re.search(rf"\b{name}\(", used)] == []


# --- matrices ---------------------------------------------------------------------------------------------------------


def resize_model(
    n: int, m: int | None, scale: float | None, mode: str, roi: tuple[float, float] = (0, 1)
) -> onnx.ModelProto:
    """Resize [1, 1, n, n] linearly along its rows only, to ``m`` rows or by ``scale``."""
    opset = 12 if mode == "tf_half_pixel_for_nn" else 19  # removed in 13
    tensors = {"roi": np.array([0, 0, roi[0], 0, 1, 1, roi[1], 1], np.float32)}
    if scale is None:
        tensors |= {"scales": np.array([], np.float32)} if opset < 13 else {}
        tensors["sizes"] = np.array([1, 1, m, n], np.int64)
    else:
        tensors["scales"] = np.array([1, 1, scale, 1], np.float32)
    inputs = ["x", *(name if name in tensors else "" for name in ("roi", "scales", "sizes"))]
    node = helper.make_node("Resize", inputs, ["y"], mode="linear", coordinate_transformation_mode=mode)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, n, n])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, None, n])
    weights = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph([node], "resize", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto) -> np.ndarray[Any, Any]:
    """Resize the identity matrix: the result is the matrix onnxruntime applies."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    n = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    return np.asarray(session.run(None, {"x": np.eye(n, dtype=np.float32)[None, None]})[0])[0, 0]


def as_float32(x: float) -> float:
    return float(np.float32(x))


ROI = (0.25, as_float32(0.8))
SIZES = [(1, 2), (1, 7), (2, 1), (5, 1), (3, 7), (7, 3), (8, 16), (16, 8), (33, 129), (129, 33), (288, 319), (12, 256)]
SCALES = [0.25, 0.3, 0.5, 0.6, 0.75, 0.9, 1.3, 1.5, 2, 2.7, 4, 7]
HOW_FAR = 2.0**-23  # per input element: one bit of a float32 coordinate


@pytest.mark.parametrize("mode", MODES)
def test_interp_matrix_is_what_onnxruntime_does(mode: str) -> None:
    roi = ROI if mode == "tf_crop_and_resize" else (0.0, 1.0)
    for n, m in SIZES:
        np.testing.assert_allclose(
            interp_matrix(n, m, None, mode, *roi), run(resize_model(n, m, None, mode, roi)), 0, n * HOW_FAR
        )
    compared = 0
    for n in (1, 2, 5, 10, 33, 64):
        for scale in map(as_float32, SCALES):
            if math.floor(n * scale * (roi[1] - roi[0])) < 1:
                continue
            wanted = run(resize_model(n, None, scale, mode, roi))
            if len(wanted) != n:  # onnxruntime copies where no extent changes
                compared += 1
                np.testing.assert_allclose(interp_matrix(n, len(wanted), scale, mode, *roi), wanted, 0, n * HOW_FAR)
    assert compared > 25


def test_interp_matrix_keeps_the_given_scale() -> None:
    """5 by 0.5 is 2, and 2 / 5 is not 0.5: what tells scales from sizes."""
    given, sized = interp_matrix(5, 2, 0.5, "asymmetric"), interp_matrix(5, 2, None, "asymmetric")
    np.testing.assert_array_equal(given, [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
    np.testing.assert_array_equal(sized, np.float32([[1, 0, 0, 0, 0], [0, 0, 0.5, 0.5, 0]]))


@pytest.mark.parametrize("mode", [m for m in MODES if m != "tf_half_pixel_for_nn"])
def test_interp_matrix_is_what_the_specification_says(mode: str) -> None:
    """The reference evaluator computes in float64, so nothing but the last rounding may differ."""
    roi = ROI if mode == "tf_crop_and_resize" else (0.0, 1.0)
    for n, m in [(1, 3), (4, 1), (5, 8), (9, 4)]:
        wanted = ReferenceEvaluator(resize_model(n, m, None, mode, roi)).run(None, {"x": np.eye(n)[None, None]})
        # its scale is a float32 out / in
        np.testing.assert_allclose(interp_matrix(n, m, None, mode, *roi), wanted[0][0, 0], 0, 1e-6)


@pytest.mark.parametrize("roi", [(0.0, 1.0), (-0.2, 1.1), (0.8, 0.2), (-0.5, -0.1), (0.0, 0.7)])
def test_crop_and_resize_extrapolates_by_zero(roi: tuple[float, float]) -> None:
    roi = (as_float32(roi[0]), as_float32(roi[1]))
    for n, m in [(1, 5), (2, 7), (5, 1), (10, 33), (33, 10)]:
        wanted = run(resize_model(n, m, None, "tf_crop_and_resize", roi))
        np.testing.assert_allclose(interp_matrix(n, m, None, "tf_crop_and_resize", *roi), wanted, 0, n * HOW_FAR)
    outside = interp_matrix(9, 12, None, "tf_crop_and_resize", -0.2, 1.1)
    assert not outside[0].any() and not outside[-1].any() and outside[6].any()
    inside = interp_matrix(9, 12, None, "tf_crop_and_resize", 0.1, 1, 5.0)  # nothing to extrapolate
    assert inside.sum(1) == pytest.approx(np.ones(12))


def test_deviations_of_onnxruntime() -> None:
    """The three that the docstring of interp_matrix names; if one goes, the sentence goes."""
    shifted = resize_model(4, None, 1.0, "tf_half_pixel_for_nn")
    np.testing.assert_array_equal(run(shifted), np.eye(4))
    assert interp_matrix(4, 4, 1.0, "tf_half_pixel_for_nn")[0].tolist() == [0.5, 0.5, 0, 0]
    copied = resize_model(2, None, 1.1, "asymmetric")
    np.testing.assert_array_equal(run(copied), np.eye(2))
    assert interp_matrix(2, 2, 1.1, "asymmetric")[1].tolist() == pytest.approx([1 - 1 / 1.1, 1 / 1.1])
    start = as_float32(0.1)
    beyond = resize_model(12, 20, None, "tf_crop_and_resize", (start, 1))
    assert not run(beyond)[-1].any()
    assert interp_matrix(12, 20, None, "tf_crop_and_resize", start, 1)[-1].tolist() == [0] * 11 + [1]


@given(n=st.integers(1, 90), m=st.integers(1, 90), mode=st.sampled_from(MODES[:-1]), scaled=st.booleans())
@settings(max_examples=60, deadline=None)
def test_rows_of_a_matrix_are_averages(n: int, m: int, mode: str, scaled: bool) -> None:
    for matrix in (interp_matrix(n, m, m / n * 1.01 if scaled else None, mode), pool_matrix(n, m)):
        assert matrix.shape == (m, n) and matrix.dtype == np.float32
        assert matrix.min() >= 0
        np.testing.assert_allclose(matrix.sum(1, dtype=np.float64), 1, rtol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(32, 6), (64, 3), (10, 7), (3, 7), (5, 5), (1, 4), (7, 1)])
def test_pool_matrix_averages_the_windows_of_pytorch(n: int, m: int) -> None:
    x = np.random.default_rng(n * m).normal(size=n)
    wanted = [x[math.floor(i * n / m) : math.ceil((i + 1) * n / m)].mean() for i in range(m)]
    np.testing.assert_allclose(pool_matrix(n, m) @ x, wanted, rtol=0, atol=1e-6)
    assert np.count_nonzero(pool_matrix(n, m)[0]) == math.ceil(n / m)


# --- whatever the text ------------------------------------------------------------------------------------------------

SEEDS = [*PLAIN, *ARRAYS, *FORBIDDEN]
SYMBOLS = "+ - * / // % ** @ ~ << -> # ( ) [ ] { } : , . ; = := == < > \\ \n \0 é \ud800 'a' \"N\" '*' 0.5 1e999 4096"
KEYWORDS = "and or not if else in is lambda for await yield True None true 67108864 9223372036854775807"
WORDS = [*FUNCTIONS, *ENV, *re.split(" ", SYMBOLS), *re.split(" ", KEYWORDS)]
FUZZ_ELEMENTS = 2**14  # the cap drawn close, so that the search meets it, and cheaply


def harmless(text: str, env: Mapping[str, object] = ENV) -> None:
    """Parse and evaluate: the only exception is ExprError, and a result is within its cap."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functions_values, "MAX_ELEMENTS", FUZZ_ELEMENTS)
        try:
            found = Expr.parse(text).evaluate(env)
        except ExprError as error:
            assert str(error).isprintable()
            return
    if isinstance(found, np.ndarray):
        assert found.size <= FUZZ_ELEMENTS
    elif isinstance(found, list | str):
        assert len(found) <= MAX_ITEMS
        assert all(isinstance(v, bool | int | float | str | None) for v in found)
    elif isinstance(found, int):
        assert -(2**63) <= found < 2**63
    else:
        assert found is None or isinstance(found, float | TensorRef | Tensors)


FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
@example("[" * 250 + "]" * 250)
@example("-" * 500)
@example("'" + "\\" * 499)
@FUZZ
def test_any_text_is_harmless(text: str) -> None:
    harmless(text)


@st.composite
def mutated(draw: Callable[..., Any]) -> str:
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 4)))
        text = text[:start] + draw(st.sampled_from([*WORDS, *SEEDS, ""])) + text[end:]
    return str(text)


@given(mutated())
@FUZZ
def test_mutated_expressions_are_harmless(text: str) -> None:
    harmless(text)


def trees() -> st.SearchStrategy[str]:
    """Text that always parses and whose calls have the right arity, so that evaluation is what is searched."""
    leaves = st.sampled_from([*ENV, "0", "-1", "2", "4096", "1e308", "1e999", "'a'", "[]", "[3, 1]", "None", "true"])

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        operator = st.sampled_from([*"+-*/%<", "//", "==", "!=", "in", "and", "or"])
        call = st.sampled_from(sorted(FUNCTIONS)).flatmap(
            lambda name: st.lists(
                inner, min_size=FUNCTIONS[name].min_args, max_size=min(FUNCTIONS[name].max_args, 4)
            ).map(lambda args: f"{name}({', '.join(args)})")
        )
        return (
            st.tuples(inner, operator, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
            | st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})")
            | st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}]")
            | st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}:]")
            | st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
            | call
        )

    return st.recursive(leaves, grow, max_leaves=8)


@given(trees())
@FUZZ
def test_well_formed_expressions_are_harmless(text: str) -> None:
    harmless(text)
