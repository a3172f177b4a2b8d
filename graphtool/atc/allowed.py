"""Passes that a target cannot take: those for an opset, or with an operator, that the profile's CANN does not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphtool.atc.cann import Cann, Operators, plugins, release
from graphtool.atc.profile import Profile
from graphtool.errors import PassError, ProfileError, quoted
from graphtool.rewrite import Catalog, Pass, Stage
from graphtool.rewrite.bodies import Requires
from graphtool.rewrite.pattern import FORWARD
from graphtool.rewrite.rule import Rule

_DEFAULT = ("", "ai.onnx")
_ALWAYS = ("Constant",)  # read by the parser itself


def refuse(stages: Sequence[Stage], catalog: Catalog, profile: Profile) -> None:
    """Raise ProfileError for the first stage that needs an opset or an operator above the profile's release.

    A profile without a release says nothing. A sequence is judged by what its passes put into a graph of an opset that
    the release reads; passes in it for other opsets do nothing there.
    """
    if profile.cann is None:
        return
    cann = Cann.parse(profile.cann)
    for stage in stages:
        reason = next(_reasons(stage, catalog, cann), None)
        if reason is not None:
            raise ProfileError(f"pass {quoted(stage.word)} is not for {profile.source}: {reason}")


def _reasons(stage: Stage, catalog: Catalog, cann: Cann) -> Iterator[str]:
    known = release(cann)
    highest = known.opsets[1] if known is not None and known.opsets is not None else None
    says = f"CANN {cann} reads ONNX up to opset {highest} ({known.source})" if known is not None else ""
    table = plugins(cann)
    if highest is not None:
        to = stage.params.get("to")
        if stage.spec.native == "convert_opset" and isinstance(to, int) and to > highest:
            yield f"it converts to opset {to}, and {says}"
        least = _least(stage.spec.requires)
        if least > highest:
            yield f"it needs opset {least}, and {says}"
    if table is None:
        return
    operator = stage.params.get("operator")
    if isinstance(operator, str) and operator and "." not in operator:
        yield from _missing([operator], table, cann)
    for spec in _flat(stage.spec, catalog, set()):
        yield from _missing(_made(spec, highest), table, cann)


def _least(requires: Requires) -> int:
    """Return the lowest opset that meets it."""
    bounds = [bound + (sign == ">") for sign, bound in requires.opset if sign in (">=", ">", "==")]
    return max(bounds, default=1)


def _flat(spec: Pass, catalog: Catalog, seen: set[str]) -> Iterator[Pass]:
    """Yield a pass and all that its sequence names."""
    if spec.name in seen:
        return
    seen.add(spec.name)
    yield spec
    for word in spec.sequence:
        try:
            inner = catalog.get(word.partition(":")[0])
        except PassError:  # said where the pipeline is run
            continue
        yield from _flat(inner, catalog, seen)


def _made(spec: Pass, highest: int | None) -> list[str]:
    """Return the operators that a pass's patterns put into a graph of an opset that is read."""
    found: list[str] = []
    if highest is not None and _least(spec.requires) > highest:
        return found
    for body in spec.bodies:
        if highest is not None and _least(body.requires) > highest:
            continue
        if not isinstance(body.run, Rule):
            continue
        there = {node.op_type for pattern in body.run.patterns for node in pattern.nodes}
        for node in body.run.replacement.nodes:
            if node.domain in _DEFAULT and node.op_of is None and node.op_type not in there | {FORWARD}:
                found.append(node.op_type)
    return found


def _missing(made: Sequence[str], table: Operators, cann: Cann) -> Iterator[str]:
    for op in made:
        if op not in table and op not in _ALWAYS:
            yield (
                f"it makes {op}, and CANN {cann} has no parser plugin for that: not even the table of {table.date} "
                f"has one ({table.source})"
            )
