"""The files that a board wrote, against onnxruntime on the same inputs: is the conversion at fault, or the export?"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.comparator.board_files import Outputs, Sample, outputs_of, samples_of
from graphtool.comparator.board_inputs import Inputs, Shapes
from graphtool.comparator.board_result import Allowed, Blame, Board, Row
from graphtool.comparator.board_types import Read, UnreadableError, bits_of_half, distance, read_output
from graphtool.comparator.half import half_model
from graphtool.comparator.sketch import Sketch, sketch
from graphtool.comparator.tensors import Watch
from graphtool.errors import FeedError, UsageError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.parity.budget import Budget, check
from graphtool.parity.metrics import compare, eps_of
from graphtool.parity.session import Session
from graphtool.parity.tolerance import TIMES_NOISE, close_tolerance

Array = NDArray[Any]

_MEASURED = 3  # samples on which float16 is measured
_TIMES_MEAN = 4.0  # mean errors average out: they move less from sample to sample than the largest do
_FLIPPED = 1e-3  # share of labels that may be others where float16 flips none
_ODD = 0.05  # distance (1 - cosine) from which on another reading of a file is tried
_FITS = 0.01
_NEARER = 0.5  # of the distance to its own sample: nearer than that to another one, a file belongs to that


def compare_board(
    graph: Graph,
    folder: Path,
    inputs: Sequence[str],
    *,
    pytorch: Path | None = None,
    dtypes: Mapping[str, str] | None = None,
    maps: Mapping[int, str] | None = None,
    shapes: Shapes | None = None,
    budgets: Sequence[Budget] = (),
    watch: Watch = lambda _: None,
) -> Board:
    """Compare the output files in ``folder`` with what ``graph`` computes on the files in the folders ``inputs``.

    ``dtypes`` gives outputs (or all, under an empty name) an element type, ``maps`` says which output a file number is,
    ``pytorch`` is a folder of PyTorch's outputs in the same manner. The conversion is at fault where a file is further
    from onnxruntime than 8 times what rounding every result to float16 does (the mean: 4 times), measured on the first
    samples; the export where PyTorch's numbers are further off than the noise rule of ``close`` allows. Raises
    FeedError where folders do not fit, RunError where the model does not run.
    """
    samples = samples_of(graph, inputs)
    stems = [sample.stem for sample in samples]
    names = [value.name for value in graph.outputs]
    found = outputs_of(folder, stems)
    places = _places(found, names, maps or {})
    notes = list(_notes(found, names, places))
    torch = outputs_of(pytorch, stems) if pytorch is not None else None
    work = _Work(graph, dtypes or {}, Inputs(graph, shapes or {}, samples[0]))
    rows: list[Row] = []
    torch_rows: list[Row] = []
    for number, (sample, outputs) in enumerate(work.outputs(samples, names, watch)):
        if isinstance(outputs, str):
            rows.append(Row(sample.stem, "", "", fault=outputs))
            continue
        if number == 0 and torch is not None:
            work.measure_single(outputs)
        for place, name in places.items():
            rows.append(work.row(found, sample.stem, place, name, outputs[name]))
        if torch is not None:
            torch_rows += [
                work.row(torch, sample.stem, place, name, outputs[name], typed=False)
                for place, name in enumerate(names[: torch.count])
            ]
    rows = [work.placed(work.judged(row, work.half)) for row in rows]
    torch_rows = [work.judged(row, work.single) for row in torch_rows]
    broken = tuple(
        f"{row.stem}: {reason}"
        for row in rows
        if row.figures is not None
        for budget in budgets
        if (reason := check(budget, row.output, row.figures)) is not None
    )
    for budget in budgets:
        if budget.output is not None and budget.output not in places.values():
            raise UsageError(f"--{budget.kind}: no output named {quoted(budget.output)} was compared")
    guilty = any(row.beyond for row in rows) if not budgets else bool(broken)
    blame = _blame(guilty, any(row.beyond for row in torch_rows))
    if blame == "conversion" and all(row.belongs for row in rows if row.beyond):
        blame = "files" if any(row.belongs for row in rows) else blame
    complete = not any(row.fault for row in (*rows, *torch_rows))
    if not any(row.figures is not None for row in rows):
        raise FeedError(
            f"{quoted(folder)}: no file could be compared; the first: {rows[0].file or rows[0].stem}: {rows[0].fault}"
        )
    return Board(
        str(found.folder), _numbering(found), len(samples), tuple(rows), tuple(torch_rows), work.half, work.single,
        blame, complete, broken, (*notes, *work.inputs.notes, *work.notes),
    )  # fmt: skip


def _blame(conversion: bool, export: bool) -> Blame:
    return "both" if conversion and export else "conversion" if conversion else "export" if export else "neither"


def _numbering(found: Outputs) -> str:
    if found.first is None:
        return "no numbers"
    return "from _0, as ais_bench counts" if found.first == 0 else "from _1, as benchmark and msame count"


def _places(found: Outputs, names: Sequence[str], maps: Mapping[int, str]) -> dict[int, str]:
    """Return which output stands at each place of a file number. Raises UsageError for one that there is not."""
    first = found.first or 0
    places = dict(enumerate(names[: found.count]))
    for number, name in maps.items():
        if name not in names:
            raise UsageError(f"--map {number}={name}: no output {quoted(name)}{did_you_mean(name, names)}")
        if not 0 <= number - first < found.count:
            raise UsageError(f"--map {number}={name}: no file is numbered {number}")
        places = {place: other for place, other in places.items() if other != name or place == number - first}
        places[number - first] = name
    return dict(sorted(places.items()))


def _notes(found: Outputs, names: Sequence[str], places: Mapping[int, str]) -> Iterator[str]:
    if found.count < len(names) and len(places) == found.count:
        taken = ", ".join(quoted(name) for name in places.values())
        yield (
            f"the board wrote {found.count} outputs and the model has {len(names)}: taken for {taken}; "
            "--map NUMBER=OUTPUT says otherwise"
        )
    if found.count > len(names):
        yield f"files are numbered up to {found.count - 1 + (found.first or 0)}, and the model has {len(names)} outputs"
    for path in found.surplus[:3]:
        yield f"surplus: {path.name} belongs to no sample"
    if len(found.surplus) > 3:
        yield f"surplus: {len(found.surplus) - 3} more files belong to no sample"


class _Work:
    """What stays the same from sample to sample, and what is kept of each: figures and sketches."""

    def __init__(self, graph: Graph, dtypes: Mapping[str, str], inputs: Inputs) -> None:
        self.graph, self.dtypes, self.inputs = graph, dtypes, inputs
        self.session, self.halved = Session(graph), Session(half_model(graph).graph)
        self.half: dict[str, Allowed] = {}
        self.single: dict[str, Allowed] = {}
        self.notes: list[str] = []
        self._feed: dict[str, Array] = {}
        self._labels: set[str] = set()  # outputs that are no floats
        self._theirs: dict[tuple[str, str], Sketch] = {}  # of onnxruntime's outputs
        self._files: dict[tuple[str, str, str], Sketch] = {}
        self._matrices: dict[Hashable, tuple[list[tuple[str, str]], Array]] = {}

    def outputs(
        self, samples: Sequence[Sample], names: Sequence[str], watch: Watch
    ) -> Iterator[tuple[Sample, dict[str, Array] | str]]:
        """Yield each sample with the model's outputs on it, or with why it cannot be run."""
        step = self.inputs.batch
        for start in range(0, len(samples), step):
            group = samples[start : start + step]
            watch(f"sample {start + 1} of {len(samples)}: {group[0].stem}")
            try:
                self._feed = self.inputs.read(group)
            except FeedError as error:
                yield from ((sample, str(error)) for sample in group)
                continue
            ran = self.session.run(self._feed)
            if start < _MEASURED * step:
                self._measure_half(ran)
            for place, sample in enumerate(group):
                own = {name: _item(ran[name], place, step) for name in names}
                for name, array in own.items():
                    if (drawn := sketch(array)) is not None:
                        self._theirs[sample.stem, name] = drawn
                yield sample, own

    def _measure_half(self, ran: Mapping[str, Array]) -> None:
        for name, array in self.halved.run(self._feed).items():
            found = compare(ran[name], array)
            if not eps_of(array.dtype):
                self._labels.add(name)
            top = max(found.before_max, 1e-300)
            own = self.half.get(name, Allowed(0, 0, _FLIPPED))
            ulp = 2.0**-10  # of the largest value
            self.half[name] = Allowed(
                max(own.largest, TIMES_NOISE * max(found.max_abs / top, ulp)),
                max(own.mean, _TIMES_MEAN * max(found.mean_abs / top, ulp / 4)),
                max(own.labels, _TIMES_MEAN * found.changed / max(found.count, 1)),
            )

    def measure_single(self, outputs: Mapping[str, Array]) -> None:
        """Measure by how much rounding in float32 moves the outputs of the sample that was run last."""
        ran = self.session.run(self._feed)
        for name, allowed in close_tolerance(self.graph, self._feed, ran).items():
            share = allowed / max(compare(ran[name], ran[name]).before_max, 1e-300)
            self.single[name] = Allowed(share, share, _FLIPPED)

    def row(self, found: Outputs, stem: str, place: int, name: str, expected: Array, typed: bool = True) -> Row:
        """Return the row of one output file."""
        file = found.files.get((stem, place))
        row = Row(stem, name, found.name(stem, place))
        if file is None:
            return replace(row, fault="missing")
        try:
            read = read_output(file, expected, self.dtypes.get(name, self.dtypes.get("")) if typed else None)
        except UnreadableError as error:
            return replace(row, fault=str(error))
        except OSError as error:
            return replace(row, fault=error.strerror or str(error))
        read = self._mended(read, expected)
        if typed and read.dtype == "float16" and not self.notes:
            self.notes.append(
                "files are float16: read them with numpy.float16 (struct format 'e'); format 'h', as in the ICNet "
                "guide, gives the bit patterns as whole numbers"
            )
        if typed and (drawn := sketch(read.array)) is not None:
            self._files[stem, name, row.file] = drawn
        return replace(row, dtype=read.dtype, figures=compare(expected, read.array), notes=read.notes)

    @staticmethod
    def _mended(read: Read, expected: Array) -> Read:
        """Return float16 numbers in place of their bit patterns, where a file holds those."""
        if not eps_of(expected.dtype) or expected.dtype.kind == "c" or distance(read.array, expected) < _ODD:
            return read
        half = bits_of_half(read.array)
        if half is None or distance(half, expected) > _FITS:
            return read
        note = (
            "its whole numbers are the bit patterns of float16, read as int16 (struct format 'h' in place of 'e', as "
            "in the ICNet guide); taken as float16 they fit"
        )
        return Read(half, "float16 as int16", (*read.notes, note))

    def judged(self, row: Row, allowed: Mapping[str, Allowed]) -> Row:
        """Return the row with its verdict, and with whose numbers the file holds where they are another's."""
        if row.figures is None or row.figures.changed == 0:
            return row
        if row.output in allowed and allowed[row.output].explains(row.figures, row.output in self._labels):
            return row
        return replace(row, beyond=True)

    def _drawn(self, key: Hashable) -> tuple[list[tuple[str, str]], Array]:
        """Return all of onnxruntime's outputs of one shape and type, by sample and output, and a sketch in each row."""
        if key not in self._matrices:
            keys = [known for known, drawn in self._theirs.items() if drawn.key == key]
            self._matrices[key] = keys, np.stack([self._theirs[known].samples for known in keys])
        return self._matrices[key]

    def placed(self, row: Row) -> Row:
        """Return the row with whose numbers its file holds, where another sample or output is nearer by far."""
        own = self._files.get((row.stem, row.output, row.file))
        theirs = self._theirs.get((row.stem, row.output))
        if own is None or theirs is None or own.key != theirs.key:
            return row
        keys, samples = self._drawn(own.key)
        off = np.sqrt(np.mean(np.square(samples - own.samples), axis=1))
        if not row.beyond:  # of the same output only
            off[[name != row.output for _, name in keys]] = np.inf
        stem, name = keys[int(np.argmin(off))]
        mine = float(off[keys.index((row.stem, row.output))])
        if (stem, name) == (row.stem, row.output) or float(off.min()) > _NEARER * mine:
            return row
        where = ([] if stem == row.stem else [f"sample {stem}"]) + ([] if name == row.output else [f"output {name}"])
        return replace(row, beyond=True, belongs=", ".join(where))


def _item(array: Array, place: int, batch: int) -> Array:
    if batch == 1:
        return array
    if array.ndim == 0 or array.shape[0] != batch:
        raise FeedError(f"an output of shape {list(array.shape)} cannot be split into {batch} samples")
    return array[place : place + 1]
