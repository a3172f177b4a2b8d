"""Profiles as text and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphtool.atc import options as atc
from graphtool.atc.profile import Profile
from graphtool.atc.profiles import Listed, Tried, facts
from graphtool.errors import show
from graphtool.report.printing import Cell, line, table


def listed_data(one: Listed) -> dict[str, Any]:
    """Return one line of the list."""
    if one.profile is None:
        return {"name": one.word, "error": one.fault}
    profile = one.profile
    return {
        "name": one.word,
        "summary": profile.summary,
        "soc": profile.soc,
        "cann": profile.cann,
        "model": profile.model,
        "operators": profile.operators,
    }


def profile_data(profile: Profile) -> dict[str, Any]:
    """Return a whole profile."""
    return {
        "name": profile.name,
        "source": profile.source,
        "summary": profile.summary,
        "model": profile.model,
        "cann": profile.cann,
        "install_path": profile.install_path,
        "environment": profile.environment,
        "set_env": profile.set_env,
        "operators": profile.operators,
        "batches": list(profile.batches),
        "options": dict(profile.options),
        "files": dict(profile.files),
        "pipeline": profile.pipeline,
        "passes": {name: dict(params) for name, params in profile.passes.items()},
        "budgets": [budget.text() for budget in profile.budgets],
        "facts": list(facts(profile)),
    }


def tried_data(one: Tried) -> dict[str, Any]:
    """Return what trying a profile came to."""
    return {"name": one.word, "ok": not one.fault, "fault": one.fault}


def print_listing(found: Sequence[Listed]) -> None:
    """Print the list."""
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        if one.profile is None:
            rows.append((show(one.word), "", "", "", (show(one.fault, 400), "red")))
            continue
        profile = one.profile
        words = (one.word, profile.soc, profile.cann or "", profile.operators or "no table", profile.summary)
        rows.append(tuple(show(word, 200) for word in words))
    table(("profile", "chip", "CANN", "operators", "summary"), rows)


def print_profile(profile: Profile) -> None:
    """Print a profile with all that it inherits."""
    line(f"{profile.name}: {profile.summary}", "bold")
    for fact in facts(profile):
        line(f"  {fact}")
    listed = ", ".join(map(str, profile.batches))
    for name, value in (
        ("file", profile.source),
        ("model", profile.model),
        ("batches", listed),
        ("install_path", profile.install_path),
        ("environment", profile.environment),
        ("set_env", profile.set_env),
    ):
        if value:
            line(f"  {name}: {value}")
    line("options")
    for name, text in profile.options.items():
        option = atc.OPTIONS[name]
        line(f"  {name} = {text}")
        line(f"    {option.help}  [{option.source}]", "dim")
    for name, text in profile.files.items():
        line(f"file for {name}")
        for row in text.splitlines():
            line(f"  | {row}")
    if profile.pipeline:
        line(f"passes: {profile.pipeline}")
    for name, params in profile.passes.items():
        for param, given in params.items():
            line(f"  {name}.{param} = {show(given)}")
    for budget in profile.budgets:
        line(f"budget: {budget.text()}")


def print_tried(found: Sequence[Tried]) -> None:
    """Print what trying profiles came to."""
    for one in found:
        line(f"{'FAIL' if one.fault else 'ok  '} {show(one.word)}", "red" if one.fault else "")
        if one.fault:
            line(f"     {one.fault}", "red")
    bad = sum(bool(one.fault) for one in found)
    line(f"{len(found) - bad} passed, {bad} failed", "red" if bad else "green")
