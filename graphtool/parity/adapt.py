"""References that can be compared with a graph whose inputs, shapes or last nodes a pass changed on purpose.

``shapes``: the same feed where it fits. Where only the first dimension changed, items: the graph after runs on a batch
of them, the graphs before on each batch that they take, and what they make is put together. For other sizes a new
feed is drawn, and the graphs before run with their declared sizes freed. ``inputs``: an inner tensor that
became an input is fed what the graph before computes there. ``append``: the new nodes are added to the graphs before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.errors import quoted
from graphtool.graph import Graph, Value
from graphtool.graph import opset as ops
from graphtool.graph.declared import declare_dim, drop_inner_types
from graphtool.parity.append import extended
from graphtool.parity.containers import first
from graphtool.parity.feed import draw
from graphtool.parity.metrics import equal
from graphtool.parity.runerror import RunError
from graphtool.parity.session import Session
from graphtool.parity.tolerance import close_tolerance
from graphtool.parity.verdict import IncomparableError, Reference

Array = NDArray[Any]
Arrays = Mapping[str, Array]

KINDS = frozenset({"shapes", "inputs", "append"})


@dataclass(frozen=True, slots=True)
class Adapted:
    """A feed for the graph after and its outputs, and the references (in the order given) with outputs to compare.

    ``moved`` says that the references are no graphs to judge later passes against: these start from the graph after.
    """

    feed: dict[str, Array]
    outputs: dict[str, Array]
    references: tuple[Reference, ...]
    moved: bool


@dataclass(frozen=True, slots=True)
class Items:
    """Inputs whose first dimension became another: their sizes before and after."""

    names: tuple[str, ...]
    now: int
    then: int


def adapt(references: Sequence[Reference], feed: Arrays, after: Graph, declared: frozenset[str]) -> Adapted:
    """Return what the judge compares after a pass that declares one of ``KINDS``.

    The last reference is the step before, ``feed`` is by names of today. Raises IncomparableError, RunError, FeedError.
    """
    before = references[-1]
    fresh = [value.name for value in after.inputs if value.name not in feed]
    if "append" in declared:
        drawn = {name: array for name, array in _drawn(after, 0, {}).items() if name in fresh} if fresh else {}
        references = _each(references, lambda reference: extended(reference, before, after, drawn))
    else:
        drawn = {name: _tapped(before, name) for name in fresh}
    arrays = {value.name: _typed({**feed, **drawn}[value.name], value) for value in after.inputs}
    plan = _plan(before, after, arrays) if "shapes" in declared else None
    if plan is None:
        outputs = Session(after).run(arrays)
        return Adapted(arrays, outputs, tuple(references), bool(fresh))
    if isinstance(plan, Items):
        chunks = [arrays, *(_chunk(before, arrays, plan, seed) for seed in range(1, -(-plan.then // plan.now)))]
        given = {
            name: np.concatenate([chunk[name] for chunk in chunks])[: plan.then] if name in plan.names else array
            for name, array in arrays.items()
        }
        outputs = Session(after).run(given)
        moved = _each(references, lambda one: _by_items(one, chunks, plan, after, given, outputs))
    else:
        drawn = _drawn(after, 0, {})
        given = {name: drawn[name] if name in plan else array for name, array in arrays.items()}
        outputs = Session(after).run(given)
        moved = _each(references, lambda one: _at_other_sizes(one, after, given, outputs))
    return Adapted(given, outputs, tuple(moved), True)


def _each(references: Sequence[Reference], change: Any) -> list[Reference]:
    """Change each reference once; what was one stays one."""
    known: dict[int, Reference] = {}
    for reference in references:
        if id(reference) not in known:
            known[id(reference)] = change(reference)
    return [known[id(reference)] for reference in references]


def _tapped(before: Reference, name: str) -> Array:
    array = before.output(name)
    if array is None:
        raise IncomparableError(f"input {quoted(name)} is new, and no tensor of {before.name}")
    return array


def _typed(array: Array, value: Value) -> Array:
    return array.astype(ops.numpy_dtype(value.dtype)) if value.dtype else array


def _drawn(graph: Graph, seed: int, shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    return draw(graph, seed, shapes).arrays


# -- sizes


def _plan(before: Reference, after: Graph, arrays: Arrays) -> Items | set[str] | None:
    """Return how the feed must change: None, items of a batch, or the inputs that need other arrays."""
    known = {value.name: value for value in before.graph.inputs}
    own = before.own_name
    wrong: dict[str, list[int]] = {}
    items: dict[str, tuple[int, int]] = {}
    for value in after.inputs:
        array, old = arrays[value.name], known.get(own.get(value.name, value.name))
        if not value.shape or not array.ndim:
            continue
        axes = [axis for axis, dim in enumerate(value.shape) if isinstance(dim, int) and dim != array.shape[axis]]
        first = value.shape[0]
        was = old.shape[0] if old is not None and old.shape else first
        if axes:
            wrong[value.name] = axes
        if axes == [0] and isinstance(first, int) and isinstance(was, int):  # what was open takes the new size itself
            items[value.name] = (array.shape[0], first)
        elif not isinstance(first, int) and (first != was or array.shape[0] == 1):
            items[value.name] = (array.shape[0], 2 * array.shape[0])  # a batch that became free
    if all(axes == [0] for axes in wrong.values()) and len(set(items.values())) == 1 and set(wrong) <= set(items):
        now, then = next(iter(items.values()))
        if now > 0:
            return Items(tuple(items), now, then)
    return set(wrong) or None


def _chunk(before: Reference, arrays: Arrays, plan: Items, seed: int) -> dict[str, Array]:
    """Return the feed with other items: drawn as the graph before wants them, in the sizes of now."""
    own = {name: before.own_name.get(name, name) for name in arrays}
    shapes = {own[name]: first(array).shape for name, array in arrays.items() if first(array).size}
    drawn = _drawn(before.graph, seed, shapes)
    return {name: drawn[own[name]].astype(a.dtype) if name in plan.names else a for name, a in arrays.items()}


def _by_items(
    one: Reference, chunks: Sequence[Arrays], plan: Items, after: Graph, given: dict[str, Array], outputs: Arrays
) -> Reference:
    """Return a reference with the outputs of ``one`` for every item."""
    own = {name: one.own_name.get(name, name) for name in (*given, *outputs)}
    first = {name: one.output(name) for name in outputs}
    runs: list[Arrays] = [{own[name]: array for name, array in first.items() if array is not None}]
    wanted = list(runs[0])
    session = Session(one.graph, outputs=wanted) if len(chunks) > 1 else None
    for chunk in chunks[1:]:
        assert session is not None
        fed = {own[name]: array.astype(one.feed[own[name]].dtype) for name, array in chunk.items()}
        runs.append(session.run({**one.feed, **fed}))
    expected = {}
    for name, array in outputs.items():
        if own[name] in runs[0]:
            expected[name] = _together(name, [run[own[name]] for run in runs], array, plan)
    beside = {name: array for name, array in expected.items() if _is_beside(runs[0][own[name]], array, plan)}
    if beside:
        _check_first_axis(one, runs, plan, given, beside)
    return _moved(one, after, given, expected, outputs)


def _is_beside(single: Array, whole: Array, plan: Items) -> bool:
    """Whether an output may have had its items along axis 0 and has them along another one now."""
    return whole.shape != single.shape and bool(single.ndim) and single.shape[0] == whole.shape[0] == plan.now


def _check_first_axis(
    one: Reference, runs: Sequence[Arrays], plan: Items, given: Mapping[str, Array], beside: Mapping[str, Array]
) -> None:
    """Raise IncomparableError where the graph before has the items of an output along axis 0, and right, by itself.

    A batch of one does not say which axis of length 1 it is; states of an LSTM rightly have their items along axis 1.
    """
    own = {name: one.own_name.get(name, name) for name in (*given, *beside)}
    fed = {own[name]: array.astype(one.feed[own[name]].dtype) for name, array in given.items()}
    try:
        found = Session(_opened(one.graph), outputs=[own[name] for name in beside]).run({**one.feed, **fed})
    except RunError:
        return  # a constant holds its batch, so it says nothing of another
    for name, array in beside.items():
        rows = np.concatenate([run[own[name]] for run in runs])[: plan.then]
        if rows.shape == found[own[name]].shape and _alike(rows, found[own[name]]):
            shapes = f"{list(rows.shape)} for {plan.then} items before, {list(array.shape)} after"
            raise IncomparableError(f"output {quoted(name)} no longer has its items along axis 0: {shapes}")


def _alike(a: Array, b: Array) -> bool:
    """Whether items are the same ones: kernels may round otherwise for another batch, another item is far away."""
    if a.dtype.kind not in "fc":
        return equal(a, b)
    return bool(np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=1e-2, atol=1e-4, equal_nan=True))


def _together(name: str, parts: Sequence[Array], like: Array, plan: Items) -> Array:
    """Put the outputs for some items each together along the axis that grows with the batch."""
    first = parts[0]
    if first.shape == like.shape:
        if all(equal(part, first) for part in parts):
            return first
        raise IncomparableError(f"output {quoted(name)} has the same shape for {plan.now} items and for {plan.then}")
    axes = [k for k in range(first.ndim) if first.ndim == like.ndim and first.shape[k] != like.shape[k]]
    if len(axes) != 1 or first.shape[axes[0]] * plan.then != like.shape[axes[0]] * plan.now:
        shapes = f"{list(first.shape)} for {plan.now} items, {list(like.shape)} for {plan.then}"
        raise IncomparableError(f"output {quoted(name)} does not grow with the batch along one axis: {shapes}")
    whole = np.concatenate(parts, axes[0])
    return np.asarray(np.take(whole, np.arange(like.shape[axes[0]]), axes[0]))


def _at_other_sizes(one: Reference, after: Graph, given: dict[str, Array], outputs: Arrays) -> Reference:
    own = {name: one.own_name.get(name, name) for name in (*given, *outputs)}
    fed = {own[name]: array.astype(one.feed[own[name]].dtype) for name, array in given.items()}
    there = [own[name] for name in outputs if one.output(name) is not None]
    found = Session(_opened(one.graph), outputs=there).run({**one.feed, **fed})
    return _moved(one, after, given, {name: found[own[name]] for name in outputs if own[name] in found}, outputs)


def _opened(graph: Graph) -> Graph:
    """Return a copy of which inputs and outputs declare no sizes."""
    own = graph.copy()
    drop_inner_types(own)
    for info in (*own.header.input, *own.header.output):
        if info.name not in own.initializers and info.type.WhichOneof("value") == "tensor_type":
            for axis in range(len(info.type.tensor_type.shape.dim)):
                declare_dim(info, axis, None)
    own.reindex()
    return own


def _moved(
    one: Reference, after: Graph, given: dict[str, Array], expected: dict[str, Array], outputs: Arrays
) -> Reference:
    """Return a reference at the graph after, with what ``one`` gives there as outputs, and the tolerance of ``one``."""
    allowed = None
    if any(name in expected and not equal(expected[name], outputs[name]) for name in outputs):
        # noise is measured where the numbers are known to be right
        known = close_tolerance(one.graph, one.feed, one.outputs)
        allowed = {name: known.get(one.own_name.get(name, name), 0.0) for name in expected}
    return replace(one, graph=after, feed=given, outputs=expected, tolerance=allowed, own_name={})
