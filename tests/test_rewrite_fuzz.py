"""Mutated pass files, as text and as TOML trees: only PassError when read, only GraphtoolError when applied.

The examples are the same in every run; ``GRAPHTOOL_FUZZ=20000`` draws that many new ones.
"""

from __future__ import annotations

import copy
import os
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphtool.cases import model_of
from graphtool.data import data_dir
from graphtool.errors import GraphtoolError, PassError
from graphtool.graph import Graph
from graphtool.rewrite import Catalog, Pass, Stage, apply_stage, load_pass
from graphtool.rewrite.params import resolve
from graphtool.rewrite.passfile import parse_pass

EXAMPLES = int(os.environ.get("GRAPHTOOL_FUZZ", "250"))
FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize="GRAPHTOOL_FUZZ" not in os.environ,
    deadline=5000,  # milliseconds: a hang is a failure
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SHIPPED = {path.stem: path.read_text() for path in sorted(data_dir("passes").glob("*.toml"))}
TREES = {name: tomllib.loads(text) for name, text in SHIPPED.items()}
CATALOG = Catalog()

TOKENS = st.sampled_from(
    'x y a b "" \' """ [[rewrite]] [[case]] [[edit]] [semantics] = == , ; : . @ @p $ $keep { } {{{ < > ( ) [ ] # \\ \0 '
    "y=x like=@y like=@c Forward__ shape rank ints floats like const iota reshape full 1e999 -1 0 9223372036854775808 "
    "true nan inf 2020-01-01 $names Identity Resize Conv TopK If MatMul float int64 unchanged org.pytorch.aten.ATen "
    "é 名 \U0001f600 \t \r\n".split(" ")
)
VALUES = st.sampled_from([
    0, 1, -1, 17, 2**31, 2**63, -(2**70), 0.5, float("inf"), float("nan"), True, "", "$", "$keep", "*",
    [], {}, [[]], [{}], ["x"], ["x", 3], [0.5, 2], {"op": "Relu"}, {"opset": ">=11"}, ["optimize"],
    "y = x", "y = Relu(x)", "a = Relu(x) y = Neg(a)", "y, i = TopK(x, k)", "y = Foo<a = @p, like = @y>(x)",
    "1", "'a'", "[1, 'a']", "None", "shape(x)", "[]", "x", "full([1000], 1)", "int64([1, 2])", "ints(x)",
    "unchanged", "float32", "int64", "string", "names", "exact", "lossy", "rename", "remove_unused", "onnxsim",
]) | st.text(max_size=8)  # fmt: skip


@lru_cache(maxsize=1)
def any_graph() -> Graph:
    """A small graph with many of the operators that the shipped passes look for."""
    return model_of(
        """g (float[1,3,8,8] x, float[8,32,64] p, int64[2] ids, bool flag) => (float[1,4,16,16] y, float[2] z, float o)
        <float[4,3,1,1] w, float[4] s, float[4] t, float[4] m, float[4] v = {1,2,3,4}, float[4] f = {1,1,2,2},
         int64[2] size = {6,6}, int64[1] k = {2}, float[2] c> {
          i = Identity(x) r = Conv(i, w) n = BatchNormalization(r, s, t, m, v)
          u = Transpose<perm=[0,2,3,1]>(n) q = Transpose<perm=[0,3,1,2]>(u) y = Resize<mode="linear">(q, , f)
          h = AdaptiveAvgPool2d<output_size=[6,6]>(p) b = org.pytorch.aten.ATen<operator="adaptive_avg_pool2d">(p, size)
          z, j = TopK(c, k) l = Gather(c, ids) d = Clip<min=0.5>(l) e = Relu(d)
          o = If(flag) <then_branch = g1 () => (float a) { a = ReduceMax<keepdims=0>(e) },
                        else_branch = g2 () => (float a2) { e2 = Identity(e) a2 = ReduceMin<keepdims=0>(e2) }>
        }""",
        17,
    )


def apply_anywhere(spec: Pass) -> None:
    """Apply a pass to the graphs of its own cases and to one with everything; only GraphtoolError may come."""
    if spec.native == "onnxsim" or any("onnxsim" in word for word in spec.sequence):
        return  # a second each, and none of it is the pass language
    graphs = [(any_graph().copy(), {})]
    for case in spec.cases[:2]:
        try:
            graphs.append((model_of(case.before, 17 if case.opset > 25 else case.opset), case.params))
        except (LookupError, MemoryError, OverflowError, ValueError):  # a mutated graph declares any weights
            continue
    for graph, params in graphs:
        before = graph.proto.SerializeToString(deterministic=True)
        try:
            apply_stage(graph, Stage(spec, resolve(spec.params, params, spec.name), spec.name), CATALOG)
        except GraphtoolError:
            assert graph.proto.SerializeToString(deterministic=True) == before, "an error leaves the graph as it was"


def known_parser_fault(error: IndexError) -> None:
    """onnx.parser lets C++'s std::out_of_range through for a number that does not fit; graph/text.py must catch it."""
    assert str(error) in ("stoll", "stof", "stod")


@FUZZ
@given(st.data())
def test_mutated_text(tmp_path: Path, data: st.DataObject) -> None:
    text = SHIPPED[data.draw(st.sampled_from(sorted(SHIPPED)))]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 0, 1, 1, 3, 20])))
        other = SHIPPED[data.draw(st.sampled_from(sorted(SHIPPED)))]
        at = data.draw(st.integers(0, len(other)))
        put = data.draw(st.one_of(TOKENS, st.text(max_size=3), st.just(other[at : at + 30])))
        text = text[:start] + put + text[end:]
    path = tmp_path / "x.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        spec = load_pass(path)
    except PassError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    except IndexError as error:
        known_parser_fault(error)
        return
    apply_anywhere(spec)


def places_in(tree: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) in a TOML tree."""
    found: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            pending.append(node[key])
    return found


@FUZZ
@given(st.data())
def test_mutated_trees(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(TREES)))
    tree = copy.deepcopy(TREES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        places = places_in(tree)
        if not places:
            break
        node, key = places[data.draw(st.integers(0, len(places) - 1))]
        match data.draw(st.sampled_from(["replace", "delete", "move", "other"])):
            case "replace":
                node[key] = copy.deepcopy(data.draw(VALUES))  # a later mutation may change it
            case "delete":
                del node[key]
            case "move":
                to, at = places[data.draw(st.integers(0, len(places) - 1))]
                if isinstance(to, dict) and isinstance(at, str):
                    to[at] = copy.deepcopy(node[key])
            case "other":
                source = places_in(TREES[data.draw(st.sampled_from(sorted(TREES)))])
                there, this = source[data.draw(st.integers(0, len(source) - 1))]
                node[key] = copy.deepcopy(there[this])
    try:
        spec = parse_pass(tree, Path(f"passes/{name}.toml"), f"passes/{name}.toml")
    except PassError as error:
        assert str(error).startswith(f"passes/{name}.toml: ") and "\n" not in str(error)
        return
    except IndexError as error:
        known_parser_fault(error)
        return
    apply_anywhere(spec)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_each_shipped_pass_applies_anywhere(name: str) -> None:
    apply_anywhere(CATALOG.get(name))
