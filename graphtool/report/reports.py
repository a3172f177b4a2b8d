"""What a run came to, as a report: what every format but text is written from. Floor 7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphtool.errors import show
from graphtool.job import Result
from graphtool.report.console import verdict_word
from graphtool.report.data import document, result_data
from graphtool.report.figures import figure_text
from graphtool.report.finding import Finding, Item, Report, Status
from graphtool.step import Step, broken_text

_MANY_NODES = 20_000
_LINES = 20  # of a step's diff, of one sort
_STATUS: Mapping[str, Status] = {
    "applied": "passed",
    "unmatched": "skipped",
    "broken": "failed",
    "unchecked": "skipped",
}


def run_report(result: Result, command: str) -> Report:
    """Return the report of ``graphtool run`` or ``optimize``: an item a pass; findings for what broke and notes."""
    run = result.run
    held = sum(step.status == "applied" for step in run.steps)
    counts = f"{run.original.node_count} -> {run.graph.node_count} nodes, {held} of {len(run.steps)} passes applied"
    if run.feed is None:
        counts += ", not checked (--no-check)"
    elif run.judge is not None and run.judge.original is not None:
        feeds = [seat.name for seat in run.judge.seats]
        counts += (
            f", judged on {feeds[0]}" if len(feeds) == 1 else f", judged on {len(feeds)} feeds: {'; '.join(feeds)}"
        )
    return Report(
        command,
        str(result.request.model),
        not result.fault,
        result.fault or (f"{counts}; wrote {result.path}" if result.path else counts),
        ("pass", "matches", "nodes", "promise", "verdict"),
        tuple(map(_item, run.steps)),
        tuple(_findings(result)),
        document("run", result_data(result)),
    )


def _item(step: Step) -> Item:
    cells = (str(len(step.matches)), f"{step.nodes[0]} -> {step.nodes[1]}", step.stage.spec.parity, verdict_word(step))
    message = {"broken": broken_text(step), "unmatched": f"nothing to do: {step.reason}", "unchecked": "not checked"}
    status, said = _STATUS[step.status], message.get(step.status, "")
    if step.status == "applied" and step.verdict is not None and step.verdict.rule == "structure":
        status, said = _STATUS["unchecked"], "judged by structure only: its numbers were not checked"
    return Item(step.stage.text(), status, cells, said, "\n".join(_detail(step)))


def _detail(step: Step) -> Iterator[str]:
    if step.verdict is not None:
        for name, found in step.verdict.figures.items():
            allowed = f" (allowed {step.verdict.tolerance[name]:.3g})" if name in step.verdict.tolerance else ""
            yield f"{show(name)}: {figure_text(found)}{allowed}"
    # of a large graph that nobody runs the difference costs more than the passes; the terminal draws the line sooner
    if step.changes is not None and (step.verdict is not None or max(step.nodes) <= _MANY_NODES):
        yield from step.changes.diff().lines(_LINES)


def _findings(result: Result) -> Iterator[Finding]:
    file = str(result.request.model)
    broken = [step for step in result.run.steps if step.status == "broken"]
    for step in broken:
        summary = "A pass broke its promise, or is over its budget; it was undone"
        yield Finding("broken-promise", "error", broken_text(step), file, _culprit(step), summary=summary)
    refused = [one for one in result.batches if not one.ok]
    for one in refused:
        yield Finding("no-atc-command", "error", one.text(), file, summary="No ATC command could be written")
    if result.fault and not any(broken_text(step) == result.fault for step in broken) and result.path is None:
        yield Finding("refused", "error", result.fault, file, summary="The result was not written")
    if result.atc_fault:
        yield Finding("no-atc-command", "warning", result.atc_fault, file, summary="No ATC command could be written")
    notes = [*result.run.notes, *(note for step in result.run.steps if step.verdict for note in step.verdict.notes)]
    for note in dict.fromkeys([*notes, *result.hints]):
        yield Finding("note", "note", note, file, summary="Something to know about this run")


def _culprit(step: Step) -> str:
    """Return the match that is to blame: the one furthest from the truth, or the only one; else nothing."""
    if step.verdict is not None and (failed := [truth for truth in step.verdict.truths if not truth.ok]):
        return max(failed, key=lambda truth: truth.after).where
    return step.matches[0].where if len(step.matches) == 1 else ""
