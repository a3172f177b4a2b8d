"""One constant, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from graphtool.errors import PassError, did_you_mean, quoted
from graphtool.graph import Graph
from graphtool.natives._named import done
from graphtool.rewrite.result import Applied, Match, Miss

Array = NDArray[Any]
_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def apply(graph: Graph, params: Mapping[str, object]) -> Applied:
    """Give the constant called ``constant`` the numbers in ``value``, for all that read it. Raises PassError."""
    name, text = params["constant"], params["value"]
    assert isinstance(name, str) and isinstance(text, str)
    if not name:
        return Applied(misses=[Miss("", "native", "no constant is named; give constant=NAME")])
    level, name = _find(graph, name)
    old = level.constant(name)
    assert old is not None
    new = _array(text, old, name)
    if new.shape == old.shape and new.tobytes() == old.tobytes():
        return Applied(misses=[Miss(name, "native", "it has that value already")])
    maker = level.index.producer(name)
    if maker is not None:
        del maker.attribute[:]
        maker.attribute.add().CopyFrom(helper.make_attribute("value", numpy_helper.from_array(new)))
    else:
        level.drop_initializers([name])
        level.put_initializer(name, new)
    done(graph, level)
    return Applied([Match(name, "native")])


def _find(graph: Graph, name: str) -> tuple[Graph, str]:
    """Return the level of a constant and its name: that of a value, or of the Constant node that makes it."""
    known: dict[str, tuple[Graph, str]] = {}
    for level in graph.levels():
        for slot in level.index.slots_of_type("Constant"):
            node = level.node(slot)
            if node is not None and len(node.output) == 1:
                known.setdefault(node.name, (level, node.output[0]))
                known[node.output[0]] = level, node.output[0]
        known |= {value: (level, value) for value in level.initializers if value not in known}
    found = known.get(name)
    if found is None:
        raise PassError(f"no constant named {quoted(name)}{did_you_mean(name, filter(None, known))}")
    if found[0].constant(found[1]) is None:
        raise PassError(f"{quoted(name)} is no constant that can be set: the default of an input, or sparse")
    return found


def _array(text: str, old: Array, name: str) -> Array:
    """Return what ``1x-1x256`` says in the element type of ``old``, and in its shape where it is as many."""
    words = text.replace(",", "x").split("x")
    kind = np.bool_ if old.dtype.kind == "b" else object if old.dtype.kind in "iu" else np.float64
    try:
        if old.dtype.hasobject or old.dtype.kind not in "biufV":
            raise ValueError
        read = [
            _BOOLS[w] if kind is np.bool_ else int(w) if kind is object else float(w) for w in map(str.strip, words)
        ]
        if kind is object and not np.iinfo(old.dtype).min <= min(read) <= max(read) <= np.iinfo(old.dtype).max:
            raise ValueError
        new = np.asarray(read, old.dtype if kind is object else kind).astype(old.dtype)
    except (KeyError, ValueError, OverflowError):
        raise PassError(f"constant {quoted(name)} is {old.dtype}, and takes no {quoted(text)}") from None
    if new.size == old.size:
        return new.reshape(old.shape)
    if new.size == 1:
        return np.full(old.shape, new[0], old.dtype)
    if old.ndim == 1:
        return new
    raise PassError(f"constant {quoted(name)} has the shape {list(old.shape)}, and takes 1 or {old.size} numbers")
