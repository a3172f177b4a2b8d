"""Models that are wrong, or meant to do harm: small files, made in a folder, the same each time.

``KINDS`` maps a name to what makes the file in a folder and returns its path. Those in ``DANGEROUS`` may end or hold
the process that runs them: only a real command is let loose on them.
"""

# ruff: noqa: E501 (a model is a line; makers need no names)

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

Maker = Callable[[Path], Path]
KINDS: dict[str, Maker] = {}
DANGEROUS: set[str] = set()

HEADER = '<ir_version: 8, opset_import: ["": 17]>\n'
NET = """g (float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) <float[2,2,1,1] w = {1, 2, 3, 4}> {
  [conv] z = Conv (x, w)
  [relu] y = Relu (z)
}"""


def kind(name: str, dangerous: bool = False) -> Callable[[Maker], Maker]:
    def add(maker: Maker) -> Maker:
        assert name not in KINDS, name
        KINDS[name] = maker
        if dangerous:
            DANGEROUS.add(name)
        return maker

    return add


def parsed(text: str = NET, header: str = HEADER) -> ModelProto:
    return onnx.parser.parse_model(header + text)


def written(folder: Path, content: bytes | ModelProto, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def content(name: str, data: bytes, dangerous: bool = False) -> None:
    kind(name, dangerous)(lambda folder: written(folder, data))


def text(name: str, body: str, header: str = HEADER, dangerous: bool = False) -> None:
    """A model in ONNX text."""
    kind(name, dangerous)(lambda folder: written(folder, parsed(body, header)))


def graph(name: str, body: str, dangerous: bool = False) -> None:
    """A model of some nodes that read ``x`` and make ``y``."""
    text(name, f"g (float[1,2,4,4] x) => (y) {{ {body} }}", dangerous=dangerous)


def changed(name: str, dangerous: bool = False) -> Callable[[Callable[[ModelProto], object]], None]:
    """A sound model with a change."""

    def add(change: Callable[[ModelProto], object]) -> None:
        def make(folder: Path) -> Path:
            model = parsed()
            change(model)
            return written(folder, model)

        kind(name, dangerous)(make)

    return add


def setter(path: str, value: object) -> Callable[[ModelProto], None]:
    """Set a field, such as ``graph.node.0.name``; a field that repeats takes a list."""

    def change(model: ModelProto) -> None:
        *parents, last = path.split(".")
        holder = model
        for part in parents:
            holder = holder[int(part)] if part.isdecimal() else getattr(holder, part)
        if isinstance(value, list):
            del getattr(holder, last)[:]
            getattr(holder, last).extend(value)
        elif last.isdecimal():
            holder[int(last)] = value  # type: ignore[index]
        else:
            setattr(holder, last, value)

    return change


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, payload: bytes | int) -> bytes:
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def nested(levels: int, fields: list[int], inner: bytes = b"") -> bytes:
    """A message in a message ...: ``fields`` from inside out, ``levels`` times. Built from the outside in, lengths
    first, so that ten thousand levels are no work."""
    heads: list[bytes] = []
    size = len(inner)
    for _ in range(levels):
        for number in fields:
            head = varint(number << 3 | 2) + varint(size)
            heads.append(head)
            size += len(head)
    return b"".join(reversed(heads)) + inner


# -- files that are no model

