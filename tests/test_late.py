"""What a run reads of shipped pass files: no cases, and rewrites where a graph has operators for them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from graphtool.cases import model_of
from graphtool.data import data_dir
from graphtool.rewrite import Catalog, Stage, apply_stage, load_pass
from graphtool.rewrite.late import LateRule, statements
from graphtool.rewrite.rule import Rule

SHIPPED = sorted(data_dir("passes").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_read_late_says_the_same(path: Path) -> None:
    whole, late = load_pass(path), load_pass(path, late=True)
    assert whole.cases and not late.cases
    assert [body.run for body in late.bodies] == [body.run for body in whole.bodies]
    assert [body.kind for body in late.bodies] == [body.kind for body in whole.bodies]
    for name in ("parity", "interface", "requires", "params", "native", "sequence", "fixpoint", "budget"):
        assert getattr(whole, name) == getattr(late, name)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_operators_are_seen_without_reading(path: Path) -> None:
    for table, body in zip(_tables(path), _rules(path), strict=True):
        matches = [table["match"]] if isinstance(table["match"], str) else table["match"]
        wanted = [tuple(frozenset(node.op_types) for node in pattern.nodes) for pattern in body.patterns]
        assert [statements(match) for match in matches] == wanted


def _tables(path: Path) -> list[dict[str, str | list[str]]]:
    found = tomllib.loads(path.read_text())["rewrite"] if "[[rewrite]]" in path.read_text() else []
    assert isinstance(found, list)
    return found


def _rules(path: Path) -> list[Rule]:
    return [body.run for body in load_pass(path).bodies if isinstance(body.run, Rule)]


def test_a_rewrite_is_read_only_for_a_graph_with_its_operators() -> None:
    relu = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }", 17)
    catalog = Catalog(to_run=True)
    spec = catalog.get("fuse_gelu")
    apply_stage(relu, Stage(spec, {}, spec.name), catalog)
    forms = [body.form for body in spec.bodies if isinstance(body.form, LateRule)]
    assert forms and not any("rule" in vars(form) for form in forms)


def test_a_body_counts() -> None:
    inner = "() => (float[2] a) { a = Identity(x) }"
    branches = f"then_branch = t {inner}, else_branch = e {inner}"
    graph = model_of(f"g (bool c, float[2] x) => (float[2] y) {{ y = If<{branches}>(c) }}", 17)
    form = LateRule(["y = Identity(x)"], lambda: pytest.fail("it is not read yet"))
    assert form.may_match(graph)


@pytest.mark.parametrize(
    ("match", "wanted"),
    [
        ("y = Relu(x)", [{"Relu"}]),
        ("a = Relu|Clip(x)  y = Conv<group = 1>(a, w)", [{"Relu", "Clip"}, {"Conv"}]),
        ("y = Concat+<axis = @axis>(*xs)", [{"Concat"}]),
        ("a, b = Split<axis = 1>(x)\ny = com.microsoft.Gelu(a)", [{"Split"}, {"Gelu"}]),
    ],
)
def test_statements(match: str, wanted: list[set[str]]) -> None:
    assert statements(match) == tuple(map(frozenset, wanted))
