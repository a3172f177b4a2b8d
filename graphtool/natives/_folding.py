"""Computing the foldable nodes of one graph: small ones in this process, the others in the judge's onnxruntime."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto

from graphtool.errors import ModelError
from graphtool.graph import Graph
from graphtool.graph.growth import Budget
from graphtool.graph.weights import payload_bytes
from graphtool.natives import _kernels
from graphtool.natives._call import Array
from graphtool.natives._evaluate import Undefined, evaluate
from graphtool.natives._growth import Ledger, choose

_SMALL = 1 << 20  # bytes of a result that is computed before it is known whether it is wanted
_MOST = 256 << 20  # bytes of any one result
_TOO_LARGE = f"its result has more than {_MOST >> 20} MiB"
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_ROUNDED = (
    "onnxruntime computes float16 in float32 and leaves roundings out, so that a folded value would differ from what "
    "it computes; fold_constants_float16 folds it"
)


class Options(NamedTuple):
    """``seconds``: for a child. ``float16``: fold what rounds to it. ``failed``: what onnxruntime could not compute."""

    budget: Budget
    seconds: int
    float16: bool
    failed: dict[str, str]  # by first output, why; grows


class Folding:
    """The values of the foldable nodes ``slots`` of a graph, as far as they are computed; ``refused`` says why not.

    Those that are not ``taken`` are computed where others need that, and stay.
    """

    def __init__(
        self, graph: Graph, opset: int, slots: Sequence[int], options: Options,
        taken: Callable[[int], bool] = lambda _: True,
    ) -> None:  # fmt: skip
        self.graph = graph
        self.values: dict[str, Array] = {}
        self.refused: dict[int, str] = {}
        self._opset = opset
        self._options = options
        self._taken = taken
        self._sizes: dict[str, int] = {}  # of values that are not computed, or not held
        self._read: dict[str, Array | None] = {}
        self._later: dict[int, None] = {}  # slots whose results are large or not for numpy
        self._made = {name for slot in slots for name in self._node(slot).output if name}
        self._lost: set[str] = set()  # values that there will not be
        for slot in slots:
            self._early(slot)
        self._measure()
        self.ledger = self._choose(slots)
        if self._compute():
            self.ledger = self._choose(self.ledger.folded)  # by real sizes
            self._keep_unavailable()

    def _node(self, slot: int) -> NodeProto:
        node = self.graph.node(slot)
        assert node is not None
        return node

    # -- what is small

    def _early(self, slot: int) -> None:
        reason = self._options.failed.get(_kernels.first_output(self._node(slot)))
        if reason:
            self._refuse(slot, reason)
        elif not self._is_lost(slot) and not self._evaluate(slot, _SMALL) and slot not in self.refused:
            self._later[slot] = None

    def _is_lost(self, slot: int) -> bool:
        """Whether a node reads what will not be computed; it is refused then."""
        lost = any(name in self._lost for name in self._node(slot).input)
        if lost:
            self._refuse(slot, "what it reads was not folded")
        return lost

    def _evaluate(self, slot: int, limit: int) -> bool:
        """Compute a node here and return whether that was possible."""
        node = self._node(slot)
        inputs: list[Array | None] = []
        for name in node.input[:]:
            found = self._value(name) if name else None
            if name and found is None:
                if name not in self._made:
                    self._refuse(slot, f"'{name}' cannot be read")
                return False
            inputs.append(found)
        try:
            results = evaluate(node, self._opset, inputs, limit)
        except Undefined as error:
            self._refuse(slot, str(error))
            return False
        if results is None:
            return False
        largest = max(map(bytes_of, results), default=0)
        if largest > _MOST and largest > self._most(slot):  # a view of little: none of it is written yet
            self._refuse(slot, _TOO_LARGE)
            return False
        self.values.update((name, array) for name, array in zip(node.output[:], results, strict=True) if name)
        return True

    def _most(self, slot: int) -> int:
        """Return how many bytes a result may have: as many as what it is made of, or a fixed amount."""
        return max(_MOST, sum(self._size(name) for name in self._node(slot).input))

    def _refuse(self, slot: int, reason: str) -> None:
        self.refused[slot] = reason
        self._later.pop(slot, None)
        self._lost.update(filter(None, self._node(slot).output))

    def _value(self, name: str) -> Array | None:
        """Return the value of a constant or of a folded node; None where it is not computed or cannot be read."""
        if name in self._made:
            return self.values.get(name)
        if name not in self._read:
            self._read[name] = read(self.graph, name)
        return self._read[name]

    # -- what is chosen

    def _measure(self) -> None:
        """Learn the sizes of what is left from inference, and refuse what is too large or rounds to float16."""
        for slot in list(self._later):
            if self._is_lost(slot):
                continue
            if not self._options.float16 and self._makes_halves(slot):
                if self._evaluate(slot, self._most(slot)):  # a large move
                    del self._later[slot]
                elif slot not in self.refused:
                    self._refuse(slot, _ROUNDED)
                continue
            for name in filter(None, self._node(slot).output):
                value = self.graph.value(name)
                if value is not None and value.static and value.dtype:
                    self._sizes[name] = payload_bytes(TensorProto(data_type=value.dtype, dims=value.dims)) or 0
            if any(self._sizes.get(name, 0) > self._most(slot) for name in self._node(slot).output):
                self._refuse(slot, _TOO_LARGE)

    def _makes_halves(self, slot: int) -> bool:
        node = self._node(slot)
        made = [value for name in node.output if name and (value := self.graph.value(name)) is not None]
        if all(value.dtype for value in made) and len(made) == sum(map(bool, node.output)):
            return any(value.dtype in _HALVES for value in made)
        read = (self._value(name) for name in node.input if name)
        return any(array is not None and array.dtype.name in ("float16", "bfloat16") for array in read)

    def _size(self, name: str) -> int:
        """Return the bytes of a value: of a constant, or of a folded node as far as it is known."""
        if name in self._sizes:
            return self._sizes[name]
        found = self._value(name) if name else None
        if found is None:
            return 0
        self._sizes[name] = bytes_of(found)
        return self._sizes[name]

    def _choose(self, slots: Iterable[int]) -> Ledger:
        candidates = [slot for slot in slots if slot not in self.refused and self._taken(slot)]
        ledger = choose(self.graph, candidates, self._size, self._options.budget)
        for slot in candidates:
            if slot not in ledger.folded:
                self.refused[slot] = "folding it would grow the model by more than growth and slack allow"
        return ledger

    # -- what is large

    def _compute(self) -> bool:
        """Compute what the chosen nodes still need, large moves here, the rest in onnxruntime; False for nothing."""
        wanted = {name for slot in self.ledger.folded for name in self.ledger.frontier(slot)}
        needed = self._needed(wanted)
        reads = Counter(name for slot in needed for name in self._node(slot).input)
        left = []
        for slot in needed:
            if self._is_lost(slot):
                continue
            if not self._evaluate(slot, self._most(slot)):
                if slot not in self.refused:
                    left.append(slot)
                continue
            for name in self._node(slot).input:
                reads[name] -= 1
                if not reads[name] and name in self._made and name not in wanted:
                    self._release(name)
        if left:
            self._compute_elsewhere(left, wanted)
        return bool(needed)

    def _release(self, name: str) -> None:
        """Free a large value in between."""
        if self._size(name) > _SMALL:
            self.values.pop(name, None)

    def _needed(self, wanted: Iterable[str]) -> list[int]:
        """Return those slots, in order, that must be computed later for the ``wanted`` values."""
        maker = {name: slot for slot in self._later for name in self._node(slot).output}
        queue = [maker[name] for name in wanted if name in maker]
        needed: set[int] = set()
        while queue:
            slot = queue.pop()
            if slot not in needed:
                needed.add(slot)
                queue += [maker[name] for name in self._node(slot).input if name in maker]
        return [slot for slot in self._later if slot in needed]

    def _compute_elsewhere(self, slots: Sequence[int], wanted: set[str]) -> None:
        nodes = [self._node(slot) for slot in slots]
        own = {name for node in nodes for name in node.output if name}
        constants: dict[str, Array] = {}
        for name in dict.fromkeys(name for node in nodes for name in node.input if name and name not in own):
            found = self._value(name)
            if found is not None:
                constants[name] = found
        outputs = [name for node in nodes for name in node.output if name in wanted]
        most = max(map(self._most, slots))
        done = _kernels.compute(self.graph, nodes, constants, outputs, self._options.seconds, most)
        self.values |= done.values
        self._sizes |= done.sizes | {name: bytes_of(array) for name, array in done.values.items()}
        for slot, node in zip(slots, nodes, strict=True):
            reason = done.failed.get(_kernels.first_output(node))
            if reason:
                self.refused[slot] = reason
        self._options.failed.update(done.failed)

    def _keep_unavailable(self) -> None:
        """Keep the nodes of needed values that could not be computed, and of those that these then need."""
        before = list(self.ledger.folded)
        self.ledger.keep(before, lambda slot: any(name not in self.values for name in self.ledger.frontier(slot)))
        for slot in before:
            if slot not in self.ledger.folded:
                self.refused.setdefault(slot, "what is computed with it was not folded")
        self.ledger.grown = self.ledger.growth(self.ledger.folded, 0)


def read(graph: Graph, name: str) -> Array | None:
    """Return the value of a constant, text as bytes; None where it cannot be read."""
    home: Graph | None = graph
    while home is not None and not home.defines(name):
        home = home.parent
    tensor = home.initializers.get(name) if home is not None else None
    if tensor is not None and tensor.data_type == TensorProto.STRING:
        texts = np.empty(len(tensor.string_data), object)
        texts[:] = list(tensor.string_data)
        return texts.reshape(tuple(tensor.dims)) if texts.size == math.prod(tensor.dims) else None
    try:
        return graph.constant(name)
    except ModelError:
        return None


def bytes_of(array: Array) -> int:
    """Return how many bytes an array takes in a file."""
    if array.dtype.hasobject:
        return sum(len(item) + 4 for item in array.reshape(-1))
    bits = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}.get(array.dtype.name)
    return array.size * array.dtype.itemsize if bits is None else (array.size * bits + 7) // 8
