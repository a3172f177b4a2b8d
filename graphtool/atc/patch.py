"""The white list of TransData in ``five_2_four.py``, the vendor's kernel for NC1HWC0 to NCHW: shapes added, as a diff.

Shapes in the list take a faster generic kernel (the ICNet guide, Ascend ModelZoo, 2022-03, section 7.3.1). The file is
consulted in CANN releases built between about 2021-05 and 2021-09 only: since OPS commit a7e6ca749 (2021-09-22)
``trans_data.py`` does not call it, and since 2022-02-23 it is gone. Nothing here was tried on a device.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.atc.cann import Cann
from graphtool.errors import UsageError, quoted
from graphtool.graph import Graph

Shape = tuple[int, ...]

SOURCE = "OPS git history, 2021-05-20 to 2022-02-23; releases inferred"
_FIRST, _GONE = Cann.parse("5.0.1"), Cann.parse("5.0.3")
# `elif dst_format.lower() == "nchw" and dst_shape in [[2560, 512, 4, 26], ...]:`, over any number of lines
_CLAUSE = re.compile(
    r"dst_format(?:\.lower\(\))?\s*==\s*(['\"])nchw\1\s*and\s*dst_shape\s*in\s*(\[\s*\[[^:]*?\]\s*\])\s*:",
    re.IGNORECASE,
)
_CALL = re.compile(r"\bfive_2_four\s*\.\s*five_2_four\s*\(|\bfive_2_four\s*\(")
BACKUP = ".graphtool.orig"
_LIMIT = 4 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of a vendor file: its text before and after; ``added`` is empty where all is there already."""

    before: str
    after: str
    added: tuple[Shape, ...]
    there: tuple[Shape, ...]
    notes: tuple[str, ...] = ()

    def diff(self, name: str) -> str:
        """Return the change as a unified diff; empty where there is none."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def shapes_of(graph: Graph, batches: Sequence[int], keep: Sequence[str] = ()) -> tuple[list[Shape], list[str]]:
    """Return the shapes of a graph's outputs at each batch that the list is for, and why others are left out.

    A four-dimensional output ``[N, C, H, W]``; not one of 1x1 pixels with a multiple of 16 channels, which takes
    another kernel (trans_data_2d). ``keep`` names outputs, or the nodes that make them; none means all.
    """
    found: list[Shape] = []
    notes: list[str] = []
    for value in graph.outputs:
        producer = graph.index.producer(value.name)
        names = (value.name, producer.name if producer is not None else "")
        if keep and not set(keep) & set(names):
            continue
        dims = (graph.facts.value(value.name) or value).shape
        if dims is None or len(dims) != 4:
            notes.append(f"output {quoted(value.name)}: {value.type_text()} has no four dimensions")
        elif not all(isinstance(dim, int) for dim in dims[1:]):
            notes.append(f"output {quoted(value.name)}: {value.type_text()} is not fixed; set_input_shapes fixes it")
        elif dims[2:] == (1, 1) and int(dims[1] or 0) % 16 == 0:
            notes.append(f"output {quoted(value.name)}: 1x1 with a multiple of 16 channels takes another kernel")
        else:
            own = [dims[0]] if isinstance(dims[0], int) else []
            for batch in batches or own:
                found.append((int(batch), *(int(dim or 0) for dim in dims[1:])))
    return list(dict.fromkeys(found)), notes


def applicable(cann: str | None) -> str:
    """Return why a patch does nothing in a release; an empty string where it may do something."""
    if cann is None:
        return ""
    version = Cann.parse(cann)
    if not version < _GONE:
        return f"not applicable: CANN {version} does not call five_2_four ({SOURCE})"
    if version < _FIRST:
        return f"not applicable: CANN {version} has no such list ({SOURCE})"
    return ""


def plan(path: Path, shapes: Sequence[Shape], cann: str | None = None, tell: bool = False) -> Patch:
    """Return the patch of a vendor file; raises UsageError, with the reason, where it is not applicable.

    With ``tell`` the patched way also prints the shape, as in the guide, by which a log confirms the patch.

    ``trans_data.py`` beside the file is looked at: where it does not call five_2_four, the list has no effect.
    """
    if reason := applicable(cann):
        raise UsageError(reason)
    before = _read(path)
    match = _CLAUSE.search(before)
    if match is None:
        form = 'dst_format == "nchw" and dst_shape in [[...]]'
        raise UsageError(f"{quoted(path)}: not applicable: there is no list {form} in it ({SOURCE})")
    caller = path.with_name("trans_data.py")
    notes: list[str] = []
    if caller.is_file():
        if not _CALL.search(_read(caller)):
            raise UsageError(f"not applicable: {quoted(caller)} does not call five_2_four ({SOURCE})")
    else:
        notes.append(f"{quoted(caller)} is not there, so whether it calls five_2_four is not known")
    try:
        listed = {tuple(int(dim) for dim in one) for one in ast.literal_eval(match[2])}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise UsageError(f"{quoted(path)}: its list of shapes is not one of numbers") from None
    added = tuple(shape for shape in shapes if shape not in listed)
    there = tuple(shape for shape in shapes if shape in listed)
    place = match.end(2) - 1  # before the closing bracket of the list
    place -= len(before[match.start(2) : place]) - len(before[match.start(2) : place].rstrip())
    text = "".join(f", [{', '.join(map(str, shape))}]" for shape in added)
    after = before[:place] + text + before[place : match.end()] + (_print(before, match) if tell else "")
    after += before[match.end() :]
    if added or after != before:
        _compiles(after, path)
    return Patch(before, after, added, there, tuple(notes))


def _print(text: str, match: re.Match[str]) -> str:
    """Return the line that prints the shape, in the file's own line ends; nothing where it is there already."""
    rest = text[match.end() :]
    if re.match(r"[^\n]*\n(?:\s*print\([^\n]*\n)*?\s*print\(\"ntc dst shape:", rest):
        return ""
    following = re.match(r"[^\n]*\n([ \t]*)", rest)
    end = "\r\n" if "\r\n" in rest[:2000] else "\n"
    indent = following[1] if following else " " * 8
    return f'{end}{indent}print("ntc dst shape:", dst_shape)'


