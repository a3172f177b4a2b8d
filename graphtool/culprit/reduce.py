"""The smallest model that still fails in the same way: fewer nodes, outputs, elements; plain values."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphtool.culprit.cut import Array, Cutter, Part, UncutError
from graphtool.culprit.failure import Failure, Looker
from graphtool.culprit.search import Probe, ddmin
from graphtool.culprit.shrink import Case, shrink, simplify
from graphtool.errors import PromiseError
from graphtool.graph import Graph, check
from graphtool.parity.feed_files import write_npz
from graphtool.parity.runerror import RunError
from graphtool.parity.trials import Trial, on_sizes_that_run

Drawn = Callable[[int], list[Trial]]
Watch = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a case is: nodes, elements of weights, elements of inputs."""

    nodes: int
    weights: int
    inputs: int


@dataclass(frozen=True, slots=True)
class Reduced:
    """What was left of a case that fails, how, and how many models were tried; ``spent`` says that no more were."""

    case: Case
    failure: Failure
    before: Sizes
    after: Sizes
    attempts: int
    spent: bool


def sizes_of(case: Case) -> Sizes:
    """Return how large a case is, the first model of it."""
    graph = case.graphs[0]
    weights = 0
    for tensor in graph.proto.graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        weights += count
    return Sizes(graph.node_count, weights, sum(array.size for array in case.feed.values()))


def reduce(
    graphs: tuple[Graph, ...], drawn: Drawn, looker: Looker, most: int, watch: Watch = lambda _: None
) -> Reduced:
    """Make what fails smaller, with at most ``most`` models tried.

    ``drawn`` gives the feeds of a variant, see :func:`graphtool.parity.trials.on_sizes_that_run`: what fails is what a
    run would report, on the first feed that shows it. A smaller model counts where it fails in the same way: the same
    promise and rule, the same metric of a budget, the same error of onnxruntime but for names and numbers, the same
    signal. Raises PromiseError where nothing fails.
    """
    with tempfile.TemporaryDirectory(prefix="graphtool-reduce-") as folder:
        return _Reducer(graphs, drawn, looker, most, watch, Path(folder)).run()


class _Reducer:
    def __init__(
        self, graphs: tuple[Graph, ...], drawn: Drawn, looker: Looker, most: int, watch: Watch, folder: Path
    ) -> None:
        self.first = self.best = Case(graphs, {})
        self.drawn = drawn
        self.looker = looker
        self.most = most
        self.watch = watch
        self.folder = folder
        self.attempts = 0
        self.failure = Failure()

    def run(self) -> Reduced:
        self.watch("looking at the model as it is")
        for graph in self.first.graphs:
            check(graph)
        self.failure = self._first_failure()
        if not self.failure.sign:
            raise PromiseError("nothing fails: there is nothing to reduce")
        self._nodes()
        self.best = shrink(self.best, self.holds)
        self.best = simplify(self.best, self.holds)
        failure = self._look(self.best)
        before, after = sizes_of(self.first), sizes_of(self.best)
        return Reduced(self.best, failure, before, after, self.attempts, self.attempts >= self.most)

    def _first_failure(self) -> Failure:
        """Return the failure that a run would report first; its case is the first from now on."""
        graphs, unfit = self.first.graphs, Failure()

        def begin(trials: list[Trial]) -> Failure:
            nonlocal unfit
            for feed in (feed for trial in trials for feed in (trial.feed, trial.instead) if feed is not None):
                case = Case(graphs, feed.arrays)
                failure = self._look(case)
                if not failure.sign.startswith("onnxruntime"):  # it runs
                    if failure.sign:
                        self.first = self.best = case
                        return failure
                elif feed is trials[0].feed:
                    if not unfit.sign:
                        unfit, self.first, self.best = failure, case, case
                    raise RunError(failure.text, "run" if failure.sign.startswith("onnxruntime run") else "load")
            return Failure()

        try:
            return on_sizes_that_run(begin, self.drawn)[0]
        except RunError:
            return unfit

    def holds(self, case: Case) -> bool:
        """Whether a case still fails in the same way; the last one that does is the best so far."""
        if self.attempts >= self.most:
            return False
        self.attempts += 1
        size = sizes_of(case)
        self.watch(f"model {self.attempts}: {size.nodes} of {self.first.graphs[0].node_count} nodes")
        if self._look(case).sign != self.failure.sign:
            return False
        self.best = case
        return True

    def _look(self, case: Case) -> Failure:
        paths = tuple(self.folder / name for name in ("model.onnx", "other.onnx")[: len(case.graphs)])
        for path, graph in zip(paths, case.graphs, strict=True):
            graph.save(path)
        if "{feed}" in self.looker.job.command:
            write_npz(self.folder / "feed.npz", case.feed)
        return self.looker.look(paths, case.feed)

    # -- nodes and outputs

    def _nodes(self) -> None:
        cuts = _Cuts(self.first, self._record)
        everything = range(len(cuts.main.nodes))
        named = [
            place for place in everything if self.failure.node and cuts.main.nodes[place].name == self.failure.node
        ]

        def fails(places: Sequence[int]) -> bool:
            case = cuts.case(places)
            if case is None or not self.holds(case):
                return False
            cuts.accept(places)
            return True

        if not (named and fails(named)) and not fails(everything):
            return  # not even the whole is a model that can be written anew
        kept = ddmin(list(cuts.kept.places), Probe(everything, fails))
        outputs = list(cuts.case_outputs(kept))
        for name in list(outputs):
            fewer = [other for other in outputs if other != name]
            case = cuts.case(kept, fewer) if fewer else None
            if case is not None and self.holds(case):
                outputs = fewer

    def _record(self, graph: Graph, feed: dict[str, Array]) -> dict[str, Array]:
        path = self.folder / "record.onnx"
        graph.save(path)
        return self.looker.record(path, feed)


