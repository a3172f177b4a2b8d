"""What cones will ask for is known before the original is run; where it turns out otherwise, verdicts are the same.

Work is counted in nodes and recorded bytes, never in seconds.
"""

from __future__ import annotations

from functools import partial

import pytest
from test_cone import CATALOG, RECIPROCAL, chain, rule, through, verdict

from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.parity.feed import draw
from graphtool.parity.forecast import forecast
from graphtool.parity.session import Session
from graphtool.parity.tape import Tape
from graphtool.rewrite import Pass, Stage
from graphtool.rewrite.params import resolve
from graphtool.step import Run

FORECAST = "graphtool.parity.forecast.forecast"
ONE = 2 * 3 * 16 * 16 * 4  # bytes of a tensor of the chain


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let memory hold two tensors of the chain."""
    monkeypatch.setattr("graphtool.parity.cone.Tape", partial(Tape, memory=2 * ONE))


def asked(graph: Graph, *specs: Pass) -> set[str]:
    stages = [Stage(spec, resolve(spec.params, {}, spec.name), "x") for spec in specs]
    return set(forecast(graph.copy(), stages, CATALOG, draw(graph).arrays))


def at(site: int, right: bool = True, parity: str = "exact") -> Pass:
    """Return a pass that makes the division of one site a multiplication."""
    factor = "1 / scalar(k)" if right else "0.13"
    let = f'r = "like({factor}, x)"'
    return rule("y = Div(x, k)", "y = Mul(x, r)", let, parity, f"scalar(k) == {2 ** (site + 1)}")


def tape(state: Run) -> Tape:
    assert state.judge is not None and state.judge.lead.cones is not None
    return state.judge.lead.cones.tape


def test_the_borders_of_what_changes_are_asked_for() -> None:
    assert asked(chain(), at(3), at(7)) == {"c3", "d3", "c7", "d7"}


def test_what_a_later_stage_changes_again_is_asked_for_in_the_original() -> None:
    assert asked(chain(), at(3), rule("y = Mul(x, r)", "n = Neg(r) m = Neg(x) y = Div(m, n)")) == {"c3", "d3"}
    assert asked(chain(), at(9), rule("y = Tanh(x)", "n = Neg(x) m = Sinh(n) y = Neg(m)")) == {"c9", "d9", "y"}


def test_a_close_pass_asks_for_its_matches_too() -> None:
    body = "b{n} = BatchNormalization(c{n}, s, t, m, v) d{n} = Div(b{n}, k{n})"
    graph = chain(more=", float[3] s, float[3] t, float[3] m, float[3] v = {1,2,3}", at={3: body})
    assert asked(graph, CATALOG.get("fuse_conv_bn"), at(7)) == {"d2", "b3", "c7", "d7"}


def test_what_is_judged_by_whole_runs_asks_for_nothing() -> None:
    text = "g (float[4] x) => (float[4] y) <float k = {2}> {" + " ".join(
        f"a{n} = Div({f'a{n - 1}' if n else 'x'}, k)" for n in range(41)
    ) + " y = Neg(a40) }"  # fmt: skip
    assert not asked(model_of(text, 17), RECIPROCAL)
    assert not asked(chain(), rule("y = Div(x, k)", "y = Mul(x, k)", parity="lossy"))


def test_an_error_of_a_pass_is_left_to_the_run() -> None:
    endless = rule("y = Div(x, k)", "z = Div(x, k) y = Neg(z)")
    assert asked(chain(), at(3), endless) == {"c3", "d3"}


def test_only_what_is_asked_for_is_recorded() -> None:
    state = through(chain(), at(3), at(7), at(8))
    assert state.ok and all(step.verdict and step.verdict.judged == "cone of 1 node" for step in state.steps)
    assert tape(state).recorded is None
    assert len(tape(state)) <= 6 + 2, "two at each of three sites, and what lies before those that are met too late"


def test_with_a_single_stage_or_room_for_everything_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> frozenset[str]:
        raise AssertionError("asked")

    monkeypatch.setattr(FORECAST, never)
    assert through(chain(), at(3, parity="close")).ok
    monkeypatch.setattr("graphtool.parity.cone.Tape", Tape)
    assert through(chain(), at(3), at(7)).ok
    with pytest.raises(AssertionError, match="asked"):
        monkeypatch.setattr("graphtool.parity.cone.Tape", partial(Tape, memory=2 * ONE))
        through(chain(), at(3), at(7))


# -- where the run goes another way than the forecast


def both(graph: Graph, *specs: Pass, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a pipeline that goes on behind what is refused, with a forecast and without; verdicts are the same."""
    with monkeypatch.context() as patch:
        patch.setattr(FORECAST, lambda *_: None)
        other = through(graph.copy(), *specs, keep_going=True)
        assert tape(other).recorded is not None
    Session.work.nodes = 0
    state = through(graph.copy(), *specs, keep_going=True)
    assert [(step.status, step.reason) for step in state.steps] == [(step.status, step.reason) for step in other.steps]
    for one, two in zip(state.steps, other.steps, strict=True):
        assert (one.verdict and one.verdict.figures) == (two.verdict and two.verdict.figures)
    assert state.graph.proto == other.graph.proto
    return state


def test_a_stage_that_matches_only_since_the_one_before_was_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = rule("y = Div(x, k)", "y = Mul(x, k)")
    graph = chain()
    assert asked(graph, wrong, at(9)) & {"c9", "d9"} == {"c9", "d9"}
    few = rule("y = Div(x, k)", "y = Mul(x, k)", where="scalar(k) >= 128")
    assert asked(graph, few, at(9), at(2)) == {"c6", "d6", "c7", "d7", "c8", "d8", "c9", "d9", "c2", "d2"}
    state = both(graph, few, at(9), at(2), monkeypatch=monkeypatch)
    assert [step.status for step in state.steps] == ["broken", "applied", "applied"]
    assert verdict(state, 1).judged.startswith("cone of ")


def test_a_stage_whose_matches_lie_where_nothing_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forecast has the two stages behind the first find nothing: it took what they are for."""
    taken = rule("y = Div(x, k)", "m = Mul(x, k) y = Sqrt(m)", where="scalar(k) <= 512", parity="lossy")
    graph = chain()
    assert not asked(graph, taken, at(2), at(7))
    taken = rule("y = Div(x, k)", "m = Mul(x, k) n = Abs(m) y = Sqrt(n)", where="scalar(k) <= 64")
    assert asked(graph, taken, at(4), at(9)) == {*(f"{t}{n}" for t in "cd" for n in (0, 1, 2, 3, 4, 5, 9))}
    for other in (at(4), at(9), at(4, parity="close"), at(4, right=False), at(4, right=False, parity="close")):
        state = both(graph, taken, other, at(7), monkeypatch=monkeypatch)
        assert state.steps[0].status == "broken" and state.steps[2].status == "applied"


@pytest.mark.parametrize("right", [True, False])
def test_what_a_forecast_does_not_foresee_costs_runs_and_no_verdict(
    right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = chain()
    with monkeypatch.context() as patch:
        patch.setattr(FORECAST, lambda *_: frozenset({"c0"}))
        state = through(graph.copy(), at(9, right), at(8), at(7), keep_going=True)
    assert [step.status for step in state.steps] == ["applied" if right else "broken", "applied", "applied"]
    assert verdict(state, 2).judged.startswith("cone of "), "a whole run recorded what was missing"
