"""The Python door: the same as the commands, with objects in place of files. Floor 5."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphtool import pipeline
from graphtool.errors import FeedError, PromiseError, UsageError, quoted
from graphtool.graph import Graph, Value, check
from graphtool.graph.opset import numpy_dtype
from graphtool.rewrite import Catalog, parse_pipeline
from graphtool.step import Run, over_budget, promise_error

# what judges, compares and runs is imported where it is needed: onnxruntime alone costs more than most pipelines
if TYPE_CHECKING:
    from graphtool.diff import Diff
    from graphtool.parity.budget import Budget
    from graphtool.parity.feed import Feed
    from graphtool.parity.judge import Array
    from graphtool.parity.metrics import Figures
    from graphtool.parity.trials import Trial

Model = Graph | onnx.ModelProto | str | os.PathLike[str]
"""What the functions take: a graph, a model as onnx has it, or the path of a file."""


def load(path: str | os.PathLike[str]) -> Graph:
    """Read an ONNX model; its weights stay in the file. Raises ModelError (a GraphtoolError) with one clear line."""
    return Graph.load(path)


def run(
    model: Model,
    passes: str | Sequence[str],
    *,
    params: Mapping[str, Mapping[str, object]] | None = None,
    feed: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    feeds: int | None = None,
    extremes: bool = False,
    budgets: Sequence[Budget] = (),
    checked: bool = True,
    keep_going: bool = False,
    truth: bool = False,
) -> Run:
    """Apply a pipeline such as ``"resize_nearest,prune_outputs:keep=Resize_317"`` to a copy of ``model``.

    ``passes`` may be a list of its parts, ``params`` are values by pass and parameter. Each step is judged with
    onnxruntime on ``feed`` (input name to array, or several such), or on feeds drawn from ``seed`` on, open dimensions
    from ``shapes``: ``feeds`` of them (by default two for a small model, else one), with ``extremes`` also on zeros,
    large, negative and bounding values. ``checked=False`` judges nothing, ``truth`` holds each ``close`` pass against
    double precision too. Returns the run: ``.graph`` (``.save(path)``), ``.steps`` and ``.notes``: of a model with an
    operator that nothing here can run the steps are judged match by match or, verdict ``structure``, not in numbers,
    and a note says so. Raises PromiseError for a broken promise unless ``keep_going``, which rolls that step back, and
    for a whole that is over ``budgets``; GraphtoolError for whatever does not fit.
    """
    if budgets and not checked:
        raise UsageError("a budget cannot be held with checked=False")
    catalog = Catalog(to_run=True)
    stages = parse_pipeline(passes if isinstance(passes, str) else ",".join(passes), catalog, params)
    own = _graph(model).copy()
    moved = check(own)

    def begin(trials: list[Trial] | None) -> Run:
        return pipeline.begin(own, stages, catalog, trials, budgets, truth, structure=True, moved=moved)

    if checked:
        from graphtool.parity.trials import on_sizes_that_run

        state, note = on_sizes_that_run(begin, partial(_trials, own, feed, seed, shapes, feeds, extremes))
        state.notes += [note] if note else []
    else:
        state = begin(None)
    for step in pipeline.advance(state, catalog, keep_going):
        if step.status == "broken" and not keep_going:
            raise promise_error(step, None)
    reasons = over_budget(state, budgets)
    if reasons:
        raise PromiseError(f"the pipeline is over its budget: {reasons[0]}")
    return state


def _graph(model: Model) -> Graph:
    """Return the graph of whatever a caller has; raises ModelError for a file, TypeError for anything else."""
    if isinstance(model, Graph):
        return model
    if isinstance(model, onnx.ModelProto):
        return Graph.from_proto(model)
    if isinstance(model, str | os.PathLike):
        return Graph.load(model)
    raise TypeError(f"a model is a graphtool.Graph, an onnx.ModelProto or a path, not {type(model).__name__}")


def _trials(
    graph: Graph,
    feed: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    seed: int,
    shapes: Mapping[str, Sequence[int]] | None,
    feeds: int | None,
    extremes: bool,
    variant: int,
) -> list[Trial]:
    """Return the feeds on which a run is judged: those given, with what is drawn beside them, in a ``variant``."""
    from graphtool.parity.trials import Trial, plan

    several = () if feed is None else [feed] if isinstance(feed, Mapping) else feed
    given = [Trial(_given(graph, arrays), must=True) for arrays in several]
    return plan(graph, given, seed, shapes, feeds, extremes, variant)


def _given(graph: Graph, feed: Mapping[str, Any]) -> Feed:
    """Return the caller's arrays as a feed; raises FeedError where one is not of its input's type and shape.

    A list of arrays is a sequence, None an optional that is absent.
    """
    from graphtool.parity.containers import ABSENT, boxed, each, inputs_of
    from graphtool.parity.feed import Feed, counts_of

    holds = inputs_of(graph)
    arrays = {}
    for name, given in feed.items():
        held = holds.get(name)
        try:
            if held is not None and held.optional and given is None:
                arrays[name] = ABSENT
            elif held is not None and held.sequence:
                arrays[name] = boxed([np.asarray(item) for item in given])
            else:
                arrays[name] = np.asarray(given)
        except (ValueError, TypeError):
            kind = "sequence of arrays" if held is not None and held.sequence else "array"
            raise FeedError(f"what the feed has for input {quoted(name)} is no {kind}") from None
    for name, held in holds.items():
        if name not in arrays:
            raise FeedError(f"the feed has nothing for input {quoted(name)}, {held.text()}")
        each(arrays[name], partial(_fitting, held.item, held.text()))
    return Feed(arrays, {"source": "given"} | counts_of(holds, arrays))


def _fitting(value: Value, text: str, array: Array) -> Array:
    sizes = value.shape if value.shape is not None else array.shape
    fits = len(sizes) == array.ndim and all(
        not isinstance(size, int) or size == has for size, has in zip(sizes, array.shape, strict=True)
    )
    wanted = numpy_dtype(value.dtype) if value.dtype else array.dtype
    same = array.dtype == wanted or (wanted.hasobject and array.dtype.kind in "US")
    if value.kind == "tensor" and not (fits and same):
        raise FeedError(f"input {quoted(value.name)} is {text}, not {array.dtype.name}{list(array.shape)}")
    return array


def diff(before: Model, after: Model) -> Diff:
    """Return what changed between two models: ``.same``, ``.lines()``, ``.to_json()``."""
    from graphtool.diff import diff

    return diff(_graph(before), _graph(after))


def compare(
    before: Model,
    after: Model,
    *,
    feed: Mapping[str, Array] | None = None,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Figures]:
    """Run two models on one feed and return the figures of each output of ``after``, by name.

    Inputs and outputs are paired by name, then by type, shape, structure, values and position; ``feed`` is by the
    inputs of ``before``. Raises UsageError where nothing can be paired, FeedError or RunError where a model cannot run.
    """
    from graphtool.comparator.models import run_both
    from graphtool.parity.runnable import runnable

    meanings = Catalog().semantics()
    a, b = runnable(_graph(before), meanings), runnable(_graph(after), meanings)
    given = _given(a, feed).arrays if feed is not None else None
    return run_both(a, b, feed=given, seed=seed, shapes=shapes).figures()
