"""The pages of docs/passes: made from the pass files, and held to them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from graphtool.data import data_dir
from graphtool.errors import ModelError, quoted, show
from graphtool.graph.save import write_text
from graphtool.rewrite import Case, Catalog, Pass, parse_pipeline
from graphtool.rewrite.functions import FUNCTIONS

GENERATED = "by graphtool {} docs -->"  # ends the first line of a page
_BY = GENERATED.format("passes")
_MARK = re.compile(r"<!-- generated from \S+ by graphtool \w+ docs -->")
_PROMISES = {
    "exact": "the same type, shape and values",
    "close": "the same function of real numbers, other rounding",
    "float16": "an input or output is cast",
    "lossy": "numbers move on purpose, and are measured",
    "repair": "the graph before cannot run, the graph after does",
}
_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_]+)[A-Za-z0-9_.\s]*\]\]?\s*(#.*)?")
_BODIES = ("edit", "rewrite", "region", "boundary", "semantics")


def pages(specs: Sequence[Pass], catalog: Catalog) -> dict[str, str]:
    """Return the text of each page by file name: index.md, functions.md and one for each pass."""
    found = {_file(spec.name): _page(spec, {other.name for other in specs}) for spec in specs}
    return {"index.md": _index(specs, catalog), "functions.md": _functions(), **found}


def _file(name: str) -> str:
    return f"{name}_pass.md" if name in ("index", "functions") else f"{name}.md"


def stale(folder: Path, wanted: Mapping[str, str], of: str = "pass") -> list[str]:
    """Return what differs between a folder and the pages that should be there; ``of`` is the kind of their files."""
    faults = []
    for name, text in sorted(wanted.items()):
        path = folder / name
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif path.read_text(errors="replace") != text:
            faults.append(f"{path} is not what the {of} files say")
    return faults + [f"{path} is of a {of} that is gone" for path in _left_over(folder, wanted)]


def write(folder: Path, wanted: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write the pages that differ and remove those of passes that are gone; return the names of both.

    Files that were not generated stay, and one that is in the way of a page is an error (ModelError).
    """
    for name in sorted(wanted):
        path = folder / name
        if path.exists() and not _is_generated(path):
            raise ModelError(f"{quoted(path)} was not generated; move it away")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cannot make folder {quoted(folder)}: {error.strerror}") from None
    written = []
    for name, text in sorted(wanted.items()):
        path = folder / name
        if not path.exists() or path.read_text(errors="replace") != text:
            write_text(path, text)
            written.append(name)
    gone = _left_over(folder, wanted)
    for path in gone:
        path.unlink()
    return written, [path.name for path in gone]


def _left_over(folder: Path, wanted: Mapping[str, str]) -> list[Path]:
    return [path for path in sorted(folder.glob("*.md")) if path.name not in wanted and _is_generated(path)]


def _is_generated(path: Path) -> bool:
    return path.is_file() and _MARK.match(path.read_text(errors="replace")) is not None


# -- the pages


def _index(specs: Sequence[Pass], catalog: Catalog) -> str:
    lines = [f"<!-- generated from passes/*.toml {_BY}", "# Passes", ""]
    own = data_dir("passes").resolve()
    where = (
        "[pass_language.md](../pass_language.md)" if all(s.path.parent.resolve() == own for s in specs) else "graphtool"
    )
    lines += [
        f"{len(specs)} passes. `graphtool passes show NAME` says the same on a terminal, and",
        "`graphtool passes explain NAME MODEL` why one matches or does not. The language is described in",
        f"{where}, what its expressions can ask in [functions.md](functions.md).",
    ]
    for title, group in _groups(specs, catalog):
        lines += ["", f"## {title}", "", "| pass | promise | what it does |", "|---|---|---|"]
        lines += [f"| [{spec.name}]({_file(spec.name)}) | {spec.parity} | {cell(spec.summary)} |" for spec in group]
    return "\n".join(lines) + "\n"


def _groups(specs: Sequence[Pass], catalog: Catalog) -> Iterator[tuple[str, list[Pass]]]:
    """Yield the passes in groups that follow from what their files say; each pass is in one."""
    left = {spec.name: spec for spec in specs}
    whole = left.get("optimize")
    inside = _inner(whole, catalog) if whole is not None else set()
    tests = (
        ("Sequences: several passes as one step", lambda spec: bool(spec.sequence)),
        ("Part of `optimize`", lambda spec: spec.name in inside),
        ("Inputs and outputs", lambda spec: bool(spec.interface)),
        ("The same numbers", lambda spec: spec.parity == "exact"),
        ("The same function, other rounding", lambda spec: spec.parity == "close"),
        ("Other numbers", lambda spec: spec.parity in ("float16", "lossy")),
        ("Repairs", lambda _: True),
    )
    for title, fits in tests:
        group = [left.pop(spec.name) for spec in specs if spec.name in left and fits(spec)]
        if group:
            yield title, sorted(group, key=lambda spec: spec.name)


def _inner(spec: Pass, catalog: Catalog) -> set[str]:
    """Return the passes that a sequence is made of, at any depth."""
    found: set[str] = set()
    for stage in (stage for word in spec.sequence for stage in parse_pipeline(word, catalog)):
        found |= {stage.spec.name} | _inner(stage.spec, catalog)
    return found


def _functions() -> str:
    lines = [f"<!-- generated from graphtool/rewrite/functions.py {_BY}", "# Functions of expressions", ""]
    lines += [
        "In `where`, `let`, `default` and the expressions of a region.",
        "",
        "| function | what it returns |",
        "|---|---|",
    ]
    lines += [f"| `{function.signature}` | {cell(function.doc)} |" for function in FUNCTIONS.values()]
    return "\n".join(lines) + "\n"


