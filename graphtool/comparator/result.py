"""What a comparison of two models found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from graphtool.parity.metrics import Figures

How = Literal["map", "name", "structure", "type", "values", "position"]
Verdict = Literal["equal", "agrees", "diverges"]


@dataclass(frozen=True, slots=True)
class Pair:
    """An input, output or inner tensor of the first model that is one of the second, and how that is known.

    ``how``: the user's ``map``, the same ``name``, the ``structure`` around it, the only one of its ``type`` and shape,
    equal ``values`` in the run, or its ``position`` among those of its type.
    """

    before: str
    after: str
    how: How


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor that both models compute, in the topological order of the first.

    ``nodes`` and ``ops`` are names and types of the nodes that make it on either side. ``allowed`` is the largest
    error that is explained, in the tensor's units: by rounding alone, or where ``measured`` by the noise of the first
    model (:mod:`graphtool.parity.tolerance`); None where a budget decides. ``passed_on``: whether a compared output
    diverges because of it, as far as the tensors in between tell.
    """

    pair: Pair
    nodes: tuple[str, str]
    ops: tuple[str, str]
    figures: Figures
    verdict: Verdict
    allowed: float | None
    measured: bool = False
    passed_on: bool = False


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first tensor at which the models part.

    ``before`` and ``after`` are the nodes, a line each, that compute it on either side from tensors that agree.
    ``details`` tell what differs between the two nodes that make it: attributes, weights.
    """

    row: Row
    before: tuple[str, ...]
    after: tuple[str, ...]
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnFeed:
    """What the outputs did on one of several feeds: see :class:`Comparison`."""

    feed: str
    figures: Mapping[str, Figures]
    diverging: tuple[str, ...]
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models run on one feed, ``feed``, the worst of ``feeds`` where there were several.

    ``figures`` are those of each paired output, by its name in the second model; ``allowed`` the largest error that
    is explained (None where a budget decides), ``diverging`` the outputs beyond it. ``rows`` are the inner tensors;
    none were looked at where no output diverges and no table was asked for. ``tensors`` counts those of both models
    that could have been compared. ``notes`` are lines a reader should see. ``broken`` says which budgets do not hold
    on any feed, or where there are none (``bounded``) which outputs diverge.
    """

    inputs: tuple[Pair, ...]
    outputs: tuple[Pair, ...]
    figures: Mapping[str, Figures]
    allowed: Mapping[str, float | None]
    diverging: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    first: Divergence | None = None
    tensors: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    bounded: bool = False
    feed: str = ""
    feeds: tuple[OnFeed, ...] = ()

    @property
    def fault(self) -> str:
        """Why the models do not do the same, an empty string where they do."""
        return f"{'over the budget' if self.bounded else 'the models differ'}: {self.broken[0]}" if self.broken else ""
