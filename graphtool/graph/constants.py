"""The constants of a graph: initializers and Constant nodes, those of the graphs around a body included."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from graphtool.graph.fields import keep_only
from graphtool.graph.nodes import NodeList
from graphtool.graph.weights import LAZY_BYTES, Weights, fill_tensor


class Constants(NodeList):
    """A node list with its initializers; ``parent`` is the graph around a body, to which look-ups go on."""

    parent: Constants | None = None
    weights: Weights
    _proto: onnx.ModelProto

    def _start_constants(self) -> None:
        self._initializers: dict[str, TensorProto] | None = None
        self._fields = self._graph.input  # held: to ask the graph for it each time costs more than the question
        self._inputs: tuple[int, frozenset[str]] = (-1, frozenset())
        self._constants: dict[str, NDArray[np.generic]] = {}  # small initializers that were asked for

    def defines(self, name: str) -> bool:
        """Whether ``name`` is an input, an initializer or a node's output of this very graph."""
        if name in self.initializers or name in self.index.producers:
            return True
        sparse = (tensor.values.name for tensor in self._graph.sparse_initializer)
        return any(info.name == name for info in self._graph.input) or name in sparse

    @property
    def initializers(self) -> dict[str, TensorProto]:
        """Dense initializers by name."""
        if self._initializers is None:
            self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        return self._initializers

    def array(self, tensor: TensorProto) -> NDArray[np.generic]:
        """Return the value of a tensor of this model, a read-only view of the file where possible."""
        return self.weights.array(tensor)

    def is_constant(self, name: str) -> bool:
        """Whether ``name`` is an initializer no caller can override, or made by a Constant node."""
        home = self if self.parent is None else self._home(name)
        if home is None:
            return False
        if name in home.initializers:
            return not home._is_default(name)
        slot = home.index.producers.get(name)
        row = None if slot is None else home.index.rows[slot]
        return row is not None and row.op_type == "Constant" and row.standard

    def _is_default(self, name: str) -> bool:
        """Whether an initializer is only the default of an input, which it is since IR 4."""
        return self.parent is None and name in self._input_names() and self._proto.ir_version >= 4

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return the value of a constant; None where ``name`` is not one (or is sparse)."""
        known = self._constants.get(name)
        if known is not None and name in self.initializers:
            return known
        home = self if self.parent is None else self._home(name)
        if home is None or not name:
            return None
        tensor = home.initializers.get(name)
        if tensor is None:
            node = home.index.producer(name) if home.is_constant(name) else None
            return None if node is None else self.weights.constant(node)
        if home._is_default(name):
            return None
        array = self.array(tensor)
        if home is self and array.nbytes <= LAZY_BYTES:
            self._constants[name] = array
        return array

    def behind_identities(self, name: str) -> str:
        """Return the value that nodes of type Identity copy to ``name``; ``name`` where none does.

        Exporters write a constant and an Identity behind it (paddle2onnx).
        """
        seen: set[str] = set()  # a graph that is not sound may go round in a circle
        while name and name not in seen:
            seen.add(name)
            home = self._home(name)
            slot = None if home is None else home.index.producers.get(name)
            row = None if home is None or slot is None else home.index.rows[slot]
            if row is None or row.op_type != "Identity" or not row.standard or not row.inputs:
                break
            name = row.inputs[0]
        return name

    def _home(self, name: str) -> Constants | None:
        """Return the innermost graph, from here outward, that defines ``name``."""
        home: Constants | None = self
        while home is not None and home.parent is not None and not home.defines(name):
            home = home.parent
        return home

    def _input_names(self) -> Collection[str]:
        inputs = self._fields
        count, names = self._inputs
        if count != len(inputs):  # whoever renames inputs calls reindex()
            names = frozenset(info.name for info in inputs)
            self._inputs = len(inputs), names
        return names

    def add_initializer(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant under a name like ``name`` and return the name it got."""
        name = self.names.fresh_value(name)
        self.put_initializer(name, array)
        return name

    def put_initializer(self, name: str, array: NDArray[np.generic]) -> None:
        """Add a constant under a name that is known to be free."""
        tensor = self._graph.initializer.add()
        fill_tensor(tensor, name, array)
        if len(tensor.raw_data) > LAZY_BYTES:
            tensor.raw_data = self.weights.hold(tensor.raw_data)  # snapshots and copies stay small
        self.initializers[name] = tensor
        self._touch((name,))
        if self._proto.ir_version < 4 and self.parent is None:  # there an initializer must be an input too
            info = onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
            self._graph.input.append(info)

    def adopt_initializer(self, tensor: TensorProto) -> None:
        """Add a copy of ``tensor`` under its own name, known to be free, without a look at its value."""
        own = self._graph.initializer.add()
        own.CopyFrom(tensor)
        self.initializers[own.name] = own
        self._touch((own.name,))

    def drop_initializers(self, names: Iterable[str]) -> None:
        """Remove initializers that nobody reads; overridable ones keep their input and stay."""
        gone = set(names)
        self._touch(gone)
        graph = self._graph
        if self._proto.ir_version >= 4 or self.parent is not None:
            gone -= {info.name for info in graph.input}
        else:
            keep_only(graph.input, lambda info: info.name not in gone or info.name not in self.initializers)
        keep_only(graph.initializer, lambda tensor: tensor.name not in gone)
        keep_only(graph.sparse_initializer, lambda tensor: tensor.values.name not in gone)
        keep_only(graph.quantization_annotation, lambda note: note.tensor_name not in gone)
        for name in gone:
            self._constants.pop(name, None)
            if self._initializers is not None:
                self._initializers.pop(name, None)