content("empty", b"")
content("one byte", b"\x08")
content("zeros", bytes(5000))
content("ones", b"\xff" * 5000)
content("noise", bytes((n * n * 31 + n) % 251 for n in range(4000)))
content("text", b"this is not a model\n" * 5)
content("UTF-16 text", "this is not a model\n".encode("utf-16") * 5)
content("JSON", b'{"graph": {"node": []}}')
content("HTML", b"<!DOCTYPE html><html><body>404</body></html>")
content("XML", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>")
content("ONNX text", (HEADER + NET).encode())
content("Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
content("gzip", b"\x1f\x8b\x08" + bytes(30))
content("zip", b"PK\x03\x04" + bytes(40))
content("empty zip", b"PK\x05\x06" + bytes(18))
content("bzip2", b"BZh91AY&SY" + bytes(30))
content("xz", b"\xfd7zXZ\x00" + bytes(30))
content("zstd", b"\x28\xb5\x2f\xfd" + bytes(30))
content("7z", b"7z\xbc\xaf\x27\x1c" + bytes(30))
content("tar", b"m.onnx".ljust(257, b"\0") + b"ustar\x0000" + bytes(248))
content("pickle 2", b"\x80\x02}q\x00.")
content("pickle 4", b"\x80\x04\x95" + bytes(12) + b".")
content("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(40))
content("TFLite", b"\x1c\x00\x00\x00TFL3" + bytes(40))
content("ORT format", b"\x18\x00\x00\x00ORTM" + bytes(40))
content("Ascend om", b"IMOD" + bytes(60))
content("TensorRT", b"ftrt" + bytes(60))
content("GGUF", b"GGUF\x03\x00\x00\x00" + bytes(40))
content(
    "safetensors",
    b"\x40\x00\x00\x00\x00\x00\x00\x00" + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(64),
)
content("npy", b"\x93NUMPY\x01\x00" + bytes(40))
content("PNG", b"\x89PNG\r\n\x1a\n" + bytes(40))
content("ELF", b"\x7fELF\x02\x01\x01" + bytes(60))
content("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(30))
content("a graph alone", parsed().graph.SerializeToString())
content("a node alone", parsed().graph.node[0].SerializeToString())
content("a tensor alone", parsed().graph.initializer[0].SerializeToString())
content("twice the model", parsed().SerializeToString() * 2)
for _at in (1, 2, 5, 17, 40, 77, 120, 180, 240, -30, -9, -1):
    content(f"cut at {_at}", parsed().SerializeToString()[:_at])
content("an endless number", b"\x08" + b"\xff" * 40)
content("a length of 2**63", b"\x3a" + varint(2**63) + b"\x0a")
content("a length of 2**32", b"\x3a" + varint(2**32) + b"\x0a")
content("a group", b"\x08\x08\x3b\x3c")
content("wire type 7", b"\x08\x08\x3f\x00")
content("field number 0", b"\x08\x08\x00\x00")
content("unknown fields", parsed().SerializeToString() + field(9999, b"hello") + field(2**28, 7))


@kind("a folder")
def _(folder: Path) -> Path:
    (folder / "m.onnx").mkdir()
    return folder / "m.onnx"


@kind("a missing file")
def _(folder: Path) -> Path:
    return folder / "gone.onnx"


@kind("a pipe")
def _(folder: Path) -> Path:
    os.mkfifo(folder / "m.onnx")
    return folder / "m.onnx"


@kind("a socket")
def _(folder: Path) -> Path:
    here = Path.cwd()
    os.chdir(folder)  # its path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("m.onnx")
    finally:
        os.chdir(here)
    return folder / "m.onnx"


kind("a device")(lambda folder: Path("/dev/zero"))
kind("standard input")(lambda folder: Path("/dev/stdin"))
kind("a file of the kernel")(lambda folder: Path("/proc/self/mem"))
kind("a name of 5000 letters")(lambda folder: folder / ("m" * 5000))
kind("a path through a file")(lambda folder: written(folder, parsed()) / "m.onnx")


@kind("a link to itself")
def _(folder: Path) -> Path:
    (folder / "m.onnx").symlink_to("m.onnx")
    return folder / "m.onnx"


@kind("a link to nothing")
def _(folder: Path) -> Path:
    (folder / "m.onnx").symlink_to("gone.onnx")
    return folder / "m.onnx"


@kind("a name with an escape sequence")
def _(folder: Path) -> Path:
    return written(folder, b"nothing", "\x1b[31mm\n.onnx")


@kind("a name that is no UTF-8")
def _(folder: Path) -> Path:
    return written(folder, b"nothing", os.fsdecode(b"m\xff\xfe.onnx"))


# -- structure

for _name, _field in {
    "no graph": "graph", "no opset": "opset_import", "no IR version": "ir_version",
}.items():  # fmt: skip
    changed(_name)(lambda model, wanted=_field: model.ClearField(wanted))
for _name, _path, _value in [
    ("no outputs", "graph.output", []),
    ("no nodes", "graph.node", []),
    ("no inputs", "graph.input", []),
    ("no names", "graph.name", ""),
    ("IR version -1", "ir_version", -1),
    ("IR version 9999", "ir_version", 9999),
    ("opset 0", "opset_import.0.version", 0),
    ("opset -5", "opset_import.0.version", -5),
    ("opset 2**62", "opset_import.0.version", 2**62),
    ("an opset of another domain", "opset_import.0.domain", "com.acme"),
    ("two opsets", "opset_import", [helper.make_opsetid("", 11), helper.make_opsetid("", 17)]),
    ("a cycle", "graph.node.0.input.0", "y"),
    ("a node that reads itself", "graph.node.1.input.0", "y"),
    ("a dangling input", "graph.node.1.input.0", "gone"),
    ("an input left out", "graph.node.1.input.0", ""),
    ("no inputs of a node", "graph.node.1.input", []),
    ("no outputs of a node", "graph.node.1.output", []),
    ("too many inputs", "graph.node.1.input", ["z"] * 3000),
    ("too many outputs", "graph.node.1.output", ["y", *(f"y{n}" for n in range(3000))]),
    ("one value twice", "graph.node.1.output", ["y", "y"]),
    ("a value that is an input", "graph.node.1.output.0", "x"),
    ("a value that is a weight", "graph.node.1.output.0", "w"),
    ("two nodes of one name", "graph.node.1.name", "conv"),
    ("an output without a producer", "graph.output.0.name", "gone"),
    ("an output without a name", "graph.output.0.name", ""),
    ("an input without a name", "graph.input.0.name", ""),
    ("a weight without a name", "graph.initializer.0.name", ""),
    ("no operator", "graph.node.1.op_type", ""),
    ("an unknown operator", "graph.node.1.op_type", "Relu6Fused"),
    ("an unknown domain", "graph.node.1.domain", "com.acme"),
    ("an operator of colours", "graph.node.1.op_type", "\x1b[31mRelu\x1b[0m"),
    ("a domain of colours", "graph.node.1.domain", "\x1b]0;title\x07"),
    ("a name of colours", "graph.node.1.name", "\x1b[2J\x1b[31mrelu\r\n"),
    ("a name with NUL", "graph.node.1.name", "re\0lu"),
    ("a value with NUL", "graph.node.1.output.0", "y\0y"),
    ("a name from right to left", "graph.node.1.name", "\u202erelu\u2066"),
    ("a name of a megabyte", "graph.node.1.name", "r" * 10**6),
    ("a documentation of a megabyte", "graph.node.1.doc_string", "\x1b[31m" * 200_000),
    ("a producer of colours", "producer_name", "\x1b[31m"),
    ("an input without a type", "graph.input", [onnx.ValueInfoProto(name="x")]),
    ("an output of another type", "graph.output", [helper.make_tensor_value_info("y", TensorProto.INT64, [3, 3])]),
    ("an output twice", "graph.output", [helper.make_tensor_value_info("y", 1, None)] * 2),
    ("an input that is an output", "graph.output", [helper.make_tensor_value_info("x", 1, None)]),
    ("a weight that is an output", "graph.output", [helper.make_tensor_value_info("w", 1, None)]),
    ("a type that there is not", "graph.input.0.type.tensor_type.elem_type", 99),
    ("a type of 2**31 - 1", "graph.input.0.type.tensor_type.elem_type", 2**31 - 1),
    ("type 0", "graph.input.0.type.tensor_type.elem_type", 0),
    ("a dimension of -1", "graph.input.0.type.tensor_type.shape.dim.0.dim_value", -1),
    ("a dimension of 0", "graph.input.0.type.tensor_type.shape.dim.0.dim_value", 0),
    ("a dimension of 2**31", "graph.input.0.type.tensor_type.shape.dim.0.dim_value", 2**31),
    ("a dimension of 2**62", "graph.input.0.type.tensor_type.shape.dim.0.dim_value", 2**62),
    ("a dimension of colours", "graph.input.0.type.tensor_type.shape.dim.0.dim_param", "\x1b[31m"),
    ("1000 dimensions", "graph.input.0.type.tensor_type.shape.dim", [onnx.TensorShapeProto.Dimension(dim_value=1)] * 1000),
    ("wrong shapes noted", "graph.value_info", [helper.make_tensor_value_info("z", TensorProto.STRING, [-7, 2**40])]),
    ("metadata twice", "metadata_props", [onnx.StringStringEntryProto(key="a", value="\x1b[31m")] * 2),
    ("a weight of -1", "graph.initializer.0.dims.0", -1),
    ("a weight of 2**62", "graph.initializer.0.dims.0", 2**62),
    ("a weight whose size overflows", "graph.initializer.0.dims", [2**32, 2**32, 1, 4]),
    ("a weight of 10 TB", "graph.initializer.0.dims", [10 * 2**40]),
    ("a weight of type 0", "graph.initializer.0.data_type", 0),
    ("a weight of type 99", "graph.initializer.0.data_type", 99),
    ("a weight of text", "graph.initializer.0.data_type", TensorProto.STRING),
    ("a weight of bfloat16", "graph.initializer.0.data_type", TensorProto.BFLOAT16),
    ("a weight of int4", "graph.initializer.0.data_type", TensorProto.INT4),
    ("a weight with too few numbers", "graph.initializer.0.float_data", [1.0]),
    ("a weight with too many numbers", "graph.initializer.0.float_data", [1.0] * 9),
    ("a weight with half a number", "graph.initializer.0.raw_data", b"12345"),
    ("a weight of 1000 dimensions", "graph.initializer.0.dims", [1] * 1000),
    ("external without a file", "graph.initializer.0.data_location", 1),
]:  # fmt: skip
    changed(_name)(setter(_path, _value))


@changed("a weight in segments")
def _(model: ModelProto) -> None:
    model.graph.initializer[0].segment.begin = -5
    model.graph.initializer[0].segment.end = 2**62


@changed("a weight twice")
def _(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


@changed("an input twice")
def _(model: ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


def bytes_for(name: str, old: bytes, new: bytes) -> None:
    """A sound model in whose bytes all ``old`` is ``new``, of the same length: what no API would write."""
    assert len(old) == len(new)

    def make(folder: Path) -> Path:
        model = parsed()
        model.graph.node[1].name, model.graph.node[1].doc_string = "RELUNAME", "DOCUMENT"
        return written(folder, model.SerializeToString().replace(old, new))

    kind(name)(make)


bytes_for("a name that is not UTF-8", b"RELUNAME", b"\xff\xfeLU\xc0\xafME")
bytes_for("an operator that is not UTF-8", b"Relu", b"Re\xff\xfe")
bytes_for("documentation that is not UTF-8", b"DOCUMENT", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8")


bytes_for("a graph's name that is not UTF-8", b"\x12\x01g", b"\x12\x01\xfb")


@kind("a data location that there is not")
def _(folder: Path) -> Path:
    model = parsed()
    weight = field(5, model.graph.initializer[0].SerializeToString() + field(14, 7))
    model.graph.ClearField("initializer")
    return written(folder, field(1, 8) + field(8, field(2, 17)) + field(7, model.graph.SerializeToString() + weight))


def typed(name: str, made: onnx.TypeProto) -> None:
    """An input of a type that is no tensor."""

    def change(model: ModelProto) -> None:
        model.graph.input.append(onnx.ValueInfoProto(name="q", type=made))

    changed(name)(change)


typed("a sequence", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2])))
typed("an optional", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [2])))
typed("a map", helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, [2])))
typed("a map of nothing", onnx.TypeProto(map_type=onnx.TypeProto.Map(key_type=99)))
typed("a sparse tensor", helper.make_sparse_tensor_type_proto(1, [2, 2]))
typed("a sequence of nothing", onnx.TypeProto(sequence_type=onnx.TypeProto.Sequence()))


