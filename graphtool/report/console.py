"""Results as text. Names from a model only ever come here through ``show``, and never as rich markup."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from graphtool.errors import show
from graphtool.graph import Graph
from graphtool.graph.counts import counts_line, op_counts
from graphtool.job import Result
from graphtool.report.figures import detail_text, figure_text
from graphtool.report.printing import Cell, line, table, width
from graphtool.rewrite import Pass
from graphtool.step import Step, broken_text

# what only a judged run or a difference prints is imported there
if TYPE_CHECKING:
    from graphtool.atc.command import Command
    from graphtool.cases import Result as CaseResult
    from graphtool.diff import Diff
    from graphtool.parity.batch import BatchResult
    from graphtool.parity.panel import Panel
    from graphtool.parity.verdict import Verdict
    from graphtool.rejudge import Rejudged

_MOST_ITEMS = 32  # of a batch whose matrix is printed
_MOST = 6  # names on a line
MANY_NODES = 300  # where a comparison costs more than the passes; with a judge it is little beside the runs
_STYLES = {"applied": "green", "broken": "bold red", "unmatched": "yellow", "unchecked": "yellow"}


_RULES = {
    "equal": "equal",
    "cast": "equal after the cast",
    "noise": "within noise",
    "truth": "no further from the truth",
    "measured": "measured",
    "runs": "runs now",
    "alone": "matches run alone",
    "structure": "structure only",
}


def verdict_word(step: Step) -> str:
    """Return how a step ended in a few words: what decided that it holds, or its status."""
    rule = step.verdict.rule if step.verdict is not None else ""
    return _RULES.get(rule, rule) if step.status == "applied" else step.status


def print_result(result: Result) -> None:
    """Print a whole run: steps, changes, result, ATC lines."""
    run = result.run
    before, after = run.original, run.graph
    feed = _feeds_text(run.judge) if run.judge is not None else "not checked (--no-check)"
    line(f"{show(result.request.model)}: {before.node_count} nodes, opset {before.opset()}; {feed}", "bold")
    for note in run.notes:
        line(f"note: {note}", "yellow")
    _print_table(run.steps)
    for step in run.steps:
        _print_step(step)
    if run.closed is not None and run.ok:
        line("the whole graph was run once more at the end, and computes what was promised", "dim")
        for name, found in run.closed.figures.items():
            if found.changed:
                line(
                    f"    {show(name)}, since the start or the last pass that changes numbers: {figure_text(found)}",
                    "dim",
                )
    if result.path is not None:
        for name, (was, now, total) in result.classes().items():
            line(f"classes in output {show(name)}: {was} of {total} before, {now} after")
    if run.feed is not None and "seed" in run.feed.recipe and any(s.verdict and s.verdict.figures for s in run.steps):
        line("figures are those of feeds drawn at random: they measure change, not accuracy", "dim")
    weak = [step.name for step in run.steps if step.verdict is not None and step.verdict.rule == "structure"]
    if weak:
        line(f"NOT CHECKED in numbers: {names(weak)}; only structure, shapes and onnx.checker were", "bold yellow")
    if result.reproduce:
        line(f"reproduce: {result.reproduce}")
    if result.path is not None:
        line(f"wrote {show(result.path)}: {before.node_count} -> {after.node_count} nodes", "bold")
    else:
        line("no model was written", "bold red")
    print_commands(result.commands, result.atc_fault, result.batches)
    for hint in result.hints:
        line(hint, "cyan")


def _feeds_text(panel: Panel) -> str:
    if panel.original is None and panel.fault is not None:
        return "not run"
    names = [seat.name for seat in panel.seats]
    return f"feed {names[0]}" if len(names) == 1 else f"{len(names)} feeds: {'; '.join(names)}"


def _print_table(steps: Sequence[Step]) -> None:
    """Print what each pass did, a row each."""
    rows: list[tuple[Cell, ...]] = [
        (
            show(step.name),
            str(len(step.matches)),
            f"{step.nodes[0]} -> {step.nodes[1]}",
            step.stage.spec.parity,
            (verdict_word(step), _STYLES.get(step.status, "")),
            f"{step.apply_seconds + step.judge_seconds:.2f}",
        )
        for step in steps
    ]
    table(("pass", "matches", "nodes", "promise", "verdict", "seconds"), rows, right=("matches", "seconds"))


def _print_step(step: Step) -> None:
    line(step.stage.text(), "bold")
    if step.status == "unmatched":
        line(f"  nothing to do: {step.reason}", "yellow")
        return
    line(f"  matched {names(match.where for match in step.matches)}")
    if step.misses:
        more = f" and {len(step.misses) - 1} more (--dry-run lists them)" if len(step.misses) > 1 else ""
        nearest = max(step.misses, key=lambda miss: miss.reach)
        line(f"  not matched: {show(nearest.where)}: {show(nearest.text(), 200)}{more}", "dim")
    if step.changes is not None and step.verdict is None and max(step.nodes) > MANY_NODES:
        line(f"  {counts_line(op_counts(step.changes.before, step.changes.after))}; graphtool diff lists all", "dim")
    elif step.diff is not None:
        head, *rest = step.diff.lines(_MOST)
        line(f"  {head}")
        for text in rest:
            line(f"    {text}", "dim")
        _print_cost(step)
    if step.verdict is not None:
        _print_verdict(step.verdict)
    if step.status == "broken":
        line(f"  {broken_text(step)}; it is undone", "bold red")


def _print_cost(step: Step) -> None:
    if step.changes is None:
        return
    from graphtool.analysis.amounts import change, short, short_bytes

    (madds, moved), (madds_after, moved_after) = step.changes.costs()
    if (madds, moved) != (madds_after, moved_after):
        sums = f"multiply-adds {short(madds)} -> {short(madds_after)} ({change(madds, madds_after)})"
        flow = f"bytes {short_bytes(moved)} -> {short_bytes(moved_after)} ({change(moved, moved_after)})"
        line(f"  cost of all nodes: {sums}, {flow}")


def _on_feeds(verdict: Verdict) -> str:
    """Return on which feed the figures are, where there are several."""
    if not verdict.feeds:
        return ""
    same = all(found.changed == 0 for heard in verdict.feeds for found in heard.figures.values())
    return f", on {len(verdict.feeds)} feeds" if same else f", worst of {len(verdict.feeds)} feeds: {verdict.feed}"


def _print_verdict(verdict: Verdict) -> None:
    if verdict.judged != "whole":
        what = (
            "each output is computed as before: nothing was run"
            if verdict.judged == "untouched"
            else f"judged on a {verdict.judged}"
        )
        line(f"  {what}", "dim")
    if verdict.figures:
        line(f"  compared with {show(verdict.against)}{_on_feeds(verdict)}:")
    for name, found in verdict.figures.items():
        allowed = f" (allowed {verdict.tolerance[name]:.3g})" if name in verdict.tolerance else ""
        line(f"    {show(name)}: {figure_text(found)}{allowed}")
        if found.changed:
            line(f"      {detail_text(found, verdict.tolerance.get(name))}", "dim")
    if verdict.step:
        line("  compared with the step before:")
        for name, found in verdict.step.items():
            line(f"    {show(name)}: {figure_text(found)}")
    if verdict.truths:
        worst = max(verdict.truths, key=lambda truth: truth.after / max(truth.allowed, 5e-324))
        line(
            f"  in double precision: {sum(t.ok for t in verdict.truths)} of {len(verdict.truths)} matches hold; "
            f"worst {show(worst.where)}: {worst.after:.3g} from the truth, {worst.before:.3g} before"
        )
    for note in verdict.notes:
        line(f"  note: {note}", "yellow")


def names(found: Iterable[str], most: int = _MOST) -> str:
    """Return names in a list that is cut after a few."""
    items = list(found)
    head = ", ".join(show(item) for item in items[:most])
    return head + (f" and {len(items) - most} more" if len(items) > most else "")


def print_commands(commands: Sequence[Command], fault: str = "", batches: Sequence[BatchResult] = ()) -> None:
    """Print ATC command lines, each on one line, notes before them; a shell takes the whole as it is."""
    if fault:
        line(f"# no ATC command: {fault}", "yellow")
    for result in batches:
        if not result.ok:
            line(f"# no ATC command for {result.text()}", "bold red")
            for match in result.matches if result.batch <= _MOST_ITEMS else ():
                if not match.ok:
                    line(f"#   output {show(match.output)}, items of the batch down, single runs across:", "yellow")
                    for row in match.lines():
                        line(f"#     {row}", "yellow")
    for note in dict.fromkeys(note for command in commands for note in command.notes):
        line(f"# {show(note, 400)}", "yellow")
    for command in commands:
        print(command.text())


def print_rejudged(found: Rejudged) -> None:
    """Print figures of saved outputs."""
    for feed, figures in found.feeds:
        line(f"{show(feed)}:", "bold")
        for name, moved in figures.items():
            line(f"  {show(name)}: {figure_text(moved)}")
            if moved.changed:
                line(f"    {detail_text(moved)}", "dim")
    for note in found.notes:
        line(f"note: {note}", "yellow")


def print_dry_run(steps: Sequence[Step]) -> None:
    """Print what each pass would match, and the misses with their reasons."""
    for step in steps:
        matches, misses = len(step.matches), sum(bool(miss.where) for miss in step.misses)
        counts = f"{matches} match{'es' if matches != 1 else ''}, {misses} miss{'es' if misses != 1 else ''}"
        line(f"{step.name}: {counts}", "bold")
        for match in step.matches:
            line(f"  + {show(match.where)}")
        placed = [miss for miss in step.misses if miss.where]
        for miss in placed:
            line(f"  - {show(miss.where)}: {show(miss.reason, 300)}", "dim")
        if not step.matches and not placed:
            line(f"  nothing to do: {show(step.reason, 300)}", "yellow")
    line("nothing was written (--dry-run)")


def print_diff(found: Diff) -> None:
    """Print a difference."""
    marks = {"+": "green", "-": "red", "~": "yellow"}
    for text in found.lines():
        line(text, marks.get(text.lstrip()[:1], ""))


def print_inspection(graph: Graph, words: Mapping[str, str | None], counts: Mapping[str, int]) -> None:
    """Print what a model is: interface, the word of each output for out_nodes, op counts."""
    opsets = ", ".join(f"{show(entry.domain or 'ai.onnx')} {entry.version}" for entry in graph.proto.opset_import)
    line(
        f"{show(graph.path or 'model')}: {graph.node_count} nodes, {len(graph.initializers)} weights; opset {opsets}",
        "bold",
    )
    for what, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            word = words.get(value.name)
            tail = f"  out_nodes {show(word)}" if what == "output" and word else ""
            line(f"  {what} {show(value.name)}: {value.type_text()}{tail}")
    line("ops: " + ", ".join(f"{show(op)} {count}" for op, count in counts.items()))


def print_passes(specs: Sequence[Pass]) -> None:
    """Print the catalogue."""
    rows = [("pass", "promise", "summary"), *((spec.name, spec.parity, spec.summary) for spec in specs)]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, parity, text in rows:
        line(f"{name:<{first}}  {parity:<{second}}  {text}")


def print_pass(spec: Pass) -> None:
    """Print one pass: what, why, parameters, cases."""
    line(f"{spec.name}: {spec.summary}", "bold")
    for text in textwrap.wrap(spec.why, width()):
        line(text)
    needs = ", ".join(f"opset {sign}{bound}" for sign, bound in spec.requires.opset)
    line(f"promise: {spec.parity}" + (f"; needs {needs}" if needs else ""))
    if spec.budget:
        line(f"its budget: {', '.join(f'{metric}={bound:g}' for metric, bound in spec.budget.items())}")
    if spec.exact_form:
        line(f"the same job without changing numbers: {spec.exact_form}")
    if spec.sequence:
        line(f"sequence{' to a fixed point' if spec.fixpoint else ''}: {', '.join(spec.sequence)}")
    for param in spec.params:
        choices = f" ({', '.join(param.choices)})" if param.choices else ""
        line(f"  --set {spec.name}.{param.name}=...  {param.type}, default {param.default!r}{choices}: {param.help}")
    for case in spec.cases:
        given = "".join(f", {name}={value!r}" for name, value in case.params.items())
        line(f"case: {case.name} (opset {case.opset}{given})", "bold")
        for what, text in (("before", case.before), ("after", case.after or "unchanged")):
            head, *rest = textwrap.dedent(text).strip().splitlines()
            line(f"  {what:<6} {head}")
            for more in rest:
                line(f"         {more}")


def print_cases(results: Sequence[CaseResult]) -> None:
    """Print the faults among case results, and a count."""
    for result in results:
        if result.fault:
            line(f"FAILED {result.spec}: {show(result.case)}: {show(result.fault, 600)}", "red")
    failed = sum(bool(result.fault) for result in results)
    line(f"{len(results) - failed} passed, {failed} failed", "red" if failed else "green")
