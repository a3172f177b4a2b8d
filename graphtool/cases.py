"""A pass's cases, run: the graph after is the one the case shows, and the numbers keep the promise. Floor 5."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper

from graphtool import pipeline, seeded
from graphtool.errors import GraphtoolError, PassError, did_you_mean, quoted
from graphtool.graph import Graph, check, dtype_name
from graphtool.graph.stripped import strip
from graphtool.graph.text import attribute_text, parse_case
from graphtool.parity.trials import plan
from graphtool.rewrite import Case, Catalog, Match, Pass, Stage
from graphtool.rewrite.bodies import Body
from graphtool.rewrite.catalog import SHIPPED, Entry, is_file
from graphtool.rewrite.edit import Edit
from graphtool.rewrite.params import resolve
from graphtool.rewrite.region import Region
from graphtool.rewrite.rule import NO_CHANGE, Rule

_IR = {11: 6, 13: 7, 17: 8, 19: 9, 21: 10}  # the IR version of the ONNX release that brought an opset


_MOST = 1 << 24  # elements of a weight in a case


@dataclass(frozen=True, slots=True)
class Result:
    """How one case went; ``fault`` is empty where it holds, ``checked`` says what judged the numbers."""

    spec: str
    case: str
    fault: str
    checked: str


Before = Callable[[str], None]


def _nothing(_: str) -> None:
    pass


def model_of(text: str, opset: int) -> Graph:
    """Return the graph of a case. A declared value that nothing makes becomes a seeded random weight.

    >>> model_of("g (float[2] x) => (float[2] y) <float[2] w> { y = Add(x, w) }", 17).constant("w").shape
    (2,)
    """
    graph, functions = parse_case(text)
    made = {name for node in graph.node for name in node.output} | {info.name for info in graph.input}
    large = next((info.name for info in graph.input if _size(info) > _MOST), None)
    if large is not None:
        raise PassError(f"input {quoted(large)} of a case has at most {_MOST} elements")
    known = {tensor.name for tensor in graph.initializer}
    for info in graph.value_info:
        if info.name not in made and info.name not in known:
            graph.initializer.append(_weight(info))
    del graph.value_info[:]
    for number, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    domains = {"": opset} | {node.domain: 1 for node in graph.node if node.domain not in ("", "ai.onnx")}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    ir = next((ir for first, ir in sorted(_IR.items(), reverse=True) if opset >= first), 5)
    return Graph(helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=functions))


def _weight(info: onnx.ValueInfoProto) -> onnx.TensorProto:
    kind = info.type.tensor_type
    if not kind.elem_type or _size(info) > _MOST:
        raise PassError(f"weight {quoted(info.name)} needs an element type and at most {_MOST} elements")
    if not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        raise PassError(f"weight {quoted(info.name)} of a case needs numbers as its shape")
    dims = [dim.dim_value for dim in kind.shape.dim]
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    seed = seeded.key("case", info.name)
    array = seeded.bell(seed, dims) if dtype.kind in "fV" else seeded.integers(seed, dims, 0, 8)
    if dtype.hasobject:
        array = array.astype(str)
    return numpy_helper.from_array(array.astype(dtype), info.name)


def _size(info: onnx.ValueInfoProto) -> int:
    """Return how many elements a declared tensor has, open dimensions aside; more than fits for a negative extent."""
    dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim if dim.HasField("dim_value")]
    # with a zero among them the others still must be possible
    return _MOST + 1 if any(not 0 <= extent <= _MOST for extent in dims) else math.prod(dims)


def run_case(spec: Pass, case: Case, catalog: Catalog) -> Result:
    """Apply ``spec`` to the case's graph; compare with the graph shown, judge the numbers, and apply it once more."""
    try:
        return Result(spec.name, case.name, *_verdict(spec, case, catalog))
    except GraphtoolError as error:
        return Result(spec.name, case.name, str(error), "")


def _verdict(spec: Pass, case: Case, catalog: Catalog) -> tuple[str, str]:
    graph = model_of(case.before, case.opset)
    check(graph)  # before inputs are drawn for it
    if not case.stored:
        return _verdict_on(graph, spec, case, catalog)
    with tempfile.TemporaryDirectory(prefix="graphtool-") as folder:
        return _verdict_on(_stored(graph, case.stored, Path(folder)), spec, case, catalog)