# -- attributes


def attribute(name: str, *given: AttributeProto) -> None:
    """A LeakyRelu with attributes."""

    def change(model: ModelProto) -> None:
        model.graph.node[1].op_type = "LeakyRelu"
        model.graph.node[1].attribute.extend(given)

    changed(name)(change)


attribute("an attribute without a type", AttributeProto(name="alpha", f=0.1))
attribute("an attribute of the wrong type", helper.make_attribute("alpha", "0.1"))
attribute("an attribute of graphs", helper.make_attribute("alpha", [parsed().graph]))
attribute("an attribute twice", helper.make_attribute("alpha", 0.1), helper.make_attribute("alpha", 0.2))
attribute("an attribute without a name", AttributeProto(f=0.1, type=AttributeProto.FLOAT))
attribute("an attribute of no value", AttributeProto(name="alpha", type=AttributeProto.FLOAT))
attribute("an attribute that is NaN", helper.make_attribute("alpha", float("nan")))
attribute("an attribute that there is not", helper.make_attribute("colour", "\x1b[31m"))
attribute("an attribute of a function", AttributeProto(name="alpha", ref_attr_name="b", type=AttributeProto.FLOAT))
attribute("an attribute of text that is none", AttributeProto(name="beta", type=AttributeProto.STRING, s=b"\xff\xfe\0"))
attribute("a tensor without a type", AttributeProto(name="beta", type=AttributeProto.TENSOR))


