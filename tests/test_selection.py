"""``only=`` and ``skip=`` of a pipeline: some of the matches of a pass, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from rewriting import lines, pass_of, places

from graphtool.cases import model_of
from graphtool.errors import PassError
from graphtool.rewrite import Catalog, Stage, apply_stage, parse_pipeline
from graphtool.rewrite.selection import Place, Selection

TWO = """g (float[1,1,2,2] x) => (float[1,1,8,8] y) <float[4] s = {1,1,2,2}> {
  [a] h = Resize<mode="linear">(x, , s) [b] y = Resize<mode="linear">(h, , s) }"""
NORMS = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
<float[2,2,1,1] w, float[2] s, float[2] t, float[2] m, float[2] v = {1,2}> {
  [c] c = Conv(x, w) [n] n = BatchNormalization(c, s, t, m, v)
  [d] d = Conv(n, w) [i] i = Identity(d) [o] y = BatchNormalization(i, s, t, m, v) }"""


def applied(text: str, model: str) -> list[str]:
    stage = parse_pipeline(text, Catalog())[0]
    assert parse_pipeline(stage.text(), Catalog())[0] == stage, "the text form comes back as the same stage"
    return places(apply_stage(model_of(model, 17), stage, Catalog()).applied)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("resize_nearest:only=a", ["a"]),
        ("resize_nearest:skip=a", ["b"]),
        ("resize_nearest:only=a+b:skip=b", ["a"]),
        ("resize_nearest:only=Resize(y)", ["b"]),
        ("resize_nearest:nearest_mode=ceil:only=b", ["b"]),
    ],
)
def test_an_edit_is_applied_where_it_is_selected(text: str, where: list[str]) -> None:
    assert applied(text, TWO) == where


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("fuse_conv_bn:only=n", ["n"]),
        ("optimize:only=fuse_conv_bn@n", ["n"]),
        ("optimize:only=remove_identity", ["i"]),
        ("optimize:skip=fuse_conv_bn+share_equal_weights", ["i"]),
        ("optimize:only=remove_identity+fuse_conv_bn@o", ["i", "o"]),
    ],
)
def test_a_rewrite_and_a_pass_of_a_sequence_are_selected(text: str, where: list[str]) -> None:
    assert applied(text, NORMS) == where


def test_nodes_of_one_name_are_told_apart_by_what_they_make() -> None:
    twins = TWO.replace("[b]", "[a]")
    assert applied("resize_nearest:only=a", twins) == ["a", "a"]
    assert applied("resize_nearest:skip=Resize(h)", twins) == ["a"]


def test_a_region_and_a_boundary_are_selected() -> None:
    graph = "g (int64[2] x, int64[3] z) => (int64[2] y, int64[3] u) { [p] y = Mul(x, x) [q] u = Mul(z, z) }"
    convs = """g (float[1,2,4] x, float[1,2,5] z) => (float[1,2,4] y, float[1,2,5] u) <float[2,2,1] w> {
      [p] y = Conv(x, w) [q] u = Conv(z, w) }"""
    assert applied("conv1d_to_conv2d:only=q", convs) == ["q"]
    assert applied("inputs_int32:skip=x", graph) == ["z"]
    assert applied("prune_outputs:keep=y:skip=u", graph) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("resize_nearest:only=c", "'c' is not a place where it matches"),
        ("resize_nearest:skip=Resize(z)", "did you mean 'Resize(y)'"),
        ("resize_nearest:skip=", "skip= names no match"),
        ("optimize:skip=fuse_conv_nb", "did you mean 'fuse_conv_bn'"),
        ("optimize:only=fuse_conv_bn@a", "not a place where it matches"),
        ("remove_unused:only=a", "is a native pass and applies as a whole"),
    ],
)
def test_a_selection_that_selects_nothing_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(PassError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        applied(text, TWO)


def test_pass_files_neither_select_nor_take_the_words() -> None:
    with pytest.raises(PassError, match="every pass has it"):
        pass_of(
            '[params.only]\ntype = "names"\ndefault = []\nhelp = "h"\n[[edit]]\nselect = { op = "A" }\nset = { b = 1 }'
        )


def test_a_sequence_cannot_select(tmp_path: Path) -> None:
    head = 'summary = "s"\nwhy = "w"\nparity = "lossy"\n'
    (tmp_path / "s.toml").write_text(f'{head}sequence = ["resize_nearest:only=a"]\n')
    with pytest.raises(PassError, match="belong to a model"):
        Catalog().get(str(tmp_path / "s.toml"))


def test_what_was_done_is_told_place_by_place() -> None:
    graph = model_of(NORMS, 17)
    spec = Catalog().get("optimize")
    outcome = apply_stage(graph, Stage(spec, {}, "optimize", selection=Selection()), Catalog())
    assert Place("fuse_conv_bn", "n", "BatchNormalization(n)") in outcome.places
    assert Place("share_equal_weights", "") not in outcome.places, "a native pass that changed nothing did nothing"
    only = tuple(f"{place.spec}@{place.where}" for place in outcome.places if place.where)
    again = model_of(NORMS, 17)
    apply_stage(again, Stage(spec, {}, "optimize", selection=Selection(only, strict=False)), Catalog())
    assert lines(again) == lines(graph)