def _compiles(text: str, path: Path) -> None:
    """Refuse a result that is no Python any more where the file was Python before."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as why:
        raise UsageError(f"{quoted(path)}: with the shapes it would be no Python: {why}") from None


def apply(path: Path, patch: Patch) -> Path | None:
    """Write the patched file, and beside it the file as it was; return that, None where nothing is to be done."""
    if patch.after == patch.before:
        return None
    kept = path.with_name(path.name + BACKUP)
    if not kept.exists():
        _write(kept, patch.before)
    _write(path, patch.after, path)
    return kept


def revert(path: Path) -> Path:
    """Put the file back as it was before the first patch; raises UsageError where nothing was kept."""
    kept = path.with_name(path.name + BACKUP)
    if not kept.is_file():
        raise UsageError(f"{quoted(kept)} is not there: {quoted(path)} was not patched by graphtool")
    _write(path, _read(kept), path if path.exists() else kept)
    kept.unlink()
    return kept


def _read(path: Path) -> str:
    try:
        with path.open("r", encoding="utf-8", newline="") as file:
            text = file.read(_LIMIT + 1)
    except UnicodeDecodeError:
        raise UsageError(f"{quoted(path)}: not a text; give the vendor's five_2_four.py") from None
    except (OSError, ValueError) as why:
        raise UsageError(f"{quoted(path)}: {getattr(why, 'strerror', None) or why}") from None
    if len(text) > _LIMIT:
        raise UsageError(f"{quoted(path)}: larger than {_LIMIT >> 20} MB; not five_2_four.py")
    return text


def _write(path: Path, text: str, like: Path | None = None) -> None:
    """Write with the line ends that the text has, and the permissions of ``like``."""
    from graphtool.graph.save import replacing

    mode = like.stat().st_mode & 0o7777 if like is not None else None
    with replacing(path) as file:
        file.write(text.encode())
    if mode is not None:
        path.chmod(mode)