@kind("an attribute of type 99")
def _(folder: Path) -> Path:
    node = field(1, b"x") + field(2, b"y") + field(4, b"Relu") + field(5, field(1, b"alpha") + field(20, 99))
    graph = field(1, node) + field(2, b"g") + field(11, field(1, b"x")) + field(12, field(1, b"y"))
    return written(folder, field(1, 8) + field(8, field(2, 17)) + field(7, graph))


# -- operators that ask for too much, or for nonsense

for _name, _body in {
    "Tile 2**31 times": "r = Constant <value = int64[4] {2147483648, 1, 1, 1}> () y = Tile (x, r)",
    "Tile -1 times": "r = Constant <value = int64[4] {-1, 1, 1, 1}> () y = Tile (x, r)",
    "Tile 2**62 times": "r = Constant <value = int64[4] {4611686018427387904, 1, 1, 1}> () y = Tile (x, r)",
    "Expand to 10 TB": "s = Constant <value = int64[5] {2748779069440, 1, 2, 4, 4}> () y = Expand (x, s)",
    "ConstantOfShape 2**62": "s = Constant <value = int64[1] {4611686018427387904}> () y = ConstantOfShape (s)",
    "ConstantOfShape -1": "s = Constant <value = int64[1] {-1}> () y = ConstantOfShape (s)",
    "ConstantOfShape that overflows": "s = Constant <value = int64[3] {4294967296, 4294967296, 4}> () y = ConstantOfShape (s)",
    "Range to 2**62": "a = Constant <value = int64 {0}> () b = Constant <value = int64 {4611686018427387904}> () c = Constant <value = int64 {1}> () y = Range (a, b, c)",
    "Range of step 0": "a = Constant <value = int64 {0}> () b = Constant <value = int64 {9}> () c = Constant <value = int64 {0}> () y = Range (a, b, c)",
    "Pad by 2**40": "p = Constant <value = int64[8] {0, 0, 0, 0, 1099511627776, 0, 0, 0}> () y = Pad (x, p)",
    "Pad by -9": "p = Constant <value = int64[8] {0, 0, -9, 0, 0, 0, -9, 0}> () y = Pad (x, p)",
    "Pad by too few": "p = Constant <value = int64[3] {0, 0, 1}> () y = Pad (x, p)",
    "Resize a billion times": "s = Constant <value = float[4] {1.0, 1.0, 1000000000.0, 1.0}> () y = Resize (x, , s)",
    "Resize to nothing": "s = Constant <value = float[4] {1.0, 1.0, 0.0, 1.0}> () y = Resize (x, , s)",
    "Resize by -1": "s = Constant <value = float[4] {1.0, 1.0, -1.0, 1.0}> () y = Resize (x, , s)",
    "Resize by NaN": "s = Constant <value = float[2] {1.0, 1.0}> () y = Resize (x, , s)",
    "Reshape to another size": "s = Constant <value = int64[2] {5, 5}> () y = Reshape (x, s)",
    "Reshape to -2": "s = Constant <value = int64[2] {-2, -1}> () y = Reshape (x, s)",
    "Conv of stride 0": "w = Constant <value = float[1,2,1,1] {1, 1}> () y = Conv <strides = [0, 0]> (x, w)",
    "Conv of stride -1": "w = Constant <value = float[1,2,1,1] {1, 1}> () y = Conv <strides = [-1, -1]> (x, w)",
    "Conv of group 0": "w = Constant <value = float[1,2,1,1] {1, 1}> () y = Conv <group = 0> (x, w)",
    "Conv of group -1": "w = Constant <value = float[1,2,1,1] {1, 1}> () y = Conv <group = -1> (x, w)",
    "Conv of dilation 2**62": "w = Constant <value = float[1,2,1,1] {1, 1}> () y = Conv <dilations = [4611686018427387904, 1]> (x, w)",
    "Conv of pads 2**40": "w = Constant <value = float[1,2,1,1] {1, 1}> () y = Conv <pads = [1099511627776, 0, 0, 0]> (x, w)",
    "Conv of a wrong kernel": "w = Constant <value = float[1,2,1,1] {1, 1}> () y = Conv <kernel_shape = [3, 3]> (x, w)",
    "Conv of other channels": "w = Constant <value = float[1,5,1,1] {1, 1, 1, 1, 1}> () y = Conv (x, w)",
    "ConvTranspose by 2**31": "w = Constant <value = float[2,1,1,1] {1, 1}> () y = ConvTranspose <output_padding = [2147483648, 0]> (x, w)",
    "MaxPool of kernel 0": "y = MaxPool <kernel_shape = [0, 0]> (x)",
    "MaxPool of kernel 2**62": "y = MaxPool <kernel_shape = [4611686018427387904, 1]> (x)",
    "AveragePool without a kernel": "y = AveragePool (x)",
    "Concat along axis 99": "y = Concat <axis = 99> (x, x)",
    "Concat without an axis": "y = Concat (x, x)",
    "Softmax along axis -99": "y = Softmax <axis = -99> (x)",
    "Transpose of a wrong order": "y = Transpose <perm = [0, 0, 7, -1]> (x)",
    "Cast to 99": "y = Cast <to = 99> (x)",
    "Cast without a type": "y = Cast (x)",
    "Gather beyond the end": "i = Constant <value = int64[1] {999}> () y = Gather (x, i)",
    "Slice of step 0": "a = Constant <value = int64[1] {0}> () b = Constant <value = int64[1] {2}> () y = Slice (x, a, b, a, a)",
    "Split into none": "s = Constant <value = int64[0] {}> () y = Split (x, s)",
    "TopK of -1": "k = Constant <value = int64[1] {-1}> () y, i = TopK (x, k)",
    "OneHot of 2**40": "i = Constant <value = int64[1] {1}> () d = Constant <value = int64 {1099511627776}> () v = Constant <value = float[2] {0, 1}> () y = OneHot (i, d, v)",
    "DepthToSpace of block 0": "y = DepthToSpace <blocksize = 0> (x)",
    "SpaceToDepth of block -2": "y = SpaceToDepth <blocksize = -2> (x)",
    "Unsqueeze at 99": "a = Constant <value = int64[1] {99}> () y = Unsqueeze (x, a)",
    "Squeeze of what is not 1": "a = Constant <value = int64[1] {2}> () y = Squeeze (x, a)",
    "Einsum of nonsense": "y = Einsum <equation = \"i.j,->->k\"> (x)",
    "Einsum without an equation": "y = Einsum (x)",
    "BatchNormalization of one input": "y = BatchNormalization (x)",
    "Gemm of rank 4": "y = Gemm (x, x)",
    "MatMul that does not fit": "w = Constant <value = float[3,3] {1, 1, 1, 1, 1, 1, 1, 1, 1}> () y = MatMul (x, w)",
    "LSTM of 2**31": "w = Constant <value = float[1,4,2] {1, 1, 1, 1, 1, 1, 1, 1}> () y = LSTM <hidden_size = 2147483648> (x, w, w)",
    "If of a number": "y = If (x) <then_branch = t () => (float[1] o) { o = Identity(x) }, else_branch = e () => (float[1] p) { p = Identity(x) }>",
    "If without branches": "c = Constant <value = bool {1}> () y = If (c)",
    "If of two lengths": "c = Constant <value = bool {1}> () y = If (c) <then_branch = t () => (o) { o = Identity(x) }, else_branch = e () => (p, q) { p = Identity(x) q = Identity(x) }>",
    "If that reads nothing": "c = Constant <value = bool {1}> () y = If (c) <then_branch = t () => (o) { o = Identity(gone) }, else_branch = e () => (p) { p = Identity(x) }>",
    "Loop of a wrong body": "n = Constant <value = int64 {3}> () y = Loop (n, , x) <body = b (i) => (o) { o = Identity(i) }>",
    "Scan of nothing": "y = Scan (x) <body = b (i) => (o) { o = Identity(i) }>",
    "SequenceAt beyond the end": "s = SequenceConstruct (x) i = Constant <value = int64 {9}> () y = SequenceAt (s, i)",
    "Dropout in training": "r = Constant <value = float {0.5}> () t = Constant <value = bool {1}> () y = Dropout (x, r, t)",
    "RandomNormal": "y = RandomNormal <shape = [1, 2, 4, 4]> ()",
    "RandomNormal of 10 TB": "y = RandomNormal <shape = [2748779069440]> ()",
    "a text tensor": "y = Constant <value = string[2] {\"a\", \"b\"}> ()",
    "Constant of nothing": "y = Constant ()",
    "Constant of two": "y = Constant <value_int = 1, value_float = 2.0> ()",
    "GridSample of a wrong mode": "y = GridSample <mode = \"wild\"> (x, x)",
    "NonZero": "y = NonZero (x)",
    "infinity": "a = Constant <value = float {0.0}> () y = Div (x, a)",
}.items():  # fmt: skip
    graph(_name, _body)