class _Cuts:
    """Parts of a case by nodes of its first model; what they read is recorded from the smallest part so far."""

    def __init__(self, case: Case, record: Callable[[Graph, dict[str, Array]], dict[str, Array]]) -> None:
        self.main = Cutter(case.graphs[0])
        self.others = [Cutter(graph) for graph in case.graphs[1:]]
        self.values: dict[str, Array] = dict(case.feed)
        self.kept = self.main.part(range(len(self.main.nodes)))
        self._record = record
        self._symbols = {
            str(dim): size
            for value in self.main.graph.inputs
            if value.name in case.feed
            for dim, size in zip(value.shape or (), case.feed[value.name].shape, strict=False)
        }

    def accept(self, places: Collection[int]) -> None:
        """Record from this part from now on."""
        self.kept = self.main.part(places)

    def case_outputs(self, places: Collection[int]) -> tuple[str, ...]:
        """Return the outputs that a part has."""
        part = self.main.part(places)
        return tuple(name for name in part.makes if all(other.makes(name) for other in self.others))

    def case(self, places: Collection[int], outputs: Collection[str] | None = None) -> Case | None:
        """Return a part as a case; None where it cannot be one."""
        try:
            return self._case(places, outputs)
        except UncutError:
            return None

    def _case(self, places: Collection[int], outputs: Collection[str] | None) -> Case:
        if self.others or outputs is not None:
            wanted = list(outputs) if outputs is not None else list(self.case_outputs(places))
            part = self.main.above(wanted, places, self.main.part(places).reads)
        else:
            part = self.main.part(places)
        parts = [part, *(o.above(part.makes, range(len(o.nodes)), part.reads) for o in self.others)]
        needed = tuple(dict.fromkeys(name for one in parts for name in one.reads))
        self._know(needed)
        cutters = (self.main, *self.others)
        graphs = tuple(cutter.model(one, self.values) for cutter, one in zip(cutters, parts, strict=True))
        return Case(graphs, {name: self.values[name] for name in needed})

    def _know(self, names: Sequence[str]) -> None:
        """Find the values of tensors: recorded where that runs, else ones in their type and shape."""
        missing = [name for name in names if name not in self.values]
        if not missing:
            return
        part: Part = self.main.above(missing, self.kept.places, self.kept.reads)
        feed = {name: self.values[name] for name in part.reads if name in self.values}
        if set(part.makes) == set(missing) and len(feed) == len(part.reads):
            found = self._record(self.main.model(part, self.values), feed)
            self.values.update((name, array) for name, array in found.items() if not array.dtype.hasobject)
        for name in missing:
            if name not in self.values:
                self.values[name] = self.main.drawn(name, self._symbols)


__all__ = ["Case", "Reduced", "Sizes", "reduce", "sizes_of"]
