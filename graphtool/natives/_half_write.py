"""A plan for float16 carried out: types changed, constants converted, one Cast for each value that needs one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from graphtool.errors import PassError, quoted
from graphtool.graph import Graph
from graphtool.graph import opset as ops
from graphtool.graph.fields import keep_only
from graphtool.graph.weights import LAZY_BYTES
from graphtool.natives._guards import is_guard
from graphtool.natives._half_plan import Key, Level, Plan
from graphtool.rewrite.result import Match, Miss, label

LARGEST = 65504.0  # of float16
SMALLEST = 2.0**-24  # above 0, a subnormal
HALF, FULL = int(TensorProto.FLOAT16), int(TensorProto.FLOAT)
_SUFFIX = {HALF: "float16", FULL: "float32"}

Array = NDArray[np.generic]


@dataclass(slots=True)
class Uses:
    """Where a value is read as float16 and as float32: level, slot (None: an output of the level), position."""

    half: list[tuple[int, int | None, int]] = field(default_factory=list)
    full: list[tuple[int, int | None, int]] = field(default_factory=list)


class Writer:
    """Carries out ``plan``. With ``clamp``, constants beyond float16's range become its largest number, else an error.

    ``matches`` are the converted nodes, ``misses`` the weights that lose numbers.
    """

    def __init__(self, plan: Plan, clamp: bool) -> None:
        self.plan, self.clamp = plan, clamp
        self.root = plan.levels[0].graph
        self.matches: list[Match] = []
        self.misses: list[Miss] = []
        self._stored: dict[Key, int] = {}  # what type a value has from now on, where it was float32
        self._uses: defaultdict[Key, Uses] = defaultdict(Uses)
        self._casts: dict[tuple[Key, int], str] = {}
        self._names: dict[Key, str] = {}  # values that had to give their name to an output

    def run(self) -> None:
        """Change the model."""
        for level in self.plan.levels:
            self._note(level)
        if not self.plan.keep_io:
            self._convert_inputs()
        for level in self.plan.levels:
            self._change_types(level)
        self._free_outputs()
        for key, uses in list(self._uses.items()):
            self._serve(key, uses)
        self._drop_idle_casts()
        for level in reversed(self.plan.levels):
            self._drop_types(level)
            level.graph.commit()
        self.root.reindex()

    def _drop_types(self, level: Level) -> None:
        """Drop stored types of values that have another one now."""
        stored, number = self._stored, level.number
        keep_only(level.graph.header.value_info, lambda info: stored.get((number, info.name)) != HALF)

    # -- what is read as what

    def _note(self, level: Level) -> None:
        plan, graph = self.plan, level.graph
        for slot, (inputs, _) in level.floats.items():
            node = graph.node(slot)
            assert node is not None
            slots = level.half.get(slot)
            if slots is not None:
                for position in slots.outputs:
                    self._stored[level.number, node.output[position]] = HALF
            if node.op_type == "Cast" and node.domain in ("", "ai.onnx"):
                continue  # it takes either
            for position in inputs:
                key = (plan.home(level, node.input[position]), node.input[position])
                half = slots is not None and position in slots.inputs
                uses = self._uses[key]
                (uses.half if half else uses.full).append((level.number, slot, position))
        if level.outer is None or level.frozen:
            return
        for position, info in enumerate(graph.header.output):
            if plan.is_float(level, info.name):
                self._uses[plan.home(level, info.name), info.name].half.append((level.number, None, position))
        for info in graph.header.input:
            if plan.is_float(level, info.name):
                self._stored[level.number, info.name] = HALF

    def _convert_inputs(self) -> None:
        graph = self.root
        for info in graph.header.input:
            constant = graph.is_constant(info.name)  # before IR 4 every weight is an input too
            if constant or not self.plan.is_float(self.plan.levels[0], info.name):
                continue
            info.type.tensor_type.elem_type = HALF
            self._stored[0, info.name] = HALF
            self.matches.append(Match(info.name, "native"))
            tensor = graph.initializers.get(info.name)
            if tensor is not None:
                self._convert_tensor(graph, tensor)

    def _change_types(self, level: Level) -> None:
        graph = level.graph
        for slot in graph.live_slots():
            slots = level.half.get(slot)
            node = graph.node(slot)
            if slots is None or node is None:
                continue
            if slots.inputs or slots.outputs:
                self.matches.append(Match(label(node), "native"))
            if node.op_type == "Cast":
                own = ops.attribute_of(node, "to")
                assert own is not None
                own.i = HALF
            elif node.op_type == "ConstantOfShape":
                self._convert_fill(graph, node)
            for body in self.plan.below(level, slot):
                infos = (*body.graph.header.input, *body.graph.header.output)
                for info in infos:
                    if self.plan.is_float(body, info.name):
                        info.type.tensor_type.elem_type = HALF

    def _convert_fill(self, graph: Graph, node: NodeProto) -> None:
        own = ops.attribute_of(node, "value")
        if own is None:
            value = numpy_helper.from_array(np.zeros(1, np.float16), "value")
            node.attribute.add().CopyFrom(helper.make_attribute("value", value))
        else:
            self._convert_tensor(graph, own.t, label(node))

    # -- outputs

    def _free_outputs(self) -> None:
        """Let a Cast make each output whose type would change against what is asked for, under the output's name."""
        graph, plan = self.root, self.plan
        wanted = FULL if plan.keep_io else HALF
        for name in dict.fromkeys(info.name for info in graph.header.output):
            slot = graph.index.producer_slot(name)
            if not plan.is_float(plan.levels[0], name):
                continue
            key = (0, name)
            stored = self._stored.get(key, FULL)
            if slot is None or graph.is_constant(name):  # an input, or a weight, which keeps its type then
                if graph.is_constant(name):
                    self._uses[key].full.append((0, None, 0))
                elif stored != FULL:
                    self._declare_outputs(name, stored)
                continue
            if stored != wanted:
                node = graph.node(slot)
                assert node is not None
                inner = graph.names.fresh_value(f"{name}/{_SUFFIX[stored]}")
                graph.replace_uses(name, inner)
                graph.rename_output(slot, list(node.output).index(name), inner)
                self._names[key] = inner
                self._casts[key, wanted] = name
                graph.append_node(self._cast(graph, inner, name, wanted, node.name or name))
            if wanted == HALF:
                self._declare_outputs(name, HALF)
                self.matches += [Match(name, "native")] if stored != wanted else []

    def _declare_outputs(self, name: str, kind: int) -> None:
        for info in self.root.header.output:
            if info.name == name:
                info.type.tensor_type.elem_type = kind

    # -- values that are read as another type than they have

    def _serve(self, key: Key, uses: Uses) -> None:
        number, name = key
        home = self.plan.levels[number]
        if home.graph.is_constant(name) and home.graph.constant(name) is not None:
            if uses.half:
                self._serve_constant(home, name, uses)
            return
        stored = self._stored.get(key, FULL)
        for where, kind in ((uses.half, HALF), (uses.full, FULL)):
            if where and kind != stored:
                made = self._cast_of(home, key, kind)
                for use in where:
                    self._read(use, made, kind)

    def _cast_of(self, home: Level, key: Key, kind: int) -> str:
        """Return the value as ``kind``: one Cast at the level that defines it, right behind what makes it."""
        if (key, kind) not in self._casts:
            graph, name = home.graph, self._names.get(key, key[1])
            made = graph.names.fresh_value(f"{key[1]}/{_SUFFIX[kind]}")
            slot = graph.index.producer_slot(name)
            node = None if slot is None else graph.node(slot)
            cast = self._cast(graph, name, made, kind, (node.name if node is not None else "") or key[1])
            if slot is None:
                graph.prepend_node(cast)
            else:
                graph.add_node(cast, slot, 1)
            self._casts[key, kind] = made
        return self._casts[key, kind]

    def _cast(self, graph: Graph, source: str, made: str, kind: int, stem: str) -> NodeProto:
        name = graph.names.fresh_node(f"{stem}/cast_{_SUFFIX[kind]}")
        node = helper.make_node("Cast", [source], [made], name, to=kind)
        assert isinstance(node, NodeProto)
        return node

    def _read(self, use: tuple[int, int | None, int], name: str, kind: int) -> None:
        number, slot, position = use
        graph = self.plan.levels[number].graph
        if slot is not None:
            graph.set_input(slot, position, name)
            return
        info: ValueInfoProto = graph.header.output[position]
        if number == 0:
            return  # a weight that is an output
        if name in graph.index.producers or name in graph.initializers:
            info.name = name
            return
        inner = graph.names.fresh_value(f"{name}/output")  # a body's output is made in it
        graph.append_node(helper.make_node("Identity", [name], [inner], graph.names.fresh_node(f"{name}/output")))
        info.name = inner

    # -- constants

    def _serve_constant(self, home: Level, name: str, uses: Uses) -> None:
        graph = home.graph
        readers = [(self.plan.levels[number].graph, slot, position) for number, slot, position in uses.half]
        guards = all(slot is not None and is_guard(level.node(slot), position) for level, slot, position in readers)
        if uses.full:
            array = graph.constant(name)
            assert array is not None
            made = graph.add_initializer(f"{name}/float16", self._half(array, name, guards))
            for use in uses.half:
                self._read(use, made, HALF)
            return
        self._stored[home.number, name] = HALF
        tensor = graph.initializers.get(name)
        if tensor is not None:
            self._convert_tensor(graph, tensor, guards=guards)
            for info in graph.header.input:
                if info.name == name:
                    info.type.tensor_type.elem_type = HALF
            return
        node = graph.index.producer(name)
        array = graph.constant(name)
        assert node is not None and array is not None
        value = numpy_helper.from_array(self._half(array, name, guards), name)
        del node.attribute[:]
        node.attribute.add().CopyFrom(helper.make_attribute("value", value))
        self._hold(graph, node.attribute[0].t)

    def _convert_tensor(self, graph: Graph, tensor: TensorProto, what: str = "", guards: bool = False) -> None:
        array = self._half(graph.array(tensor), what or tensor.name, guards)
        own = TensorProto(name=tensor.name, data_type=HALF, dims=tensor.dims, raw_data=array.tobytes())
        if tensor.HasField("doc_string"):
            own.doc_string = tensor.doc_string
        own.metadata_props.extend(tensor.metadata_props)
        tensor.CopyFrom(own)
        self._hold(graph, tensor)

    def _hold(self, graph: Graph, tensor: TensorProto) -> None:
        if len(tensor.raw_data) > LAZY_BYTES:
            tensor.raw_data = graph.weights.hold(tensor.raw_data)

    def _half(self, array: Array, name: str, guards: bool = False) -> NDArray[np.float16]:
        """Return a constant as float16; raises PassError for finite numbers that it cannot hold, unless clamped.

        A single number that ``guards`` a divisor and would become 0 becomes the smallest number there is.
        """
        full = array.astype(np.float32, copy=False)
        over = beyond(full)
        if over and not self.clamp:
            largest = float(np.abs(full[np.isfinite(full)]).max())
            raise PassError(
                f"constant {quoted(name)} has {over} of {full.size} values beyond {LARGEST:g}, the largest number of "
                f"float16 (up to {largest:g}); clamp them with overflow=clamp, or give overflow=keep for float32 there"
            )
        if over:
            full = np.where(np.isfinite(full), np.clip(full, -LARGEST, LARGEST), full)
        with np.errstate(over="ignore"):  # an infinity stays one
            half = full.astype(np.float16)
        lost = int(np.count_nonzero((half == 0) & (full != 0)))
        if not lost:
            return half
        if guards and full.size == 1:
            self.misses.append(
                Miss(name, "native", f"{float(full.flat[0]):g} is too small for float16 and becomes {SMALLEST:.2g}")
            )
            return np.copysign(np.float16(SMALLEST), half)
        self.misses.append(Miss(name, "native", f"{lost} of {full.size} values are too small for float16 and become 0"))
        return half

    # -- Casts that do nothing any more

    def _drop_idle_casts(self) -> None:
        for level in self.plan.levels:
            graph = level.graph
            outputs = {info.name for info in graph.header.output}
            for slot in graph.index.slots_of_type("Cast"):
                node = graph.node(slot)
                if node is None or node.domain not in ("", "ai.onnx") or node.output[0] in outputs:
                    continue
                own = ops.attribute_of(node, "to")
                key = (self.plan.home(level, node.input[0]), node.input[0])
                value = graph.value(node.input[0])
                was_half = value is not None and value.dtype == HALF and key not in self._stored
                if own is not None and own.i == HALF and (was_half or self._stored.get(key) == HALF):
                    graph.replace_uses(node.output[0], node.input[0])
                    graph.remove_node(slot)


def beyond(array: Array) -> int:
    """Return how many finite numbers of an array float16 cannot hold; what rounds down to its largest number fits."""
    if array.size == 0:
        return 0
    full = array.astype(np.float32, copy=False)
    return int(np.count_nonzero(np.isfinite(full) & (np.abs(full) >= np.float32(65520))))
