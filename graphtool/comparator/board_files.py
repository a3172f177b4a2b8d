"""The files of a board: which samples went in, which outputs came out, and what is missing.

``benchmark`` and msame number outputs from 1, ``STEM_1.bin``; ais_bench from 0, ``STEM_0.bin``, in a folder named after
the time. ``STEM`` is the name of the sample's (first) input file. Sources: the guide's scripts and Ascend/tools as of
2022-03, ais_bench as of 2023-12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.errors import FeedError, did_you_mean, quoted, show
from graphtool.graph import Graph

SUFFIXES = (".bin", ".npy", ".txt")
_NUMBERED = re.compile(r"(?P<stem>.+?)(?:_output)?_(?P<number>\d+)$")
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: its stem, and the file of each input of the model."""

    stem: str
    inputs: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Output files by stem and place (0 for the first output, however they are numbered).

    ``first`` is the number of the first output: 0 as ais_bench counts, 1 as benchmark and msame do; None where files
    carry no number. ``surplus`` are files of no sample, ``count`` how many outputs there are.
    """

    folder: Path
    files: Mapping[tuple[str, int], Path]
    first: int | None
    count: int
    surplus: tuple[Path, ...]

    def name(self, stem: str, place: int) -> str:
        """Return what the file of an output is, or would be, called."""
        file = self.files.get((stem, place))
        if file is not None:
            return file.name
        number = "" if self.first is None else f"_{place + self.first}"
        suffix = next(iter(self.files.values())).suffix if self.files else SUFFIXES[0]
        return f"{stem}{number}{suffix}"


def samples_of(graph: Graph, words: Sequence[str]) -> list[Sample]:
    """Return the samples in the folders of ``--inputs``: one folder, or one per input in order or as ``INPUT=DIR``.

    Files with the same name in several folders, or at the same place where names differ, are one sample; its stem is
    that of the first input's file. Raises FeedError.
    """
    names = [value.name for value in graph.inputs]
    folders: dict[str, Path] = {}
    for place, word in enumerate(words):
        own = next((name for name in names if word.startswith(f"{name}=")), None)
        folder = Path(word[len(own) + 1 :]) if own is not None else Path(word)
        name = own if own is not None else names[place] if place < len(names) else ""
        if not name or name in folders:
            raise FeedError(
                f"--inputs {quoted(word)}: the model has {len(names)} inputs, {_names(names)}; one folder each"
            )
        if not folder.is_dir():
            raise FeedError(f"--inputs: no folder {quoted(folder)}")
        folders[name] = folder
    lacking = [name for name in names if name not in folders]
    if lacking:
        raise FeedError(
            f"--inputs: no folder for input {_names(lacking)}; give one per input, in order or as INPUT=DIR"
        )
    files = {name: _files(folders[name]) for name in names}
    first = files[names[0]]
    for name, found in files.items():
        if len(found) != len(first):
            raise FeedError(
                f"--inputs: {len(first)} files in {quoted(folders[names[0]])} and {len(found)} in "
                f"{quoted(folders[name])}; each sample needs one in each"
            )
    stems = [{path.stem: path for path in found} for found in files.values()]
    if any(len(found) != len(first) for found in stems):
        raise FeedError(f"--inputs: two files of one name in {quoted(folders[names[0]])}, such as a .bin and a .npy")
    by_stem = all(found.keys() == stems[0].keys() for found in stems)
    return [
        Sample(
            path.stem, {name: stems[k][path.stem] if by_stem else files[name][place] for k, name in enumerate(names)}
        )
        for place, path in enumerate(first)
    ]


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in SUFFIXES[:2])
    if not found:
        raise FeedError(f"--inputs: folder {quoted(folder)} holds no .bin and no .npy")
    return found


def outputs_of(folder: Path, stems: Sequence[str]) -> Outputs:
    """Return the output files in ``folder``, or in the one folder below it that has some. Raises FeedError."""
    if not folder.is_dir():
        raise FeedError(f"no folder {quoted(folder)}")
    found = _outputs_in(folder, stems)
    if not found.files:
        below = [_outputs_in(path, stems) for path in sorted(folder.rglob("*")) if path.is_dir()]
        holding = [inner for inner in below if inner.files]
        if len(holding) > 1:
            names = ", ".join(quoted(inner.folder.relative_to(folder)) for inner in holding[:_MOST_NAMED])
            raise FeedError(
                f"{quoted(folder)}: {len(holding)} folders below it hold outputs, such as {names}; name one"
            )
        if holding:
            found = holding[0]
    if not found.files:
        wanted = f"{show(stems[0])}_1.bin (benchmark, msame) or {show(stems[0])}_0.bin (ais_bench)"
        other = next((path.name for path in found.surplus), "")
        hint = f"; it holds {quoted(other)}{did_you_mean(Path(other).stem, stems)}" if other else ""
        raise FeedError(f"{quoted(folder)}: no output file of any sample, such as {wanted}{hint}")
    return found


def _outputs_in(folder: Path, stems: Sequence[str]) -> Outputs:
    known = set(stems)
    numbered: dict[tuple[str, int], Path] = {}
    bare: dict[tuple[str, int], Path] = {}
    surplus = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in SUFFIXES):
        match = _NUMBERED.fullmatch(path.stem)
        if match is not None and match["stem"] in known:
            key = (match["stem"], int(match["number"]))
            if key in numbered:
                raise FeedError(
                    f"{quoted(folder)}: {quoted(numbered[key].name)} and {quoted(path.name)} are one output"
                )
            numbered[key] = path
        elif path.stem in known:
            if (path.stem, 0) in bare:
                raise FeedError(f"{quoted(folder)}: two files of {quoted(path.stem)}, of different suffixes")
            bare[path.stem, 0] = path
        else:
            surplus.append(path)
    if not numbered:
        return Outputs(folder, bare, None, 1 if bare else 0, tuple(surplus))
    first = 0 if any(number == 0 for _, number in numbered) else 1
    files = {(stem, number - first): path for (stem, number), path in numbered.items()}
    return Outputs(folder, files, first, max(place for _, place in files) + 1, (*surplus, *bare.values()))


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
