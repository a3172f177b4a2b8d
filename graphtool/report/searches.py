"""What ``bisect``, ``tune`` and ``reduce`` found, as reports: what every format but text is written from. Floor 7."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphtool.culprit.bench import Unit
from graphtool.culprit.bisect import Culprit
from graphtool.errors import show
from graphtool.finding import Bisected, Ranks, Tuning, unit_text
from graphtool.reduction import Written
from graphtool.report.culprit import (
    bisected_data,
    broken_text,
    cost_text,
    damage_text,
    plural,
    ranks_data,
    tuned_data,
    value_text,
)
from graphtool.report.data import document
from graphtool.report.figures import figure_text
from graphtool.report.finding import Finding, Item, Report
from graphtool.report.reduced import name_of, reduced_data

_CULPRIT = "A match that breaks a promise or a budget; without it the pipeline may go on"
_NOTE = "Something to know about this search"


def bisected_report(found: Bisected) -> Report:
    """Return the report of ``graphtool bisect``: an item a pass, a finding for each match that is to blame."""
    finding, bench, model = found.finding, found.bench, str(found.request.model)
    guilty = {unit for culprit in finding.culprits for unit in culprit.units}
    failed: set[int | None] = {unit.stage for unit in guilty} or {finding.whole.stage}
    items = []
    for number, stage in enumerate(bench.stages):
        own = [unit for unit in finding.whole.units if unit.stage == number]
        named = [unit_text(bench, unit) for unit in own if unit in guilty]
        cells = (stage.spec.parity, str(len(own)), str(len(named)))
        if finding.whole.ok or number not in failed:
            late = finding.whole.stage is not None and number > finding.whole.stage
            items.append(Item(stage.text(), "skipped" if late else "passed", cells, "not reached" if late else ""))
        else:
            items.append(Item(stage.text(), "failed", cells, finding.whole.reason, "\n".join(named)))
    findings = [
        _culprit(found, culprit, unit, n) for n, culprit in enumerate(finding.culprits) for unit in culprit.units
    ]
    if not finding.whole.ok and not findings:
        text = f"{broken_text(bench, finding.whole)}; it is the pass as a whole"
        findings.append(Finding("broken-promise", "error", text, model, summary="A pass as a whole breaks it"))
    said = [*bench.notes, *(f"go on without: {without}" for _, without in found.commands[:1] if finding.complete)]
    if not finding.complete:
        said.append(f"there are more culprits: without these {len(finding.culprits)} it still breaks")
    if not finding.monotone:
        said.append("not monotone: some sets of matches hold although a part of them breaks it; damages cancel")
    whole = "every promise" + (" and budget" if bench.budgets else "") + " holds"
    summary = whole if finding.whole.ok else broken_text(bench, finding.whole)
    return Report(
        "bisect", model, finding.whole.ok, summary, ("pass", "promise", "matches", "to blame"), tuple(items),
        (*findings, *_notes(said, model)), document("bisect", bisected_data(found)),
    )  # fmt: skip


def _culprit(found: Bisected, culprit: Culprit, unit: Unit, number: int) -> Finding:
    others = [unit_text(found.bench, other) for other in culprit.units if other != unit]
    together = f", together with {', '.join(others)}" if others else ""
    text = f"{unit_text(found.bench, unit)}{together}: {culprit.alone.reason}; show it: {found.commands[number][0]}"
    return Finding("culprit", "error", text, str(found.request.model), unit.place.where, summary=_CULPRIT)


def ranks_report(found: Ranks) -> Report:
    """Return the report of ``graphtool bisect --rank``: an item a match, the most damaging first."""
    bench, ranking, model = found.bench, found.ranking, str(found.request.model)
    measure = ranking.measure
    items = [
        Item(
            unit_text(bench, row.unit), "passed", (cost_text(measure, row.alone), value_text(measure, row.without)),
            detail="\n".join(f"{show(name)}: {figure_text(moved)}" for name, moved in row.alone.figures.items()),
        )
        for row in ranking.rows
    ]  # fmt: skip
    summary = f"all {plural(len(ranking.rows), 'match')}: {value_text(measure, ranking.whole)}"
    return Report(
        "bisect", model, True, summary, ("match", "alone costs", "without it"), tuple(items),
        tuple(_notes(bench.notes, model)), document("rank", ranks_data(found)), heading="ranked",
    )  # fmt: skip


def tuned_report(found: Tuning) -> Report:
    """Return the report of ``graphtool tune``: an item a match, the least damaging first, skipped where left out."""
    bench, tuned, model = found.bench, found.tuned, str(found.request.model)
    taken = set(tuned.taken)
    items = []
    damages = [damage_text(tuned.measure, damage).strip() for damage in tuned.alone] or ["not run"] * len(tuned.order)
    for unit, damage in zip(tuned.order, damages, strict=True):
        cells = (damage, "taken" if unit in taken else "left out")
        why = "" if unit in taken else "left out: the budget does not hold with it"
        items.append(Item(unit_text(bench, unit), "skipped" if why else "passed", cells, why))
    said = [*bench.notes]
    for item in tuned.dropped:
        where = found.feeds[item.held_out].text()
        said.append(f"given back: {unit_text(bench, item.unit)}: on {where} {item.reason}")
    for feed, attempt in zip(found.feeds, tuned.held_out, strict=True):
        said.append(f"held out, {feed.text()}: {value_text(tuned.measure, attempt)}")
    if not found.feeds:
        said.append("not verified on other feeds: name some with --held-out")
    if tuned.text:
        said.append(f"run it: {found.command}")
    summary = f"{len(tuned.taken)} of {plural(len(tuned.order), 'match')}: {value_text(tuned.measure, tuned.result)}"
    return Report(
        "tune", model, True, summary, ("match", "alone", "tuned"), tuple(items), tuple(_notes(said, model)),
        document("tune", tuned_data(found)), heading="tuned",
    )  # fmt: skip


def reduced_report(found: Written) -> Report:
    """Return the report of ``graphtool reduce``: one item, the model, which fails; a finding with the failure."""
    reduced, model = found.reduced, str(found.wish.request.model)
    before, after = reduced.before, reduced.after
    pairs = zip((before.nodes, before.weights, before.inputs), (after.nodes, after.weights, after.inputs), strict=True)
    cells = tuple(f"{was} -> {now}" for was, now in pairs)
    nodes = reduced.case.graphs[0].nodes
    detail = "\n".join(f"{node.op_type} {name_of(node)}" for node in nodes)
    said = [*found.notes]
    if reduced.spent:
        said.append(f"stopped after {reduced.attempts} models; --attempts N tries more")
    said.append(f"in {found.folder}: {found.command}")
    node = reduced.failure.node or (name_of(nodes[0]) if len(nodes) == 1 else "")
    failure = Finding("failure", "error", reduced.failure.text, model, node, summary="What the smallest model shows")
    return Report(
        "reduce", model, True, f"{cells[0]} nodes: {reduced.failure.text}", ("model", "nodes", "weights", "inputs"),
        (Item(model, "failed", cells, reduced.failure.text, detail),), (failure, *_notes(said, model)),
        document("reduce", reduced_data(found)), heading="reduced",
    )  # fmt: skip


def _notes(said: Sequence[str], model: str) -> Iterator[Finding]:
    return (Finding("note", "note", text, model, summary=_NOTE) for text in dict.fromkeys(said))