def _stored(graph: Graph, how: str, folder: Path) -> Graph:
    """Return the graph as it is loaded again, with its weights where the case says."""
    path = folder / "case.onnx"
    graph.outside = 1 if how == "external" else None
    graph.save(path)
    loaded = Graph.load(path)
    if how != "stripped":
        return loaded
    for tensor in loaded.header.initializer:
        strip(tensor, loaded.weights)
    loaded.save(folder / "stripped.onnx")
    return Graph.load(folder / "stripped.onnx")


def _verdict_on(graph: Graph, spec: Pass, case: Case, catalog: Catalog) -> tuple[str, str]:
    stage = Stage(spec, resolve(spec.params, case.params, spec.name), spec.name)
    untouched = graph.copy()
    trials = None if case.after is None else plan(graph, count=1, with_extremes=spec.parity != "lossy")
    state = pipeline.begin(graph, [stage], catalog, trials)
    step = next(pipeline.advance(state, catalog))
    if case.after is None:
        if step.status == "broken":
            return f"unchanged is wanted, but it broke: {step.reason}", ""
        return (
            ("", "unchanged")
            if not step.matches
            else (f"unchanged is wanted, but it matched: {difference(graph, untouched)}", "")
        )
    if step.status == "broken":
        return f"the promise '{spec.parity}' is broken: {step.reason}", ""
    if not step.matches:
        return f"nothing matched: {step.reason}", ""
    expected = model_of(case.after, case.opset)
    found = difference(graph, expected)
    if found:
        return found, ""
    again = _again(graph, stage, catalog)
    if again:
        return f"it matches its own result: {again[0].where}", ""
    return "", step.verdict.rule if step.verdict else "structure"


def _again(graph: Graph, stage: Stage, catalog: Catalog) -> tuple[Match, ...]:
    """Return what a pass matches in its own result."""
    if "names" in stage.spec.interface:  # names change places, and back
        return ()
    try:
        return pipeline.dry_run(graph, [stage], catalog)[0].matches
    except PassError:  # what a parameter names is not there a second time
        return ()


def difference(found: Graph, expected: Graph) -> str:
    """Return how two small graphs differ, inner names and the values of random weights aside; '' where they do not."""
    a, b = _shape_of(found), _shape_of(expected)
    if a == b:
        return ""
    lines = [f"- {line}" for line in b if line not in a] + [f"+ {line}" for line in a if line not in b]
    return "another graph: " + "; ".join(lines or ["the same nodes, put together otherwise"])


def _shape_of(graph: Graph) -> list[str]:
    """Return canonical lines: interface, then nodes as they are met from the outputs on, inner names numbered."""
    fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
    numbers: dict[str, str] = {}

    def name(value: str) -> str:
        if not value or value in fixed:
            return value
        tensor = graph.initializers.get(value)
        if tensor is not None:
            return f"{dtype_name(tensor.data_type)}{list(tensor.dims)}"
        return numbers.setdefault(value, f"%{len(numbers)}")

    lines = [f"input {v.name}: {dtype_name(v.dtype)} rank {v.rank}" for v in graph.inputs]
    lines += [f"output {v.name}: {dtype_name(v.dtype)} rank {v.rank}" for v in graph.outputs]
    for node in _from_outputs(graph.proto.graph):
        attributes = {a.name: attribute_text(a) for a in node.attribute}
        inputs = list(node.input)
        while inputs and not inputs[-1]:
            inputs.pop()
        made = ", ".join(name(value) for value in node.output)
        shown = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
        domain = node.domain if node.domain not in ("", "ai.onnx") else ""
        lines.append(f"{made} = {domain}{node.op_type}<{shown}>({', '.join(name(value) for value in inputs)})")
    weights = Counter(name(weight) for weight in graph.initializers)
    return lines + sorted(f"{count} weights {kind}" for kind, count in weights.items())


def _from_outputs(graph: GraphProto) -> list[NodeProto]:
    """Return the nodes in one order however they are listed: each behind the makers of its inputs."""
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    ends = [makers[info.name] for info in graph.output if info.name in makers]
    order: dict[int, None] = {}
    begun: set[int] = set()
    pending = [*range(len(graph.node))[::-1], *ends[::-1]]
    while pending:
        place = pending.pop()
        ahead = [makers[name] for name in graph.node[place].input if name in makers and makers[name] not in order]
        if place in begun or not ahead:
            order[place] = None
        else:
            begun.add(place)
            pending += [place, *ahead[::-1]]
    return [graph.node[place] for place in order]


def run_cases(catalog: Catalog, names: list[str] | None = None, before: Before = _nothing) -> Iterator[Result]:
    """Run every case of the named passes (all by default); a pass without one is a fault."""
    for name in names or catalog.names:
        spec = catalog.get(name)
        if not spec.cases:
            yield Result(spec.name, "-", "no case: show what it does, and a graph that it leaves unchanged", "")
        for case in spec.cases:
            before(case.name)
            yield run_case(spec, case, catalog)