graph(
    "integers divided by zero",
    "i = Cast <to = 6> (x) n = Constant <value = int32 {0}> () d = Div (i, n) y = Cast <to = 1> (d)",
)
graph(
    "the remainder of a division by zero",
    "i = Cast <to = 7> (x) n = Constant <value = int64 {0}> () y = Mod (i, n)",
)
graph(
    "the least integer divided by -1",
    "n = Constant <value = int32 {-2147483648}> () m = Constant <value = int32 {-1}> () y = Div (n, m)",
    dangerous=True,
)
_LOOP = """n = Constant <value = int64 {%s}> () t = Constant <value = bool {1}> ()
  [endless] y = Loop (n, t, x) <body = b (int64 i, bool c, float[N] a) => (bool d, float[M] o) { d = Identity(c) %s }>"""
graph("a Loop that never ends", _LOOP % (2**63 - 1, "o = Add (a, a)"), dangerous=True)
graph("a Loop without a limit", _LOOP.replace("(n, t, x)", "(, t, x)") % (1, "o = Add (a, a)"), dangerous=True)
graph("a Loop that grows", _LOOP % (60, "o = Concat <axis = 0> (a, a)"), dangerous=True)


# -- depth


def if_in_if(levels: int) -> bytes:
    """An If in an If ...; each level is node, attribute, graph."""
    return field(1, 8) + field(8, field(2, 17)) + nested(1, [7], nested(levels, [6, 5, 1], field(2, b"inner")))


