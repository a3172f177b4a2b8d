"""Passes that are repeated look only where something has changed: the same graph as when they look everywhere."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import pytest
from onnx import NodeProto, printer
from onnx.parser import parse_model
from randombodies import PARTS
from randomgraphs import random_model

from graphtool.cases import model_of
from graphtool.graph import Graph
from graphtool.graph.journal import Journal
from graphtool.rewrite import Catalog, apply_stage, parse_pipeline

CATALOG = Catalog()
OPTIMIZE = parse_pipeline("optimize", CATALOG)[0]


class Everywhere(Journal):
    """A journal that lets everybody look at everything each time."""

    def is_new(self, graph: Graph, key: Hashable) -> bool:
        return True

    def again(self, graph: Graph, key: Hashable, slots: Sequence[int], steps: int | None) -> Sequence[int]:
        return slots


def optimized(graph: Graph, journal: Journal | None) -> tuple[list[str], bytes]:
    own = graph.copy()
    own.journal = journal
    found = apply_stage(own, OPTIMIZE, CATALOG, record=False).applied.matches
    return sorted(f"{match.where}: {match.body}" for match in found), own.full_proto().SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_a_journal_leaves_out_would_not_match(seed: int) -> None:
    graph = Graph(random_model(seed, PARTS))
    assert optimized(graph, None) == optimized(graph, Everywhere())


def test_a_rule_that_looks_far_is_looked_at_again() -> None:
    # once two Neg are gone, what a pool reads is never negative: they lie further up than any statement of the match
    graph = model_of(
        "g (float[1,4,4,3] x) => (float[1,3,3,4] y) <int64[8] p = {0,0,0,0,0,0,1,1}, int64[1] z = {0}, "
        "int64[1] e = {1}> { r = Relu(x) a = Neg(r) b = Neg(a) c = Transpose<perm=[0,3,2,1]>(b) d = Slice(c, z, e) "
        "f = Transpose<perm=[0,1,3,2]>(d) q = Pad(f, p) y = MaxPool<kernel_shape=[2,2]>(q) }", 17)  # fmt: skip
    graph.journal = Journal()
    pad, repeats = parse_pipeline("fold_pad_max_pool,remove_repeats", CATALOG)
    found = [len(apply_stage(graph, stage, CATALOG).applied.matches) for stage in (pad, repeats, pad, pad)]
    assert found == [0, 1, 1, 0]


def _with_if() -> Graph:
    return Graph(
        parse_model(
            """
            <ir_version: 8, opset_import: ["" : 17]>
            agraph (float[N, 4] x, bool c) => (float[N, 4] y) {
                z = Identity(x)
                s = Neg(x)
                y = If(c) <
                    then_branch = t () => (float[N, 4] a) { b = Relu(z) a = Neg(b) },
                    else_branch = e () => (float[N, 4] d) { d = Abs(s) }
                >
            }"""
        )
    )


def _bodies(graph: Graph) -> list[Graph]:
    return list(graph.bodies())


def test_a_body_is_the_same_graph_until_what_it_is_given_changes() -> None:
    graph = _with_if()
    assert _bodies(graph)[0] is not _bodies(graph)[0], "nobody says when it has changed"
    graph.journal = Journal()
    first = _bodies(graph)[0]
    assert first.value("b") is not None
    facts = first.facts
    assert _bodies(graph)[0] is first
    assert first.facts is facts
    graph.set_input(1, 0, "z")  # of the Neg, whose result the other branch reads
    assert _bodies(graph)[0].facts is not facts, "its holder reads a value that was touched"
    graph.reindex()
    assert _bodies(graph)[0] is not first


def test_edits_in_a_body_are_seen_around_it_and_by_nobody_else() -> None:
    graph = _with_if()
    graph.journal = journal = Journal()
    _bodies(graph)
    for key in ("all", "outside"):
        journal.look(graph, key)
    bodies = graph.bodies()
    body = next(bodies)
    facts = body.facts
    body.set_input(0, 0, "s")
    next(bodies)
    list(bodies)
    assert graph.index.reader_slots("z") == []
    assert graph.index.uses("s") == 1, "a node counts once for all its bodies"
    assert journal.is_new(graph, "all")
    assert _bodies(graph)[0].facts is facts, "it knows of its own edits"


def test_a_captured_value_is_renamed_in_bodies_that_are_known() -> None:
    graph = _with_if()
    graph.journal = Journal()
    body = _bodies(graph)[0]
    graph.replace_uses("z", "x")
    assert _bodies(graph)[0] is body
    assert body.index.reader_slots("x") == [0]
    assert graph.index.reader_slots("z") == []
    assert graph.index.uses("x") == 3
    assert "Relu(x)" in printer.to_text(graph.full_proto()).replace(" (", "(")


def test_a_value_that_a_body_hands_out_is_renamed_too() -> None:
    model = parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[4] x, bool c) => (float[4] y) {
            z = Identity(x)
            y = If(c) <
                then_branch = t () => (float[4] z) { },
                else_branch = e () => (float[4] d) { d = If(c) <
                    then_branch = tt () => (float[4] z) { },
                    else_branch = ee () => (float[4] f) { f = Abs(z) }
                > }
            >
        }"""
    )
    graph = Graph(model)
    graph.journal = Journal()
    assert not graph.hides("x", 1)
    assert graph.hides("f", 1)
    graph.replace_uses("z", "x")
    text = printer.to_text(graph.full_proto())
    assert text.count("z") == 1, "the output of the Identity alone"
    assert graph.index.uses("x") == 2


def test_the_kinds_of_thousands_of_bodies_are_asked_for_once_between_two_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _with_if()
    walks: list[Graph] = []
    levels = Graph.levels

    def counted(own: Graph) -> Iterator[Graph]:
        walks.append(own)
        return levels(own)

    monkeypatch.setattr(Graph, "levels", counted)

    def asked() -> int:
        walks.clear()
        assert graph.kinds() == {frozenset({"Identity", "Neg", "If"}), frozenset({"Relu", "Neg"}), frozenset({"Abs"})}
        return walks.count(graph)

    assert [asked(), asked()] == [1, 1], "nobody says when it has changed"
    graph.journal = Journal()
    assert [asked(), asked()] == [1, 0]
    for body in graph.bodies():
        if body.index.producer_slot("d") is not None:
            body.append_node(NodeProto(op_type="Exp", input=["d"], output=["h"]))
    assert frozenset({"Abs", "Exp"}) in graph.kinds(), "an edit in a body is one of the graph"


def test_the_first_edit_of_a_graph_is_noted_with_what_was_read_and_made_before() -> None:
    """Nobody has asked for a row of this graph when its nodes are changed."""
    graph = model_of("g (float[2] x, float[2] u) => (float[2] y) { a = Relu(x) y = Neg(a) }", 17)
    graph.journal = journal = Journal()
    graph.set_input(0, 0, "u")
    assert journal.touched == ["x", "u"]
    graph = model_of("g (float[2] x, float[2] u) => (float[2] y) { a = Relu(x) y = Neg(a) }", 17)
    graph.journal = journal = Journal()
    graph.rename_output(0, 0, "b")
    assert journal.touched == ["a", "b"]
