"""Local changes judged on their cones: what is right is accepted at little cost, what is wrong is refused and named.

Whole runs are counted in nodes that onnxruntime ran (``Session.work``), never in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from rewriting import pass_of

from graphtool import pipeline
from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.parity.cone import Cone, Cones
from graphtool.parity.feed import draw
from graphtool.parity.judge import Judge
from graphtool.parity.session import Session
from graphtool.parity.verdict import Verdict
from graphtool.rewrite import Catalog, Pass, Stage, apply_stage, parse_pipeline
from graphtool.step import Run
from graphtool.zoo.icnet import build_icnet

CATALOG = Catalog()
SITES = 10


def chain(body: str = "d{n} = Div(c{n}, k{n})", more: str = "", at: Mapping[int, str] | None = None) -> Graph:
    """Return ten convolutions in a row with ``body`` (or what ``at`` has) behind each; 2, 4, 8 ... are the divisors."""
    weights = ", ".join(f"float[3,3,3,3] w{n}, float k{n} = {{{2 ** (n + 1)}}}" for n in range(SITES)) + more
    bodies = [(at or {}).get(n, body).format(n=n) for n in range(SITES)]
    nodes = " ".join(
        f"c{n} = Conv<pads=[1,1,1,1]>({f'd{n - 1}' if n else 'x'}, w{n}) {bodies[n]}" for n in range(SITES)
    )
    text = f"g (float[2,3,16,16] x) => (float[2,3,16,16] y) <{weights}> {{ {nodes} y = Tanh(d{SITES - 1}) }}"
    return model_of(text, 17)


def rule(match: str, replace: str, let: str = "", parity: str = "exact", where: str = "") -> Pass:
    text = f"[[rewrite]]\nmatch = '{match}'\nreplace = '{replace}'\nwhere = [{where!r}]\n[rewrite.let]\n{let}\n"
    text = text.replace("where = ['']\n", "")
    return pass_of(text, f'summary = "s"\nwhy = "w"\nparity = "{parity}"\n')


def through(graph: Graph, *specs: Pass | str, keep_going: bool = False) -> Run:
    stages = [
        stage
        for spec in specs
        for stage in ([Stage(spec, {}, "x")] if isinstance(spec, Pass) else parse_pipeline(spec, CATALOG))
    ]
    state = pipeline.begin(graph, stages, CATALOG, draw(graph))
    for _ in pipeline.advance(state, CATALOG, keep_going):
        pass
    return state


def verdict(state: Run, place: int = 0) -> Verdict:
    found = state.steps[place].verdict
    assert found is not None, state.steps[place].reason
    return found


RECIPROCAL = rule("y = Div(x, k)", "y = Mul(x, r)", 'r = "like(1 / scalar(k), x)"')


def test_a_right_change_at_ten_places_is_accepted_on_its_cone() -> None:
    state = through(chain(), "remove_identity", RECIPROCAL)
    assert verdict(state, 1).ok and verdict(state, 1).judged.startswith("cone of ")
    assert state.closed is not None and state.closed.verdict is None and state.closed.figures["y"].changed == 0


# each wrong in one way: what stands behind a convolution, the pattern, what replaces it, lets, the node that is named
WRONG = {
    "wrong attribute": ("d{n} = Transpose<perm=[0,1,3,2]>(c{n})", "y = Transpose<perm=[0,1,3,2]>(x)",
                        "y = Transpose<perm=[0,1,2,3]>(x)", "", "Transpose_1"),
    "swapped inputs": ("d{n} = Sub(c{n}, k{n})", "y = Sub(a, b)", "n = Neg(a) y = Add(n, b)", "", "Sub_1"),
    "off-by-one pad": ("p{n} = Pad(c{n}, around) d{n} = Conv(p{n}, w{n})", "p = Pad(x, around) y = Conv(p, w)",
                       "y = Conv<pads=[2,1,0,1]>(x, w)", "", "Conv_2"),
    "lost batch": ("d{n} = Neg(c{n})", "y = Neg(x)",
                   "f = Gather<axis=0>(x, zero) z = Sub(f, f) m = Sub(z, f) s = Shape(x) y = Expand(m, s)",
                   'zero = "int64([0])"', "Neg_1"),
    "one bad among nine good": ("d{n} = Div(c{n}, k{n})", "y = Div(x, k)", "y = Mul(x, r)",
                                'r = "like(1 / scalar(k) if scalar(k) != 8 else 0.13, x)"', "Div_5"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_rewrite_is_refused_and_its_match_named(kind: str) -> None:
    body, match, replace, let, node = WRONG[kind]
    graph = chain(body, ", int64[8] around = {0,0,1,1,0,0,1,1}")
    for parity in ("exact", "close"):
        state = through(graph.copy(), rule(match, replace, let, parity))
        assert state.steps[0].status == "broken", kind
        name = node if parity == "exact" or "one bad" in kind else node.rstrip("0123456789")  # the first, or the worst
        assert f"'{name}" in state.steps[0].reason, state.steps[0].reason
        assert [n.op_type for n in state.graph.nodes] == [n.op_type for n in graph.nodes], "undone"


def test_a_cone_alone_finds_the_bad_match() -> None:
    graph = chain()
    before = graph.copy()
    stage = Stage(rule("y = Div(x, k)", "y = Mul(x, r)", WRONG["one bad among nine good"][3]), {}, "x")
    outcome = apply_stage(graph, stage, CATALOG)
    judge = Judge(before.copy(), draw(before), {}, record=True)
    assert judge.cones is not None
    made = {name: match.where for match in outcome.applied.matches for name in match.outputs}
    cone = judge.cones.cone(graph, judge.feed, {}, final=made)
    assert [made[name] for name in cone.differ] == ["Div_5"]


def test_a_wrong_inner_number_that_no_output_shows_is_told() -> None:
    text = "g (float[4,8] x) => (float[4,8] y) { a = Neg(x) b = Exp(a) z = Sub(b, b) c = Relu(x) y = Add(z, c) }"
    state = through(model_of(text, 17), rule("y = Neg(x)", "y = Mul(x, k)", 'k = "like(-1.5, x)"'))
    assert state.ok
    assert "the first tensor that differs is 'a', of match 'Neg_0', which no output shows" in verdict(state).notes[0]


# -- cost


def nodes_run(graph: Graph, *specs: Pass | str) -> tuple[float, Run]:
    """Return how often the whole graph was run, in nodes, beyond the two runs of the original."""
    Session.work.nodes = 0
    count = len(graph.nodes)
    state = through(graph, *specs)
    assert state.ok, [step.reason for step in state.steps]
    return Session.work.nodes / count - 2, state


def test_ten_local_passes_cost_a_run_at_the_end_and_their_cones() -> None:
    one = [f"scalar(k) == {2 ** (n + 1)}" for n in range(SITES)]
    specs = [rule("y = Div(x, k)", "y = Mul(x, r)", 'r = "like(1 / scalar(k), x)"', where=where) for where in one]
    runs, state = nodes_run(chain(), *specs)
    assert all(step.verdict and step.verdict.judged.startswith("cone of ") for step in state.steps)
    assert runs < 1 + SITES * 0.2, "one whole run, and at each site the node before, the node after and what they need"


def test_what_is_not_touched_is_not_run() -> None:
    text = "g (float[4,8] x) => (float[4,8] y, float[4,8] z) { a = Identity(x) b = Neg(a) y = Exp(b) z = Neg(b) }"
    runs, state = nodes_run(model_of(text, 17), "remove_identity,prune_outputs:keep=y")
    assert [verdict(state, place).judged for place in (0, 1)] == ["untouched", "untouched"]
    assert runs <= 1, "the run at the end"


def test_a_cast_of_an_output_is_judged_on_the_cast() -> None:
    runs, state = nodes_run(chain(), "output_fp16")
    assert verdict(state).judged == "cone of 1 node" and verdict(state).rule == "cast"
    assert runs < 1.2


def test_above_forty_sites_the_whole_graph_is_run() -> None:
    text = "g (float[4] x) => (float[4] y) <float k = {2}> {" + " ".join(
        f"a{n} = Div({f'a{n - 1}' if n else 'x'}, k)" for n in range(41)
    ) + " y = Neg(a40) }"  # fmt: skip
    state = through(model_of(text, 17), RECIPROCAL)
    assert verdict(state).ok and verdict(state).judged == "whole" and state.closed is None


def test_a_close_pass_is_accepted_by_truth_on_its_cone_and_the_next_on_what_was_recorded() -> None:
    body = "b{n} = BatchNormalization(c{n}, s, t, m, v) d{n} = Div(b{n}, k{n})"
    graph = chain(more=", float[3] s, float[3] t, float[3] m, float[3] v = {1,2,3}", at={3: body})
    state = through(graph, "fuse_conv_bn", RECIPROCAL)
    assert verdict(state).rule == "truth"
    assert verdict(state, 1).rule == "equal" and verdict(state, 1).judged.startswith("cone of ")
    assert state.closed is not None and state.closed.verdict is None and state.closed.figures["y"].changed > 0


# -- the end


def accepting(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """Let cones accept the pass whose new node is of the type ``wrong``, whatever it computes."""
    honest = Cones.cone

    def cone(self: Cones, graph: Graph, *given: object, **named: object) -> Cone:
        found = honest(self, graph, *given, **named)
        return Cone(found.view, found.nodes) if graph.index.by_type(wrong) else found

    monkeypatch.setattr(Cones, "cone", cone)


@pytest.mark.parametrize("keep_going", [False, True])
def test_the_run_at_the_end_finds_what_a_cone_missed_and_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, keep_going: bool
) -> None:
    accepting(monkeypatch, "Sqrt")
    graph = chain(at={2: "d{n} = Identity(c{n})", 4: "e = Abs(c{n}) d{n} = Exp(e)"})
    wrong = rule("y = Exp(x)", "y = Sqrt(x)")
    state = through(graph, "remove_identity", wrong, RECIPROCAL, keep_going=keep_going)
    assert [step.status for step in state.steps] == ["applied", "broken"]
    assert state.steps[1].stage.spec is wrong and "'y'" in state.steps[1].reason
    assert state.graph.index.by_type("Exp") and state.graph.index.by_type("Div"), "undone, with all behind it"


def test_judges_that_fork_do_not_hear_of_each_other() -> None:
    graph = chain()
    judge = Judge(graph.copy(), draw(graph), {}, record=True)
    good, bad = graph.copy(), graph.copy()
    steps = [
        (spec, apply_stage(own, Stage(spec, {}, "x"), CATALOG), own)
        for own, spec in ((bad, rule("y = Div(x, k)", "y = Mul(x, k)")), (good, RECIPROCAL))
    ]
    one, two = judge.fork(), judge.fork()
    assert not one.judge(steps[0][0], steps[0][1], graph, bad).ok
    assert two.judge(steps[1][0], steps[1][1], graph, good).ok
    assert not one.judge(steps[0][0], steps[0][1], graph, bad).ok
    assert judge.cones is not None and not judge.unproven and two.unproven


def test_the_mission_on_icnet_costs_two_whole_runs() -> None:
    graph = Graph.from_proto(build_icnet(192, 192))
    runs, state = nodes_run(graph, "resize_nearest,prune_outputs,output_fp16")
    assert [verdict(state, place).judged for place in range(3)] == ["whole", "untouched", "cone of 1 node"]
    assert runs <= 2 and state.closed is not None