for _levels in (20, 40, 2000, 10_000, 100_000):
    content(f"{_levels} graphs in each other", if_in_if(_levels))
content(
    "a type 100,000 deep",
    field(1, 8) + nested(1, [7, 11][::-1], field(1, b"x") + nested(1, [2], nested(100_000, [1, 4]))),
)
content("a type 20 deep", field(1, 8) + nested(1, [7, 11][::-1], field(1, b"x") + nested(1, [2], nested(20, [1, 4]))))


@kind("15 Ifs in each other")
def _(folder: Path) -> Path:
    body = "o0 = Relu (x)"
    for level in range(15):
        arms = [f"{arm} = g{level}{arm[0]} () => (float[1,2,4,4] o{level}) {{ {body} }}" for arm in ("then_branch",)]
        arms.append(f"else_branch = e{level} () => (float[1,2,4,4] e{level}o) {{ e{level}o = Neg (x) }}")
        body = f"o{level + 1} = If (c) <{', '.join(arms)}>"
    return written(folder, parsed(f"g (float[1,2,4,4] x, bool c) => (o15) {{ {body} }}"))


def functions(name: str, calls: dict[str, str], dangerous: bool = False) -> None:
    """Local functions of one input: each by name what it does with ``a``; the graph calls the first."""

    def make(folder: Path) -> Path:
        model = parsed()
        model.opset_import.append(helper.make_opsetid("f", 1))
        first = next(iter(calls))
        model.graph.node[1].CopyFrom(helper.make_node(first, ["z"], ["y"], "relu", domain="f"))
        for function, body in calls.items():
            text = f'<domain: "f", opset_import: ["": 17, "f": 1]> {function} (a) => (b) {{ {body} }}'
            model.functions.append(onnx.parser.parse_function(text))
        return written(folder, model)

    kind(name, dangerous)(make)