def _page(spec: Pass, others: set[str]) -> str:
    mark = f"<!-- generated from passes/{spec.path.name} {_BY}"
    blocks = [f"{mark}\n# {spec.name}", prose(spec.summary) + ".", wrapped(spec.why)]
    blocks.append("\n".join(_facts(spec, others)))
    if spec.params:
        rows = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        for param in spec.params:
            choices = f"; one of {', '.join(f'`{show(choice)}`' for choice in param.choices)}" if param.choices else ""
            default = f"`{_plain(param.default)}`" if param.default not in ("", []) else "none"
            rows.append(f"| `{param.name}` | {param.type} | {cell(default)} | {cell(param.help)}{choices} |")
        blocks.append("\n".join(rows))
    body = bodies_of(spec.path.read_text())
    if body:
        blocks += ["## What it looks for, and what it makes", fenced(body, "toml")]
    blocks.append("## Cases")
    for case in spec.cases:
        blocks += _case(case)
    return "\n\n".join(blocks) + "\n"


def _facts(spec: Pass, others: set[str]) -> Iterator[str]:
    yield f"- Promise: **{spec.parity}**, {_PROMISES[spec.parity]}."
    if spec.requires.opset:
        yield f"- Needs opset {', '.join(f'`{sign}{bound}`' for sign, bound in spec.requires.opset)}."
    if spec.interface:
        yield f"- Changes the model's inputs or outputs: {', '.join(sorted(spec.interface))}."
    if spec.budget:
        bounds = ", ".join(f"`{metric} = {bound:g}`" for metric, bound in spec.budget.items())
        yield f"- Held to {bounds} where `--min` or `--max` gives no other."
    if spec.exact_form:
        yield f"- The same job without changing numbers: {_link(spec.exact_form, others)}."
    if spec.native:
        yield f"- Done by code, `{spec.native}`."
    if spec.sequence:
        names = ", ".join(_link(word, others) for word in spec.sequence)
        yield f"- In order{', until nothing matches' if spec.fixpoint else ''}: {names}."
    if spec.growth is not None:
        most = f"{spec.growth.part:.0%} of its size and {spec.growth.slack >> 10} KiB"
        yield f"- Where rewrites put new constants beside old ones that others read, the model grows by at most {most}."


def _link(word: str, others: set[str]) -> str:
    name = word.partition(":")[0]
    return f"[{prose(word)}]({_file(name)})" if name in others else f"`{word}`"


def _case(case: Case) -> Iterator[str]:
    params = "".join(f", `{name} = {_plain(value)}`" for name, value in case.params.items())
    yield f"### {prose(case.name)}"
    stored = f", weights stored: {case.stored}" if case.stored else ""
    yield f"Opset {case.opset}{stored}{params}."
    yield fenced(dedented(case.before))
    if case.after is None:
        yield "stays as it is."
    else:
        yield "becomes"
        yield fenced(dedented(case.after))


def bodies_of(text: str) -> str:
    """Return the tables of a pass file that say what it does, as they are written, comments included."""
    kept: list[str] = []
    apart = False
    for name, lines in _sections(text):
        if name not in _BODIES:
            apart = True
            continue
        if apart and kept and kept[-1]:
            kept.append("")
        kept += lines
        apart = False
    return "\n".join(kept).strip("\n")


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the tables of a TOML text by the first part of their names; '' is what comes before any.

    Comments directly above a header belong to it. A line inside a multi-line string is no header.
    """
    name, quote = "", ""
    current: list[str] = []
    for line in text.splitlines():
        header = None if quote else _HEADER.fullmatch(line)
        if header is not None:
            above: list[str] = []
            while current and current[-1].lstrip().startswith("#"):
                above.insert(0, current.pop())
            yield name, current
            name, current = header[1], above
        current.append(line)
        quote = _open_quote(line, quote)
    yield name, current


def _open_quote(line: str, quote: str) -> str:
    """Return the delimiter of the multi-line string that is open after ``line``; '' for none."""
    place = 0
    while place < len(line):
        if quote:
            end = _end_of(line, place, quote)
            if end < 0:
                return quote if len(quote) == 3 else ""
            place, quote = end, ""
        elif line[place] == "#":
            return ""
        elif line[place] in "'\"":
            quote = line[place] * 3 if line.startswith(line[place] * 3, place) else line[place]
            place += len(quote)
        else:
            place += 1
    return quote if len(quote) == 3 else ""


def _end_of(line: str, place: int, quote: str) -> int:
    while place < len(line):
        if line[place] == "\\" and quote[0] == '"':
            place += 2
        elif line.startswith(quote, place):
            return place + len(quote)
        else:
            place += 1
    return -1


def wrapped(text: str) -> str:
    """Return text without markup in lines of 110 characters."""
    return textwrap.fill(prose(text), 110, break_long_words=False, break_on_hyphens=False)


def dedented(text: str) -> str:
    """Return text whose lines after the first are moved to the left together."""
    head, *rest = text.strip().splitlines() or [""]
    return "\n".join([head, *textwrap.dedent("\n".join(rest)).splitlines()]) if rest else head


def fenced(text: str, language: str = "") -> str:
    """Return a code block that nothing in ``text`` can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def prose(text: str) -> str:
    """Return text in which Markdown sees no markup."""
    return re.sub(r"([\\`*<\[\]])", r"\\\1", text)


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return (text if text.startswith("`") else prose(text)).replace("|", "\\|")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
