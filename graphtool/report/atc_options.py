"""The page of ATC's options, ``docs/atc_options.md``, written from the tables."""

from __future__ import annotations

from collections.abc import Iterator

from graphtool.atc import options as atc
from graphtool.atc.cann import operator_tables, releases
from graphtool.atc.options import Option


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([*_head(), *_options(), *_relations(), *_releases(), ""])


def _head() -> Iterator[str]:
    yield "# The options of ATC"
    yield ""
    yield "Written by `graphtool atc docs` from `atc_profiles/tables/`; do not edit. Nothing here was tried on a"
    yield "device. GE is the ATC front end of Ascend GraphEngine (v2.0.0, 2023-03, unless another tag or year stands"
    yield "with it), MZ the Ascend ModelZoo guides (2022-03 to 2023-12), DOC the CANN manuals, MSIT msit's option table"
    yield "(2023), OPS the operator library. `graphtool atc explain` says all this of a command that exists."
    yield ""


def _options() -> Iterator[str]:
    yield f"## {len(atc.OPTIONS)} options"
    yield ""
    yield "A release in brackets is inferred from the date of a GraphEngine tag. Options marked * are for other"
    yield "frameworks or other uses of ATC: they are read and explained, graphtool does not write them."
    yield ""
    yield "| option | takes | default | CANN | error | source |"
    yield "|---|---|---|---|---|---|"
    for option in atc.OPTIONS.values():
        star = " *" if option.foreign else ""
        default = f"`{option.default}`" if option.default is not None else ""
        yield (
            f"| `{option.name}`{star} | {_cell(option.help)}{_values(option)} | {default} | {_span(option)} | "
            f"{option.error} | {_cell(option.source)} |"
        )
    yield ""


def _values(option: Option) -> str:
    if not option.values or option.kind == "flag":
        return ""
    text = f": {', '.join(f'`{word}`' for word in option.values)}"
    if option.later is not None:
        words = ", ".join(f"`{word}`" for word in option.later.values)
        text += f"; from {option.later.since} on {words} ({_cell(option.later.source)})"
    return text


def _span(option: Option) -> str:
    words = [f"since {option.since}"] if option.since else []
    words += [f"gone in {option.until}"] if option.until else []
    text = ", ".join(words) or "all known"
    return f"({text}: GE {option.ge})" if option.ge and words else text


def _relations() -> Iterator[str]:
    yield "## What goes with what"
    yield ""
    yield "| rule | error | fix | source |"
    yield "|---|---|---|---|"
    for one in atc.RELATIONS:
        terms = [f"`{term}`" for term in one.terms]
        plain = [f"no `{term[1:]}`" if term.startswith("!") else f"`{term}`" for term in one.terms[1:]]
        text = f"at most one of {', '.join(terms)}" if one.excludes else f"{terms[0]} needs {' or '.join(plain)}"
        yield f"| {text} | {one.error} | {_cell(one.fix)} | {_cell(one.source)} |"
    yield ""


def _releases() -> Iterator[str]:
    yield "## CANN releases and operator tables"
    yield ""
    yield "| CANN | about | opsets documented | opsets registered | source |"
    yield "|---|---|---|---|---|"
    for one in releases():
        spans = [f"{span[0]} to {span[1]}" if span else "" for span in (one.opsets, one.plugins)]
        yield f"| {one.version} | {one.date} | {spans[0]} | {spans[1]} | {_cell(one.source)} |"
    yield ""
    yield "| table of operators | date | operators | source |"
    yield "|---|---|---|---|"
    for table in operator_tables().values():
        yield f"| {table.name} | {table.date} | {len(table.opsets)} | {_cell(table.source)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