functions("a function", {"f": "b = Relu (a)"})
functions("a function that calls itself", {"f": "b = f.f (a)"})
functions("functions in a circle", {"f": "b = f.g (a)", "g": "b = f.h (a)", "h": "b = f.f (a)"})
functions("a function that calls none", {"f": "b = f.gone (a)"})
functions("a function of two inputs called with one", {"f": "b = f.g (a, a)", "g": "b = Relu (a)"})
functions("a function of a wrong body", {"f": "b = Relu (gone)"})
functions(
    "300 functions in each other", {f"f{n}": f"b = f.f{n + 1} (a)" for n in range(300)} | {"f300": "b = Relu (a)"}
)
functions(
    "a billion laughs",
    {f"f{n}": f"c = f.f{n + 1} (a) b = f.f{n + 1} (c)" for n in range(40)} | {"f40": "b = Relu (a)"},
)


@changed("two functions of one name")
def _(model: ModelProto) -> None:
    for op in ("Relu", "Neg"):
        model.functions.append(
            onnx.parser.parse_function(f'<domain: "f", opset_import: ["": 17]> f (a) => (b) {{ b = {op} (a) }}')
        )
    model.opset_import.append(helper.make_opsetid("f", 1))
    model.graph.node[1].CopyFrom(NodeProto(op_type="f", domain="f", input=["z"], output=["y"]))