def run_entry(catalog: Catalog, entry: Entry, strict: bool = False, before: Before = _nothing) -> Iterator[Result]:
    """Run every case of a pass file, with ``strict`` also :func:`undertested`; a file that is broken is a fault.

    ``before`` is told each case before it is run.
    """
    try:
        yield from run_cases(catalog, [entry.word], before)
        if strict:
            yield from undertested(catalog, entry.word, before)
    except PassError as error:
        yield Result(entry.name, "-", str(error), "")


def undertested(catalog: Catalog, name: str, before: Before = _nothing) -> Iterator[Result]:
    """Yield what the cases of a pass do not show (``--strict``): what it leaves unchanged, and the use of a condition.

    A condition is of use where with it dropped a case fails, or more matches would be replaced by what they are.
    """
    spec = catalog.get(name)
    if spec.cases and all(case.after is not None for case in spec.cases):
        yield Result(spec.name, "-", "no negative case: show a graph that it leaves unchanged", "")
    if spec.cases and all(case.after is None for case in spec.cases):
        yield Result(spec.name, "-", "no positive case: show what it does", "")
    for place, weaker in _weakened(spec):
        needed = any(_told(weaker, case, catalog, before).fault for case in spec.cases)
        if not needed and all(_idle(weaker, case, catalog) <= _idle(spec, case, catalog) for case in spec.cases):
            yield Result(spec.name, place, "no case fails without this condition", "")


def _idle(spec: Pass, case: Case, catalog: Catalog) -> int:
    """Return how many matches in the graph of a case would be replaced by what they are."""
    stage = Stage(spec, resolve(spec.params, case.params, spec.name), spec.name)
    step = pipeline.dry_run(model_of(case.before, case.opset), [stage], catalog)[0]
    return sum(miss.reason == NO_CHANGE for miss in step.misses)


def _told(spec: Pass, case: Case, catalog: Catalog, before: Before) -> Result:
    before(case.name)
    return run_case(spec, case, catalog)


def _weakened(spec: Pass) -> Iterator[tuple[str, Pass]]:
    for number, body in enumerate(spec.bodies):
        for place, run in _weaker(body.run):
            bodies = (*spec.bodies[:number], Body(body.requires, run), *spec.bodies[number + 1 :])
            yield place, dataclasses.replace(spec, bodies=bodies)


def _weaker(run: object) -> Iterator[tuple[str, Rule | Edit | Region]]:
    """Yield a body with one condition dropped, and where that condition stands in the file."""
    if isinstance(run, Region):
        yield from run.weaker()
    elif isinstance(run, (Rule, Edit)):
        for place, where in enumerate(run.wheres):
            fewer = run.wheres[:place] + run.wheres[place + 1 :]
            yield f"{run.name}.where[{place}] {where.text}", dataclasses.replace(run, wheres=fewer)


def catalog_of(folder: Path, hint: str = "") -> Catalog:
    """Return a catalog of the pass files in ``folder``, beside those that ship; raises where there are none."""
    shipped = Catalog()
    own = Catalog([*shipped.folders, folder])
    if not folder.is_dir() or not any(folder.glob("*.toml")):
        raise GraphtoolError(f"no pass files (*.toml) in {quoted(folder)}{hint}")
    return own


def chosen(what: str | None) -> tuple[Catalog, list[Entry]]:
    """Return the pass files that a folder, a file or a name means, all that can be named for None, and their catalog.

    Raises GraphtoolError where it means none.
    """
    if what is None:
        return (every := Catalog()), every.entries
    path = Path(what)
    if path.suffix == ".toml":
        if not is_file(path):
            raise GraphtoolError(f"no pass file {quoted(what)}")
        catalog = catalog_of(path.parent)
        return catalog, [entry for entry in catalog.entries_of(path.parent) if entry.path.name == path.name]
    catalog = Catalog()
    names = what, what.removeprefix(SHIPPED)
    entries = [entry for entry in catalog.entries if what == entry.word or entry.name == names[entry.shipped]]
    if entries and not path.is_dir():
        return catalog, entries
    near = did_you_mean(what, catalog.names)
    return (catalog := catalog_of(path, near)), catalog.entries_of(path)


__all__ = [
    "Result", "catalog_of", "chosen", "difference", "model_of", "run_case", "run_cases", "run_entry", "undertested",
]  # fmt: skip
