"""What the comparison of a model with a board's files found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from graphtool.parity.metrics import Figures

Blame = Literal["conversion", "export", "both", "files", "neither"]


@dataclass(frozen=True, slots=True)
class Row:
    """One output of one sample: ``figures`` against onnxruntime, or ``fault`` why there are none.

    ``beyond``: further off than the noise that explains it. ``belongs`` names the sample and output whose numbers it
    holds, or is much nearer to, instead.
    """

    stem: str
    output: str
    file: str
    dtype: str = ""
    figures: Figures | None = None
    fault: str = ""
    beyond: bool = False
    belongs: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowed:
    """What noise explains, as shares of an output's largest value: of the largest and of the mean error; of labels."""

    largest: float
    mean: float
    labels: float = 0.0

    def explains(self, found: Figures, label: bool) -> bool:
        """Whether an output differs by no more than that."""
        if label:
            return found.changed <= self.labels * found.count
        return found.max_abs <= self.largest * found.before_max and found.mean_abs <= self.mean * found.before_max


@dataclass(frozen=True, slots=True)
class Board:
    """A board's files against the model: ``rows``, and those of PyTorch's files against it where there are any.

    ``numbering`` says how files are numbered, ``half`` and ``single`` what float16 and float32 explain by output.
    ``blame`` is ``files`` where every one that is off holds another sample's or output's numbers.
    """

    folder: str
    numbering: str
    samples: int
    rows: tuple[Row, ...]
    pytorch: tuple[Row, ...]
    half: Mapping[str, Allowed]
    single: Mapping[str, Allowed]
    blame: Blame
    complete: bool
    broken: tuple[str, ...]
    notes: tuple[str, ...]
