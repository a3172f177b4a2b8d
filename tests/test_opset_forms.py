"""Operators whose attributes became inputs: the table against onnx.defs, reading and writing of both forms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from onnx import AttributeProto, defs, helper
from onnx.defs import OpSchema

from graphtool.graph import forms
from graphtool.graph import opset as ops
from graphtool.graph.forms import Virtual

# what the scan below finds and the table leaves out, each with the reason
NO_FORM = {
    ("Reshape", 5, "consumed_inputs"): "a hint about memory that no input took over",
    ("Upsample", 7, "height_scale"): "two attributes became one list; no exporter in use writes opset 6",
    ("Upsample", 7, "width_scale"): "two attributes became one list; no exporter in use writes opset 6",
}
# an attribute and the input that it became, where the names differ
ALIASES = {
    ("Pad", "paddings"): "pads",
    ("Pad", "value"): "constant_value",
    ("TopK", "k"): "K",
    ("Upsample", "height_scale"): "scales",
    ("Upsample", "width_scale"): "scales",
}

CONSTANTS = {
    "axes": np.array([0, 2]),
    "one": np.array([1]),
    "two": np.array([2]),
    "six": np.array(6, np.float16),
    "tenth": np.array(0.1),
    "nil": np.zeros(0, np.int64),
    "nothing": np.zeros(0, np.float32),
    "off": np.array(False),
    "on": np.array(True),
}


def history() -> dict[str, list[OpSchema]]:
    """Return the schemas of each op of the default domain, oldest first."""
    found: defaultdict[str, list[OpSchema]] = defaultdict(list)
    for schema in sorted(defs.get_all_schemas_with_history(), key=lambda schema: schema.since_version):
        if schema.domain == "":
            found[schema.name].append(schema)
    return found


def vanished() -> Iterator[tuple[str, int, str]]:
    """Yield op, version and name of the attributes that vanished when, or after which, an input appeared."""
    for op, schemas in history().items():
        for old, new in pairwise(schemas):
            gone = set(old.attributes) - set(new.attributes)
            appeared = {i.name for i in new.inputs} - {i.name for i in old.inputs}
            last = {i.name for i in schemas[-1].inputs}
            for name in sorted(gone):
                wanted = ALIASES.get((op, name), name)
                if appeared or wanted in last:
                    yield op, new.since_version, name


def test_the_table_is_what_onnx_defs_says() -> None:
    table = {(op, move.until, move.attribute) for op, moves in forms.MOVES.items() for move in moves}
    found = set(vanished())
    assert found - set(NO_FORM) == table
    assert set(NO_FORM) <= found, "an exception that the scan does not find is stale"


@pytest.mark.parametrize(("op", "move"), [(op, move) for op, moves in forms.MOVES.items() for move in moves])
def test_a_row_fits_the_schemas_on_both_sides(op: str, move: forms.Move) -> None:
    old = ops.schema(op, "", move.until - 1)
    new = ops.schema(op, "", max(other.until for other in forms.MOVES[op]))
    first = ops.schema(op, "", move.since)
    assert old and new and first
    kind = str(old.attributes[move.attribute].type).rpartition(".")[2].lower()
    assert kind == move.kind and move.attribute in first.attributes
    assert new.inputs[move.position].name == ALIASES.get((op, move.attribute), move.attribute)
    optional = new.inputs[move.position].option == OpSchema.FormalParameterOption.Optional
    assert move.required != optional
    old_default = old.attributes[move.attribute].default_value
    if move.default is not None:
        assert helper.get_attribute_value(old_default) == move.default
    elif optional and old_default.type != AttributeProto.UNDEFINED:
        # an absent input means what the absent attribute did: no bound, half, zero
        assert (op, move.attribute) in {("Clip", "min"), ("Clip", "max"), ("Dropout", "ratio"), ("Pad", "value")}


def virtual(*numbers: int) -> Virtual:
    return Virtual(np.array(numbers, np.int64))


READ = [
    ("Squeeze", ["x"], {"axes": [0]}, 11, ("x", virtual(0))),
    ("Squeeze", ["x"], {}, 11, ("x",)),
    ("Squeeze", ["x", "a"], {}, 13, ("x", "a")),
    ("ReduceSum", ["x"], {"axes": [1, 2]}, 12, ("x", virtual(1, 2))),
    ("ReduceMax", ["x"], {"axes": [1]}, 17, ("x", virtual(1))),
    ("ReduceMax", ["x", "a"], {}, 18, ("x", "a")),
    ("Clip", ["x"], {"max": 6.0}, 10, ("x", "", Virtual(np.array(6, np.float32)))),
    ("Pad", ["x"], {"pads": [0, 1]}, 10, ("x", virtual(0, 1))),
    ("Pad", ["x"], {"paddings": [0, 1]}, 1, ("x", virtual(0, 1))),
    ("Slice", ["x"], {"starts": [0], "ends": [3]}, 9, ("x", virtual(0), virtual(3))),
    ("TopK", ["x"], {"k": 5}, 9, ("x", virtual(5))),
    ("Split", ["x", "s"], {"split": [1, 1]}, 1, ("x", "s")),
    ("Split", ["x"], {"split": [1, 1]}, 11, ("x", virtual(1, 1))),
    ("Upsample", ["x"], {"scales": [1.0, 2.0]}, 8, ("x", Virtual(np.array([1, 2], np.float32)))),
    ("DFT", ["x"], {}, 17, ("x", "", Virtual(np.array(1)))),  # an absent input would mean -2
    ("Resize", ["x", "s"], {}, 10, ("x", "", "s")),
    ("Resize", ["x", "nothing", "s"], {}, 12, ("x", "", "s")),
    ("Resize", ["x", "nothing", "s"], {}, 13, ("x", "nothing", "s")),
    ("Relu", ["x"], {}, 1, ("x",)),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "version", "wanted"), READ)
def test_reading(op: str, inputs: list[str], attributes: dict[str, object], version: int, wanted: object) -> None:
    node = helper.make_node(op, inputs, ["y"], **attributes)
    assert forms.virtual_inputs(node, version, CONSTANTS.get) == wanted


def test_another_domain_is_left_alone() -> None:
    node = helper.make_node("Squeeze", ["x"], ["y"], domain="com.example", axes=[0])
    assert forms.virtual_inputs(node, 1) == ("x",)
    assert forms.write("Squeeze", "com.example", 1, ["x", "a"], CONSTANTS.get, {}) == (["x", "a"], {})


def test_an_attribute_of_a_function_has_no_value_here() -> None:
    node = helper.make_node("Squeeze", ["x"], ["y"])
    node.attribute.add(name="axes", ref_attr_name="a", type=AttributeProto.INTS)
    with pytest.raises(ValueError, match="caller of a function"):
        forms.virtual_inputs(node, 11)


def test_virtual_inputs_are_equal_by_type_shape_and_bytes() -> None:
    assert virtual(1) == virtual(1) and hash(virtual(1)) == hash(virtual(1))
    assert virtual(1) != Virtual(np.array(1)) and virtual(1) != Virtual(np.array([1], np.int32))
    assert Virtual(np.array(0.0)) != Virtual(np.array(-0.0))


WRITE = [
    ("Squeeze", 11, ["x", "axes"], {}, ["x"], {"axes": [0, 2]}),
    ("Squeeze", 11, ["x"], {}, ["x"], {}),
    ("Squeeze", 13, ["x", "unknown"], {}, ["x", "unknown"], {}),
    ("TopK", 9, ["x", "two"], {"axis": 1, "largest": 1}, ["x"], {"k": 2, "largest": None}),
    ("Clip", 10, ["x", "", "six"], {}, ["x"], {"max": 6.0}),
    ("Slice", 9, ["x", "one", "two", "", "one"], {}, ["x"], {"starts": [1], "ends": [2]}),
    ("Dropout", 10, ["x", "", "off"], {"seed": 3}, ["x"], {"seed": None}),
    (
        "ReduceMax",
        13,
        ["x", "axes"],
        {"noop_with_empty_axes": 1},
        ["x"],
        {"axes": [0, 2], "noop_with_empty_axes": None},
    ),
    ("ReduceMax", 13, ["x", "nil"], {"noop_with_empty_axes": 0}, ["x"], {"noop_with_empty_axes": None}),
    ("DFT", 17, ["x"], {}, ["x"], {"axis": -2}),  # an absent attribute would mean 1
    ("Split", 11, ["x"], {"num_outputs": 2}, ["x"], {"num_outputs": None}),
    ("MaxPool", 8, ["x"], {"dilations": [1, 1], "ceil_mode": 0}, ["x"], {"dilations": None, "ceil_mode": None}),
    ("Resize", 10, ["x", "nothing", "s"], {"nearest_mode": b"floor"}, ["x", "s"], {"nearest_mode": None}),
    ("Resize", 11, ["x", "", "s"], {}, ["x", Virtual(CONSTANTS["nothing"]), "s"], {}),
    ("Resize", 12, ["x", "", "", "n"], {}, ["x", *[Virtual(CONSTANTS["nothing"])] * 2, "n"], {}),
    ("Resize", 13, ["x", "", "s"], {}, ["x", "", "s"], {}),
    ("Unknown", 13, ["x", "", "s"], {}, ["x", "", "s"], {}),
]


@pytest.mark.parametrize(("op", "version", "inputs", "attributes", "wanted", "extra"), WRITE)
def test_writing(
    op: str, version: int, inputs: list[str], attributes: dict[str, object], wanted: list[object], extra: object
) -> None:
    assert forms.write(op, "", version, inputs, CONSTANTS.get, attributes) == (wanted, extra)


REFUSED = [
    ("Squeeze", 11, ["x", "u"], {}, "axes of Squeeze is an attribute before opset 13 and must be constant"),
    ("Unsqueeze", 11, ["x"], {}, "axes of Unsqueeze is missing"),
    ("Unsqueeze", 11, ["x", "six"], {}, "axes of Unsqueeze must be whole numbers, not float16"),
    ("TopK", 9, ["x", "axes"], {}, "k of TopK must be one number, not 2"),
    ("TopK", 10, ["x", "two"], {"largest": 0}, "largest=0 of TopK needs opset 11"),
    ("Clip", 10, ["x", "tenth"], {}, "min of Clip .* loses digits as float32"),
    ("Clip", 10, ["x", "one"], {}, "min of Clip .* cannot be int64"),
    ("Slice", 9, ["x", "one", "two", "", "two"], {}, "steps of Slice, other than ones, need opset 10"),
    ("Dropout", 10, ["x", "", "on"], {}, "training_mode of Dropout"),
    ("Pad", 13, ["x", "axes", "", "one"], {}, "axes of Pad is not an input"),
    ("ReduceMax", 13, ["x"], {"noop_with_empty_axes": 1}, "noop_with_empty_axes=1 of ReduceMax needs opset 18"),
    ("ReduceSum", 11, ["x", "nil"], {"noop_with_empty_axes": 1}, "axes of ReduceSum, given and empty, need opset 13"),
    ("Squeeze", 11, ["x", "nil"], {}, "axes of Squeeze, given and empty"),
    ("MaxPool", 8, ["x"], {"dilations": [2, 2]}, "dilations=.* of MaxPool needs opset 10"),
    ("Resize", 10, ["x", "", "s"], {"nearest_mode": "ceil"}, "nearest_mode=ceil of Resize needs opset 11"),
    ("Resize", 10, ["x", "", "", "n"], {}, "sizes of Resize need opset 11"),
    ("Resize", 10, ["x", "six", "s"], {}, "roi of Resize needs opset 11"),
    ("Resize", 10, ["x"], {}, "scales of Resize are missing"),
    ("Upsample", 11, ["x", "s"], {}, "Upsample is deprecated since opset 10"),
    ("HardSwish", 13, ["x"], {}, "HardSwish needs opset 14"),
]


@pytest.mark.parametrize(("op", "version", "inputs", "attributes", "reason"), REFUSED)
def test_what_an_opset_cannot_say(
    op: str, version: int, inputs: list[str], attributes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        forms.write(op, "", version, inputs, CONSTANTS.get, attributes)


def round_trips() -> Iterator[tuple[str, int]]:
    for op, moves in forms.MOVES.items():
        for move in moves:
            yield from ((op, version) for version in range(move.since, move.until))


@pytest.mark.parametrize(("op", "version"), sorted(set(round_trips())))
def test_what_is_written_reads_the_same(op: str, version: int) -> None:
    moves = [move for move in forms.MOVES[op] if move.since <= version < move.until]
    inputs = ["x"] + [""] * max(move.position for move in moves)
    constants = {move.attribute: move.tensor([3]) for move in moves}
    for move in moves:
        inputs[move.position] = move.attribute
    written, extra = forms.write(op, "", version, inputs, constants.get, {})
    node = helper.make_node(op, [str(name) for name in written], ["y"], **extra)
    found = forms.virtual_inputs(node, version)
    assert found == tuple(Virtual(constants[name]) if name in constants else name for name in inputs)
    assert set(forms.moved(op, version)) == {move.position for move in moves}