@changed("a sparse weight beyond its shape")
def _(model: ModelProto) -> None:
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0])
    places = helper.make_tensor("s_places", TensorProto.INT64, [2], [0, 2**40])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))
    model.graph.node[1].CopyFrom(helper.make_node("Add", ["z", "s"], ["y"]))


# -- external data


def external(name: str, before: Callable[[Path], object] = lambda folder: None, /, **entries: str) -> None:
    """A weight of 16 bytes in another file, as the entries say; ``before`` makes files beside the model."""

    def make(folder: Path) -> Path:
        model = parsed()
        old = model.graph.initializer[0]
        weight = TensorProto(name="w", data_type=1, dims=old.dims, data_location=TensorProto.EXTERNAL)
        for key, value in entries.items():
            weight.external_data.add(key=key, value=value)
        old.CopyFrom(weight)
        (folder / "w.data").write_bytes(bytes(16))
        (folder.parent / "secret.data").write_bytes(b"secret" * 10)
        before(folder)
        return written(folder, model)

    kind(name)(make)


external("external", location="w.data")
external("external missing", location="gone.data")
external("external empty", lambda folder: (folder / "e.data").touch(), location="e.data")
external("external too short", lambda folder: (folder / "s.data").write_bytes(bytes(15)), location="s.data")
external("external above", location="../secret.data")
external("external above, by a detour", location="d/../../secret.data")
external("external absolute", location="/etc/passwd")
external("external of Windows", location="C:\\windows\\win.ini")
external("external by a link", lambda folder: (folder / "l").symlink_to("../secret.data"), location="l")
external(
    "external by a folder that is a link", lambda folder: (folder / "d").symlink_to(".."), location="d/secret.data"
)
external("external by a hard link", lambda folder: os.link(folder.parent / "secret.data", folder / "h"), location="h")
external("external in a pipe", lambda folder: os.mkfifo(folder / "p"), location="p")
external("external in a folder", lambda folder: (folder / "d").mkdir(), location="d")
external("external in a device", location="/dev/zero")
external("external in the model", location="m.onnx", offset="0")
external("external without a name", location="")
external("external in the folder itself", location=".")
external("external with NUL", location="w.data\0.txt")
external("external of colours", location="\x1b[31mw.data")
external("external of 5000 letters", location="w" * 5000)
external("external at -1", location="w.data", offset="-1")
external("external at 1", location="w.data", offset="1")
external("external at 2**63", location="w.data", offset=str(2**63))
external("external at 2**64 + 0", location="w.data", offset=str(2**64))
external("external at nowhere", location="w.data", offset="0x0")
external("external at 5000 digits", location="w.data", offset="9" * 5000)
external("external of length -1", location="w.data", length="-1")
external("external of length 8", location="w.data", length="8")
external("external of length 2**62", location="w.data", length=str(2**62))
external("external of length 16.0", location="w.data", length="16.0")


@kind("a weight of 10 TB in a file of 4 bytes")
def _(folder: Path) -> Path:
    model = parsed()
    weight = TensorProto(name="w", data_type=1, dims=[10 * 2**38], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.data")
    model.graph.initializer[0].CopyFrom(weight)
    (folder / "w.data").write_bytes(b"tiny")
    return written(folder, model)


@kind("a weight of 1 TB in a file of holes")
def _(folder: Path) -> Path:
    model = parsed("g (float[N] x) => (y) <float[1] w = {1}> { y = Add (x, w) }")
    weight = TensorProto(name="w", data_type=1, dims=[2**38], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.data")
    model.graph.initializer[0].CopyFrom(weight)
    with (folder / "w.data").open("wb") as file:
        file.truncate(2**40)
    return written(folder, model)


@kind("a model of holes")
def _(folder: Path) -> Path:
    path = written(folder, parsed())
    os.truncate(path, 2**40)
    return path


@changed("a Constant in another file")
def _(model: ModelProto) -> None:
    tensor = TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node[1].CopyFrom(helper.make_node("Constant", [], ["y"], value=tensor))
