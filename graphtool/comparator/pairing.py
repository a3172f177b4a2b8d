"""Which input and output of one model is which of another, names differing or not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphtool.comparator.result import Pair
from graphtool.errors import UsageError, did_you_mean, quoted
from graphtool.graph import Graph, Value
from graphtool.graph.opset import numpy_dtype
from graphtool.parity.eps import eps_of
from graphtool.parity.metrics import compare
from graphtool.parity.tolerance import TIMES_NOISE
from graphtool.parity.truth import FLOOR

Array = NDArray[Any]
Fits = Callable[[str, str], bool]
Options = tuple[list[str], list[str]]  # names of the first model and of the second that may be one another

_MOST_NAMED = 6


def read_maps(words: Iterable[str], a: Graph, b: Graph) -> tuple[dict[str, str], dict[str, str]]:
    """Return the inputs and the outputs that ``--map A=B`` pairs; names may hold an equals sign. Raises UsageError."""
    kinds = [({v.name for v in a.inputs}, {v.name for v in b.inputs})]
    kinds.append(({v.name for v in a.outputs}, {v.name for v in b.outputs}))
    found: tuple[dict[str, str], dict[str, str]] = {}, {}
    for word in words:
        where = f"--map {quoted(word)[1:-1]}"
        cuts = [(word[:place], word[place + 1 :]) for place, letter in enumerate(word) if letter == "="]
        if not cuts:
            raise UsageError(f"{where}: expected NAME_A=NAME_B, outputs (or inputs) of the first and the second model")
        hits = [(kind, x, y) for kind in (0, 1) for x, y in cuts if x in kinds[kind][0] and y in kinds[kind][1]]
        if not hits:
            raise UsageError(f"{where}: {_unknown(cuts, kinds)}")
        for kind, x, y in hits[:1]:
            if x in found[kind] or y in found[kind].values():
                raise UsageError(f"{where}: {quoted(x if x in found[kind] else y)} is mapped twice")
            found[kind][x] = y
    return found


def _unknown(cuts: Sequence[tuple[str, str]], kinds: Sequence[tuple[set[str], set[str]]]) -> str:
    left, right = (set().union(*(kind[side] for kind in kinds)) for side in (0, 1))
    known = [y for x, y in cuts if x in left]
    if known:
        return f"the second model has no such input or output {quoted(known[0])}{did_you_mean(known[0], right)}"
    return f"the first model has no input or output {quoted(cuts[0][0])}{did_you_mean(cuts[0][0], left)}"


# -- inputs


def pair_inputs(a: Graph, b: Graph, mapped: Mapping[str, str]) -> list[Pair]:
    """Return the partner of every input of ``b``; raises UsageError where one has none, or may have several."""
    xs, ys = {v.name: v for v in a.inputs}, {v.name: v for v in b.inputs}
    pairs = _by_name(xs, ys, mapped)
    for pair in pairs:
        x, y = xs[pair.before], ys[pair.after]
        if not values_fit(x, y):
            raise UsageError(
                f"input {quoted(x.name)} is {x.type_text()} in the first model and "
                f"{'' if x.name == y.name else quoted(y.name) + ' '}{y.type_text()} in the second: "
                "no input fits both; --map NAME_A=NAME_B pairs another"
            )
    left_a, left_b = _left(xs, ys, pairs)
    found, ambiguous = _by_type(left_a, left_b, lambda x, y: values_fit(xs[x], ys[y]))
    pairs += found
    left_b = [y for y in left_b if y not in {pair.after for pair in found}]
    if left_b:
        several = next((options for options in ambiguous if left_b[0] in options[1]), None)
        what = f"input {quoted(left_b[0])}, {ys[left_b[0]].type_text()}, of the second model"
        if several is not None:
            raise UsageError(f"{what} may be {_named(several[0])} of the first; say which with --map NAME_A=NAME_B")
        given = ", ".join(f"{quoted(x)} {xs[x].type_text()}" for x in left_a[:_MOST_NAMED]) or "none"
        raise UsageError(f"{what} has no counterpart in the first model, whose other inputs are: {given}")
    order = {name: place for place, name in enumerate(xs)}
    return sorted(pairs, key=lambda pair: order[pair.before])


def values_fit(x: Value, y: Value) -> bool:
    """Whether one tensor can be both: element types of one family, and no two fixed sizes that contradict."""
    if x.kind != y.kind or (x.dtype and y.dtype and _family(x.dtype) != _family(y.dtype)):
        return False
    if x.shape is None or y.shape is None:
        return True
    return len(x.shape) == len(y.shape) and all(
        p == q or not (isinstance(p, int) and isinstance(q, int)) for p, q in zip(x.shape, y.shape, strict=True)
    )


def _family(dtype: int) -> str:
    kind = numpy_dtype(dtype)
    return "float" if eps_of(kind) else {"i": "integer", "u": "integer", "V": "integer"}.get(kind.kind, kind.kind)


# -- outputs


def pair_outputs(
    was: Mapping[str, Array], now: Mapping[str, Array], mapped: Mapping[str, str], alike: Mapping[str, str]
) -> tuple[list[Pair], list[str]]:
    """Return which output of the first model is which of the second, and notes about those that are left over.

    ``was`` and ``now`` are the outputs of both on one feed. In this order: ``mapped``; one name; equal values;
    ``alike``, what the structure of the graphs says (one to one); the only one of its type and shape; the position
    among those of one type and shape. Raises UsageError where no output can be paired.
    """

    def fits(x: str, y: str) -> bool:
        return was[x].shape == now[y].shape and _kind(was[x]) == _kind(now[y])

    pairs = _by_name(was, now, mapped)
    pairs += _by_values(*_left(was, now, pairs), was, now, fits)
    left_a, left_b = _left(was, now, pairs)
    pairs += [Pair(x, alike[x], "structure") for x in left_a if alike.get(x) in left_b and fits(x, alike[x])]
    left_a, left_b = _left(was, now, pairs)
    found, ambiguous = _by_type(left_a, left_b, fits)
    pairs += found
    notes = [
        f"outputs {_named(xs)} have one type and shape, and neither structure nor values tell which is which: paired "
        "by position, --map NAME_A=NAME_B says otherwise"
        for xs in _positions(found, fits)
    ]
    if not pairs:
        raise UsageError(_impossible(was, now, ambiguous))
    left_a, left_b = _left(was, now, pairs)
    for ours, theirs in ambiguous:
        text = f"output {quoted(theirs[0])} of the second model may be {_named(ours)} of the first"
        if len(theirs) > 1:
            text = f"outputs {_named(ours)} of the first model may be {_named(theirs)} of the second"
        notes.append(f"not compared: {text}; say which with --map NAME_A=NAME_B")
    told = {name for ours, theirs in ambiguous for name in (*ours, *theirs)}
    for which, names in (("first", left_a), ("second", left_b)):
        rest = [name for name in names if name not in told]
        if rest:
            notes.append(f"not compared: {_named(rest)}, which only the {which} model has")
    order = {name: place for place, name in enumerate(now)}
    return sorted(pairs, key=lambda pair: order[pair.after]), notes


def _kind(array: Array) -> str:
    return "float" if eps_of(array.dtype) else "integer" if array.dtype.kind in "iuV" else array.dtype.kind


def _by_values(
    left_a: Sequence[str], left_b: Sequence[str], was: Mapping[str, Array], now: Mapping[str, Array], fits: Fits
) -> list[Pair]:
    """Pair outputs that are equal but for rounding, where each is that of exactly one other."""
    if len(left_a) * len(left_b) <= 1:
        return []
    equal = {x: [y for y in left_b if fits(x, y) and close(was[x], now[y])] for x in left_a}
    counts = [y for ys in equal.values() for y in ys]
    return [Pair(x, ys[0], "values") for x, ys in equal.items() if len(ys) == 1 and counts.count(ys[0]) == 1]


def close(x: Array, y: Array) -> bool:
    """Whether two arrays of one shape are equal but for what rounding explains."""
    found = compare(x, y)
    eps = max(eps_of(x.dtype), eps_of(y.dtype))
    return found.changed == 0 or bool(eps and found.max_abs <= TIMES_NOISE * FLOOR * eps * found.before_max)


def _impossible(was: Mapping[str, Array], now: Mapping[str, Array], ambiguous: Sequence[Options]) -> str:
    if ambiguous:
        ours, theirs = ambiguous[0]
        return (
            f"no output has the same name, and {len(was)} outputs cannot be paired with {len(now)}: {_named(theirs)} "
            f"of the second model may be {_named(ours)} of the first; say which with --map NAME_A=NAME_B"
        )
    ours, theirs = (
        [f"{quoted(name)} {array.dtype.name}{list(array.shape)}" for name, array in side.items()] for side in (was, now)
    )
    return (
        f"no output of one model can be one of the other: {', '.join(ours[:_MOST_NAMED]) or 'none'} against "
        f"{', '.join(theirs[:_MOST_NAMED]) or 'none'}"
    )


# -- what both share


def _by_name(xs: Iterable[str], ys: Mapping[str, object], mapped: Mapping[str, str]) -> list[Pair]:
    given = [Pair(x, y, "map") for x, y in mapped.items()]
    taken = set(mapped.values())
    return given + [Pair(x, x, "name") for x in xs if x in ys and x not in mapped and x not in taken]


def _left(xs: Iterable[str], ys: Iterable[str], pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    ours, theirs = {pair.before for pair in pairs}, {pair.after for pair in pairs}
    return [x for x in xs if x not in ours], [y for y in ys if y not in theirs]


def _by_type(left_a: Sequence[str], left_b: Sequence[str], fits: Fits) -> tuple[list[Pair], list[Options]]:
    """Pair what fits nothing else, and in order where as many are left on both sides; return what stays ambiguous."""
    groups: dict[Hashable, tuple[list[str], list[str]]] = {}
    for y in left_b:
        options = [x for x in left_a if fits(x, y)]
        if options:
            groups.setdefault(tuple(options), (options, []))[1].append(y)
    pairs: list[Pair] = []
    ambiguous = []
    for options, ys in sorted(groups.values(), key=lambda group: len(group[0])):
        free = [x for x in options if x not in {pair.before for pair in pairs}]
        if len(free) == len(ys):
            pairs += [Pair(x, y, "type" if len(ys) == 1 else "position") for x, y in zip(free, ys, strict=True)]
        elif free:
            ambiguous.append((free, ys))
    return pairs, ambiguous


def _positions(pairs: Sequence[Pair], fits: Fits) -> list[list[str]]:
    """Return the groups of outputs that were paired by position."""
    groups: list[list[str]] = []
    placed = [pair for pair in pairs if pair.how == "position"]
    while placed:
        same = [pair for pair in placed if fits(pair.before, placed[0].after)]
        groups.append([pair.before for pair in same])
        placed = [pair for pair in placed if pair not in same]
    return groups


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(quoted, names[:_MOST_NAMED])) + more


def narrowed(array: Array, wanted: np.dtype[Any]) -> tuple[Array, Array]:
    """Return an input cast to the type that the other model wants, and what is left of it in its own type.

    Both models must see the same numbers, so the first is given what the narrower of the two types can hold.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(wanted)
        return cast, cast.astype(array.dtype)
