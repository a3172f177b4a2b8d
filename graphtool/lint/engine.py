"""A check: the rules that are for a target, over a graph and the bodies in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from graphtool.graph import Graph
from graphtool.lint.conditions import Found, by_ops, by_pattern
from graphtool.lint.ground import Ground
from graphtool.lint.natives import NATIVES
from graphtool.lint.rule import LEVELS, Finding, Rule, Undecided
from graphtool.lint.target import Aim

Watch = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Left:
    """A rule that is not for the target, and why."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, by rule and then in the order of the graph; which rules were looked at and which were not."""

    aim: Aim
    findings: tuple[Finding, ...]
    undecided: tuple[Undecided, ...]
    rules: tuple[Rule, ...]
    left: tuple[Left, ...]

    def count(self, level: str) -> int:
        """Return how many findings have a level."""
        return sum(finding.level == level for finding in self.findings)

    @property
    def fixes(self) -> tuple[str, ...]:
        """The passes that remove findings, each once, in the order in which they help each other."""
        words = dict.fromkeys(word for finding in self.findings for word in finding.fixes)
        return tuple(sorted(words, key=_place))


# What goes first leaves less to do. Shapes are folded once rewrites have taken out what reads them: folded sizes hold
# the batch, and set_batch would have to free them again.
_EARLY = ("prune_outputs", "inline_functions", "fold_ifs", "unroll_loops", "convert_opset")
_LATE = (
    "fold_shapes", "fold_constants", "int64_to_int32", "double_to_float", "clamp_float16_constants", "set_batch",
    "set_input_shapes", "output_fp16",
)  # fmt: skip


def _place(word: str) -> tuple[int, str]:
    name = word.partition(":")[0]
    if name in _EARLY:
        return _EARLY.index(name) - len(_EARLY), word
    return (1 + _LATE.index(name), word) if name in _LATE else (0, word)


def check(
    graph: Graph, rules: Sequence[Rule], aim: Aim, watch: Watch = lambda _: None, tried: Collection[str] = ()
) -> Checked:
    """Return what ``rules`` find in a sound graph for a target; passes that were ``tried`` do not help any more."""
    fitting, left = [], []
    for rule in rules:
        reason = unfit(rule, aim)
        if reason:
            left.append(Left(rule, reason))
        else:
            fitting.append(rule)
    places: dict[str, list[tuple[tuple[int, ...], Found]]] = {rule.id: [] for rule in fitting}
    ground = Ground(graph, aim)
    watch("rules on nodes")
    for path, level in _levels(graph, ()):
        for slot, found in by_ops(level, [rule for rule in fitting if rule.ops], aim):
            places[found.rule.id].append(((*path, slot), found))
        for rule in fitting:
            if rule.pattern is not None:
                for slot, found in by_pattern(level, rule, aim):
                    places[rule.id].append(((*path, slot), found))
    for rule in fitting:
        if rule.native is not None:
            watch(f"rule {rule.id}")
            for number, found in enumerate(NATIVES[rule.native](ground, rule)):
                places[rule.id].append(((number,), found))
    ordered: list[Found] = []
    for rule in fitting:
        ordered += [found for _, found in sorted(places[rule.id], key=lambda item: item[0])]
    findings = [_scoped(found, aim, tried) for found in ordered if isinstance(found, Finding)]
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    undecided = tuple(found for found in ordered if isinstance(found, Undecided))
    return Checked(aim, tuple(findings), undecided, tuple(fitting), tuple(left))


def _scoped(finding: Finding, aim: Aim, tried: Collection[str]) -> Finding:
    """Return a finding with the releases that it is for, where it is not for all and none is named, and its passes."""
    only = finding.rule.cann.text if aim.cann is None and finding.rule.cann.ends else ""
    return replace(finding, only=only, fix=tuple(word for word in finding.fixes if word not in tried))


def unfit(rule: Rule, aim: Aim) -> str:
    """Return why a rule is not for a target; an empty string where it is."""
    if rule.devices and aim.soc not in rule.devices:
        return f"its source speaks of {', '.join(rule.devices)}"
    return f"for CANN {rule.cann.text}" if aim.cann is not None and not rule.cann.holds(aim.cann) else ""


def _levels(graph: Graph, path: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Graph]]:
    yield path, graph
    for number, body in enumerate(graph.bodies()):
        yield from _levels(body, (*path, graph.node_count, number))
