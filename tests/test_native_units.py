"""Native passes that work match by match: some of their matches, by name, and what bisect and tune make of that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clirun import Cli
from rewriting import lines

from graphtool.api import run
from graphtool.cases import model_of
from graphtool.graph import Graph, check
from graphtool.rewrite import Catalog, Outcome, Stage, apply_stage, parse_pipeline
from graphtool.rewrite.native import Native
from graphtool.rewrite.params import resolve
from graphtool.rewrite.passfile import Case, Pass
from graphtool.rewrite.selection import Selection

HALF = """g (float[2,4] x) => (float[2,4] y) {
  [a] a = Exp(x) [b] b = Tanh(a) [c] c = Exp(b) [d] y = Sigmoid(c) }"""
SUMS = """g (float[3] x) => (float[3] y, float[3] z) <float[3] p = {1,2,3}, float[3] q = {4,5,6}> {
  [s] s = Add(p, q) [t] t = Mul(s, s) [u] u = Neg(s) [y] y = Add(x, t) [z] z = Add(x, u) }"""


def choosing() -> Iterator[tuple[Pass, Case]]:
    """Yield each case that changes something of each shipped pass whose native offers its matches."""
    catalog = Catalog()
    for name in catalog.names:
        spec = catalog.get(f"shipped/{name}")
        if spec.native is not None and Native(spec.native).chooses:
            yield from (
                (spec, case) for case in spec.cases if case.after not in (None, "unchanged") and not case.stored
            )


CASES = list(choosing())


def applied(graph: Graph, spec: Pass, case: Case, selection: Selection) -> Outcome:
    stage = Stage(spec, resolve(spec.params, case.params, spec.name), spec.name, tuple(case.params), selection)
    outcome = apply_stage(graph, stage, Catalog())
    check(graph)
    return outcome


def test_all_that_work_match_by_match_are_tried() -> None:
    names = {spec.name for spec, _ in CASES}
    assert {"float16_model", "fold_constants", "fold_constants_float16", "merge_equal_nodes", "fold_ifs"} <= names
    assert len(names) == 15


@pytest.mark.parametrize(("spec", "case"), CASES, ids=[f"{spec.name}: {case.name}" for spec, case in CASES])
def test_each_match_alone_and_all_left_out(spec: Pass, case: Case) -> None:
    graph = model_of(case.before, case.opset)
    whole = applied(graph, spec, case, Selection())
    if not whole.places:
        assert spec.name == "float16_model" and case.params.get("keep_io") is False, "only inputs and outputs"
    names = tuple(place.where for place in whole.places)
    skipped = names
    while more := applied(
        left := model_of(case.before, case.opset), spec, case, Selection(None, skipped, False)
    ).places:
        skipped += tuple(place.where for place in more)  # there only where another was left out
        assert len(set(skipped)) == len(skipped)
    if case.params.get("keep_io") is not False:  # the types of inputs and outputs are no matches
        assert lines(left) == lines(model_of(case.before, case.opset))
    for name in names:
        stage = Stage(spec, resolve(spec.params, case.params, spec.name), spec.name, tuple(case.params))
        own = applied(model_of(case.before, case.opset), spec, case, Selection((name,), strict=False))
        assert {place.where for place in own.places} <= {name}
        text = Stage(stage.spec, stage.params, stage.word, stage.given, Selection((name,))).text()
        assert parse_pipeline(text, Catalog())[0].selection == Selection((name,)), "the words come back"
        if own.places:  # else it needs another one
            assert run(model_of(case.before, case.opset), text).ok, "a part keeps the promise as well"


def test_a_node_stays_float32_with_casts_around_it() -> None:
    state = run(model_of(HALF, 17), "float16_model:skip=b+c")
    assert lines(state.graph) == [
        "x/float16 = Cast<to=10>(x)",
        "a = Exp(x/float16)",
        "a/float32 = Cast<to=1>(a)",
        "b = Tanh(a/float32)",
        "c = Exp(b)",
        "c/float16 = Cast<to=10>(c)",
        "y/float16 = Sigmoid(c/float16)",
        "y = Cast<to=1>(y/float16)",
    ]


def test_an_if_of_which_nothing_is_taken_stays_float32() -> None:
    text = """g (float[2] x, bool p) => (float[2] y) {
      [a] a = Exp(x)
      [i] b = If(p) <then_branch = t () => (float[2] u) { [t] u = Tanh(a) }, else_branch = e () => (float[2] v)
        { [e] v = Neg(a) }>
      [c] y = Sigmoid(b) }"""
    state = run(model_of(text, 17), "float16_model:skip=t+e")
    places = [match.where for match in state.steps[0].matches]
    assert places == ["a", "c"]
    state = run(model_of(text, 17), "float16_model:skip=t")
    assert [match.where for match in state.steps[0].matches] == ["a", "i", "c", "e"]


def test_what_is_computed_with_a_node_that_stays_is_folded_all_the_same() -> None:
    assert lines(run(model_of(SUMS, 17), "fold_constants:only=t").graph) == [
        "s = Add(p, q)",
        "u = Neg(s)",
        "y = Add(x, t)",
        "z = Add(x, u)",
    ]
    assert lines(run(model_of(SUMS, 17), "fold_constants:skip=s").graph) == ["y = Add(x, t)", "z = Add(x, u)"], (
        "nothing reads it any more"
    )


def test_a_node_of_a_native_pass_is_chosen_inside_a_sequence() -> None:
    graph = model_of(SUMS, 17)
    stage = parse_pipeline("optimize:skip=fold_constants@t+fold_constants_float16@t", Catalog())[0]
    outcome = apply_stage(graph, stage, Catalog())
    assert [node.op_type for node in graph.nodes] == ["Mul", "Add", "Add"]
    assert [place.where for place in outcome.places if place.spec == "fold_constants"] == ["s", "u"]


SCALES = """g (float[8] x) => (float[8] y, float[8] z) <float big = {60000}, float down = {0.00001}> {
  [a] a = Sigmoid(x) [up] b = Mul(a, big) [over] c = Mul(b, big) [down] d = Mul(c, down) [back] y = Mul(d, down)
  [z] z = Tanh(a) }"""


def test_bisect_names_the_node_that_float16_is_too_small_for(cli: Cli) -> None:
    cli.save("m.onnx", SCALES)
    ended = cli("bisect", "-p", "float16_model", "--min", "cosine=0.99", "m.onnx", "--report", "sarif:b.sarif")
    assert ended.code == 1 and "culprit: float16_model at over" in ended.out
    assert "culprit: float16_model at down" in ended.out, "1e-5 is next to nothing in float16"
    assert "go on without: graphtool run --passes float16_model:skip=over+down m.onnx --min cosine=0.99" in ended.out
    assert '"name": "over"' in (cli.folder / "b.sarif").read_text()


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_tune_finds_the_nodes_that_must_stay_float32(cli: Cli, quick: list[str]) -> None:
    cli.save("m.onnx", SCALES)
    words = ["tune", "-p", "float16_model", "--min", "cosine=0.99", "m.onnx", *quick]
    out = cli.ok(*words)
    assert "float16_model:skip=" in out and "over" in out.split("pipeline: ")[1].split()[0]
    found = cli(*words, "--json").json()
    left = {unit["where"] for unit in found["order"]} - {unit["where"] for unit in found["taken"]}
    assert left == {"over", "down"}
    assert bool(found["alone"]) == (not quick)
    assert cli(*found["command"].split()[1:]).code == 0
    assert "leave one out" in cli.refused(*words, "--quick", "--plot", "p.svg")


def test_what_holds_as_a_whole_is_not_run_match_by_match(cli: Cli) -> None:
    cli.save("m.onnx", HALF)
    out = cli.ok("tune", "-p", "float16_model", "--min", "cosine=0.9", "m.onnx")
    assert "all of them together keep the budget" in out and "4 of 4 matches" in out
    found = cli("tune", "-p", "float16_model", "--min", "cosine=0.9", "m.onnx", "--json").json()
    assert found["runs"] == 4 and found["alone"] == [], "as given, without, and on two held-out feeds"
