"""What a node says of itself, read out of its protobuf once.

Each look at a field there makes new strings, and a list of them: in a sequence of some fifty passes that was a fifth of
all the work. Attributes stay in the protobuf, where few looks get to.
"""

from __future__ import annotations

from onnx import NodeProto

from graphtool.graph.bodies import HOLDERS, has_bodies


class Row:
    """Operator, domain, inputs and outputs ('' for an absent one) of one node; whether it ``holds`` bodies.

    To be read only: the edits of a graph keep it current.
    """

    __slots__ = ("domain", "holds", "inputs", "op_type", "outputs")

    def __init__(self, node: NodeProto) -> None:
        self.op_type = op_type = node.op_type
        self.domain = domain = node.domain
        self.inputs: list[str] = node.input[:]
        self.outputs: list[str] = node.output[:]
        self.holds = (op_type in HOLDERS or domain not in ("", "ai.onnx")) and has_bodies(node)

    @property
    def standard(self) -> bool:
        """Whether the operator is one of ONNX's default domain."""
        return self.domain in ("", "ai.onnx")
