"""ATC command lines: the guide's own, what is refused, and that no name can become shell syntax."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from graphtool.atc import (
    Command,
    Profile,
    default_profile,
    emit,
    load_profile,
    out_node_words,
    parse_batches,
    parse_option,
    parse_shape,
    script,
)
from graphtool.atc.options import OPTIONS
from graphtool.atc.shell import quote
from graphtool.errors import ProfileError, UsageError
from graphtool.graph import Graph

ICNET = load_profile("icnet_ascend310")
F32 = TensorProto.FLOAT

Info = tuple[str, int, Sequence[int | str | None]]
Node = tuple[str, str, Sequence[str], Sequence[str]]  # name, op type, inputs, outputs


def graph(inputs: Sequence[Info], nodes: Sequence[Node], outputs: Sequence[str]) -> Graph:
    body = helper.make_graph(
        [
            helper.make_node(op, ins, outs, name=name, **({"to": 10} if op == "Cast" else {}))
            for name, op, ins, outs in nodes
        ],
        "g",
        [helper.make_tensor_value_info(*info) for info in inputs],
        [helper.make_tensor_value_info(name, F32, None) for name in outputs],
    )
    return Graph.from_proto(helper.make_model(body, opset_imports=[helper.make_opsetid("", 11)]))


def one(*dims: int | str | None, dtype: int = F32, name: str = "x") -> Graph:
    """Return a graph with one input and one node."""
    return graph([(name, dtype, dims)], [("n", "Identity", [name], ["y"])], ["y"])


def icnet(
    outputs: Sequence[str] = ("794", "788", "782", "756"), cast: str | None = None, last: str = "Resize_317"
) -> Graph:
    """Return a graph with the names of the guide's model around its outputs."""
    nodes = [
        ("Conv_288", "Neg", ["actual_input_1"], ["756"]),
        ("Conv_312", "Neg", ["756"], ["782"]),
        ("Conv_315", "Neg", ["782"], ["788"]),
        (last, "Abs", ["788"], ["794" if cast is None else "794/float"]),
    ]
    if cast is not None:
        nodes.append((cast, "Cast", ["794/float"], ["794"]))
    return graph([("actual_input_1", F32, (1, 3, 1024, 2048))], nodes, outputs)


def text(made: Graph, path: str = "m.onnx", profile: Profile | None = None, **more: object) -> str:
    commands = emit(made, path, profile, **more)  # type: ignore[arg-type]
    assert len(commands) == 1
    return commands[0].text()


def refused(made: Graph, profile: Profile | None = None, path: str = "m.onnx", **more: object) -> str:
    with pytest.raises(ProfileError) as caught:
        emit(made, path, profile, **more)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    return str(caught.value)


def with_options(batches: tuple[int, ...] = (), **options: str) -> Profile:
    base = default_profile()
    return replace(base, batches=batches, options={**base.options, **options})


# -- the guide


def test_the_guides_commands() -> None:
    first, fourth = emit(icnet(), "ICNet.onnx", ICNET)
    assert first.text() == (
        'atc --framework=5 --model=ICNet.onnx --output=ICNet_bs1 --out_nodes="Resize_317:0" --output_type=FP16 '
        '--input_format=NCHW --input_shape="actual_input_1:1,3,1024,2048" --log=debug --soc_version=Ascend310'
    )
    assert fourth.text() == (
        'atc --framework=5 --model=ICNet.onnx --output=ICNet_bs4 --out_nodes="Resize_317:0" --output_type=FP16 '
        '--input_format=NCHW --input_shape="actual_input_1:4,3,1024,2048" --log=debug --soc_version=Ascend310'
    )
    assert (first.batch, first.notes) == (1, ())
    assert (fourth.batch, fourth.notes) == (4, ("not run at batch 4: the graph has batch 1, input_shape overrides it",))


def test_a_pruned_graph_needs_no_out_nodes_and_keeps_output_type() -> None:
    (command,) = emit(icnet(["794"]), "ICNet.fast.onnx", ICNET, batches=[1])
    assert command.text() == (
        "atc --framework=5 --model=ICNet.fast.onnx --output=ICNet.fast_bs1 --output_type=FP16 --input_format=NCHW "
        '--input_shape="actual_input_1:1,3,1024,2048" --log=debug --soc_version=Ascend310'
    )
    assert command.notes == ("out_nodes left out: '794' is all that the graph puts out",)


def test_without_a_profile() -> None:
    assert text(one(2, 3, 4, 5), "dir/a.onnx") == (
        'atc --framework=5 --model=dir/a.onnx --output=a_bs2 --input_format=NCHW --input_shape="x:2,3,4,5" --log=error '
        "--soc_version=Ascend310"
    )


# -- out_nodes


def test_out_nodes_follow_a_cast() -> None:
    (command,) = emit(icnet(["794"], cast="Cast_318"), "m.onnx", ICNET, [1])
    assert command.value("out_nodes") is None
    assert command.value("output_type") == "FP16"
    (command,) = emit(icnet(cast="Cast_318"), "m.onnx", ICNET, [1])
    assert command.value("out_nodes") == "Cast_318:0"
    assert command.notes == ("out_nodes: 'Resize_317:0' is 'Cast_318:0' now",)
    assert refused(icnet(cast=""), ICNET) == (
        "atc_profiles/icnet_ascend310.toml: options.out_nodes: the node that makes '794' has no name for out_nodes; "
        "prune the graph to its outputs instead (prune_outputs)"
    )


def test_out_nodes_follow_only_what_is_surely_the_same_output() -> None:
    casts: list[Node] = [
        ("Up", "Abs", ["x"], ["u"]),
        ("to", "Cast", ["u"], ["half"]),
        ("id", "Identity", ["half"], ["y"]),
        ("other", "Neg", ["u"], ["z"]),
    ]
    profile = with_options(out_nodes="Up:0")
    made = graph([("x", F32, (1, 2))], casts, ["y", "z"])
    assert 'out_nodes="id:0"' in text(made, profile=profile)
    # two outputs are casts of it: neither is the one
    made = graph([("x", F32, (1, 2))], [*casts, ("too", "Cast", ["u"], ["w"])], ["y", "z", "w"])
    assert 'out_nodes="Up:0"' in text(made, profile=profile)
    # a Cast of another domain is another op
    made = graph([("x", F32, (1, 2))], casts, ["y", "z"])
    made.proto.graph.node[1].domain = "com.example"
    assert 'out_nodes="Up:0"' in text(Graph.from_proto(made.proto), profile=profile)
    # and two nodes named after a node that is gone are no single heir
    heirs: list[Node] = [("Up/a", "Abs", ["x"], ["y"]), ("Up/b", "Neg", ["x"], ["z"])]
    assert "no node named 'Up'" in refused(graph([("x", F32, (1, 2))], heirs, ["y", "z"]), profile)


def test_out_nodes_in_a_broken_graph_end() -> None:
    loop: list[Node] = [("a", "Cast", ["q"], ["p"]), ("b", "Cast", ["p"], ["q"]), ("n", "Neg", ["x"], ["y"])]
    made = graph([("x", F32, (1, 2))], loop, ["y"])
    assert 'out_nodes="a:0"' in text(made, profile=with_options(out_nodes="a:0"))


def test_out_nodes_that_lead_to_a_shared_name() -> None:
    nodes: list[Node] = [("Up", "Abs", ["x"], ["u"]), ("c", "Cast", ["u"], ["y"]), ("c", "Neg", ["u"], ["z"])]
    made = graph([("x", F32, (1, 2))], nodes, ["y", "z"])
    assert "several nodes are named 'c'; prune the graph" in refused(made, with_options(out_nodes="Up:0"))
    assert out_node_words(made) == {"y": None, "z": None}


def test_options_that_need_out_nodes_keep_it() -> None:
    layout = {"out_nodes": "Resize_317:0", "is_output_adjust_hw_layout": "true"}
    assert 'out_nodes="Resize_317:0"' in text(icnet(["794"]), profile=with_options(**layout))
    assert "no node named 'Resize_317'" in refused(icnet(["794"], last="Up"), with_options(**layout))


def test_out_nodes_follow_a_rewrite() -> None:
    (command,) = emit(icnet(last="Resize_317/cols"), "m.onnx", ICNET, [1])
    assert command.value("out_nodes") == "Resize_317/cols:0"
    (command,) = emit(icnet(["794"], last="Resize_317/cols", cast="half"), "m.onnx", ICNET, [1])
    assert command.value("out_nodes") is None


def test_out_nodes_of_a_node_that_is_gone() -> None:
    (command,) = emit(icnet(["794"], last="Up"), "m.onnx", ICNET, [1])
    assert command.value("out_nodes") is None
    assert command.notes == ("out_nodes left out: no node 'Resize_317' in this graph, and '794' is the only output",)
    assert refused(icnet(last="Resize_371"), ICNET) == (
        "atc_profiles/icnet_ascend310.toml: options.out_nodes: no node named 'Resize_317'; nearest: 'Resize_371'"
        "  (outputs: Resize_371:0, Conv_315:0, Conv_312:0, Conv_288:0)"
    )


def test_out_nodes_that_cut_the_graph_say_so() -> None:
    (command,) = emit(icnet(["794"]), "m.onnx", with_options(out_nodes="Conv_315:0"))
    assert command.value("out_nodes") == "Conv_315:0"
    assert command.notes == (
        "out_nodes cuts the graph at 'Conv_315:0', which is not a graph output: what follows is dropped",
    )


def test_out_nodes_in_another_order_are_kept() -> None:
    made = icnet(["794", "788"])
    assert 'out_nodes="Conv_315:0;Resize_317:0"' in text(
        made, profile=with_options(out_nodes="Conv_315:0;Resize_317:0")
    )
    assert "out_nodes" not in text(made, profile=with_options(out_nodes="Resize_317:0;Conv_315:0"))


def test_out_nodes_are_checked() -> None:
    where = "atc_profiles/ascend310.toml: options.out_nodes: "
    split = graph([("x", F32, [2, 4])], [("s", "Split", ["x"], ["a", "", "b"]), ("", "Neg", ["a"], ["c"])], ["b", "c"])
    assert refused(split, with_options(out_nodes="s:3")) == f"{where}node 's' has no output 3 (it has 0, 2)"
    assert refused(split, with_options(out_nodes="s:1")) == f"{where}node 's' has no output 1 (it has 0, 2)"
    assert refused(split, with_options(out_nodes="b:0")) == (
        f"{where}no node named 'b'; 'b' is a tensor, its word here is 's:2'"
    )
    assert refused(split, with_options(out_nodes="c:0")) == (
        f"{where}no node named 'c'; 'c' is a tensor whose node has no name: prune the graph to it instead "
        "(prune_outputs)"
    )
    assert 'out_nodes="s:2"' in text(split, profile=with_options(out_nodes="s:2"))
    twice = graph([("x", F32, [2])], [("n", "Neg", ["x"], ["a"]), ("n", "Abs", ["x"], ["b"])], ["a", "b"])
    assert refused(twice, with_options(out_nodes="n:0")) == (
        f"{where}2 nodes are named 'n'; out_nodes cannot tell them apart"
    )


def test_out_nodes_of_the_command_line_are_taken_as_they_stand() -> None:
    assert 'out_nodes="Resize_317:0"' in text(icnet(["794"]), overrides={"out_nodes": "Resize_317:0"})
    assert refused(icnet(["794"]), overrides={"out_nodes": "Resize_31:0"}) == (
        "--atc out_nodes: no node named 'Resize_31'; nearest: 'Resize_317'  (outputs: Resize_317:0)"
    )
    assert "out_nodes" not in text(icnet(), profile=ICNET, batches=[1], overrides={"out_nodes": ""})


def test_a_name_that_out_nodes_cannot_spell() -> None:
    made = icnet(cast="to:half")
    assert refused(made, ICNET) == "node 'to:half' has a ':' in its name, which out_nodes cannot spell; rename it"
    assert out_node_words(made)["794"] is None
    assert refused(icnet(cast="a\nb"), ICNET) == (
        r"'a\nb' holds an unprintable character, which cannot stand on a command line"
    )


def test_out_node_words() -> None:
    assert out_node_words(icnet()) == {
        "794": "Resize_317:0",
        "788": "Conv_315:0",
        "782": "Conv_312:0",
        "756": "Conv_288:0",
    }
    split = graph([("x", F32, [2, 4])], [("s", "Split", ["x"], ["a", "b"]), ("", "Neg", ["a"], ["c"])], ["b", "c", "x"])
    assert out_node_words(split) == {"b": "s:1", "c": None, "x": None}


def test_output_type_per_node() -> None:
    per_node = with_options(out_nodes="Resize_317:0", output_type="Resize_317:0:FP16")
    # ATC wants every node of output_type in out_nodes, so that one stays
    pruned = text(icnet(["794"]), profile=per_node)
    assert '--out_nodes="Resize_317:0" --output_type="Resize_317:0:FP16"' in pruned
    followed = text(icnet(cast="half"), profile=per_node)
    assert '--out_nodes="half:0" --output_type="half:0:FP16"' in followed
    assert refused(icnet(), with_options(out_nodes="Resize_317:0", output_type="Conv_315:0:FP16")) == (
        "atc_profiles/ascend310.toml: options.output_type: 'Conv_315:0' must be in out_nodes too (ATC: E10001)"
        " [GE omg.cc, v2.0.0, 2023-03]"
    )


# -- shapes and batches


def test_batches() -> None:
    dynamic = one("N", 3, 8, 8)
    assert [c.batch for c in emit(dynamic, "m.onnx", batches=[1, 4])] == [1, 4]
    assert [c.notes for c in emit(dynamic, "m.onnx", batches=[1, 4])] == [(), ()]
    assert [c.value("input_shape") for c in emit(dynamic, "m.onnx", with_options(batches=(2, 8)))] == [
        "x:2,3,8,8",
        "x:8,3,8,8",
    ]
    assert [c.value("output") for c in emit(dynamic, "m.onnx", with_options(batches=(2,)), [16])] == ["m_bs16"]
    assert refused(dynamic) == "input 'x': dimension 0 is 'N'; give --batch N or --shape x:DIMS"
    assert refused(one(None, 3)) == "input 'x': dimension 0 is unknown; give --batch N or --shape x:DIMS"
    assert refused(one(-1, 3)) == "input 'x': dimension 0 is unknown; give --batch N or --shape x:DIMS"
    # ModelZoo's own export names a dimension "-1"
    assert refused(one("-1", 3)) == "input 'x': dimension 0 is '-1'; give --batch N or --shape x:DIMS"


def test_open_dimensions_need_a_shape() -> None:
    made = one("N", 3, "H", 8)
    assert refused(made, batches=[1]) == "input 'x': dimension 2 is 'H'; give --shape x:DIMS"
    assert 'input_shape="x:2,3,6,8"' in text(made, shapes={"x": (2, 3, 6, 8)})
    assert [c.value("input_shape") for c in emit(made, "m.onnx", None, [1, 4], {"x": (1, 3, 6, 8)})] == [
        "x:1,3,6,8",
        "x:4,3,6,8",
    ]


def test_an_input_of_unknown_rank() -> None:
    made = one(1)
    made.proto.graph.input[0].type.tensor_type.ClearField("shape")
    made = Graph.from_proto(made.proto)
    assert refused(made) == "input 'x' has no known rank; give --shape x:DIMS"
    assert 'input_shape="x:2,3"' in text(made, shapes={"x": (2, 3)})


def test_shapes_are_held_against_the_graph() -> None:
    made = one(1, 3, 8, 8, name="image")
    assert refused(made, shapes={"imge": (1, 3, 8, 8)}) == (
        "--shape: the graph has no input 'imge'; did you mean 'image'?"
    )
    assert refused(made, shapes={"zz": (1,)}) == "--shape: the graph has no input 'zz'; the inputs are 'image'"
    assert refused(made, shapes={"image": (1, 3, 8)}) == (
        "--shape: input 'image' has 4 dimensions (float32[1,3,8,8]), not 3"
    )
    assert (
        refused(made, shapes={"image": (1, 3, 16, 8)})
        == "--shape: input 'image': dimension 2 is 8 in the graph, not 16"
    )
    where = "atc_profiles/ascend310.toml: options.input_shape: "
    assert refused(made, with_options(input_shape="image:{batch},1,8,8")) == (
        f"{where}input 'image': dimension 1 is 3 in the graph, not 1"
    )
    assert refused(made, with_options(input_shape="img:{batch},3,8,8")) == (
        f"{where}the graph has no input 'img'; did you mean 'image'?"
    )
    assert refused(made, overrides={"input_shape": "image:1,1,8,8"}) == (
        "--atc input_shape: input 'image': dimension 1 is 3 in the graph, not 1"
    )
    assert refused(one(1, 0)) == "input 'x': dimension 1 is 0, which ATC refuses (E10011) [GE, v2.0.0, 2023-03]"


def test_a_shape_of_the_command_line_and_the_batches_of_a_profile() -> None:
    made = one("N", 3, "H", "W")
    profile = with_options(batches=(1, 4), input_shape="x:{batch},3,8,8")
    assert [c.value("input_shape") for c in emit(made, "m.onnx", profile, shapes={"x": (1, 3, 6, 6)})] == [
        "x:1,3,6,6",
        "x:4,3,6,6",
    ]
    assert refused(made, profile, shapes={"x": (2, 3, 6, 6)}) == (
        "--shape x: batch 2 is none of the profile's (1, 4); give --batch"
    )


def test_several_inputs() -> None:
    neg: list[Node] = [("n", "Concat", ["a", "b"], ["y"])]
    fixed = graph([("a", F32, (2, 3)), ("b", F32, (2, 5)), ("c", F32, (7, 5))], neg, ["y"])
    assert text(fixed, batches=[4]).count('"a:4,3;b:4,5;c:7,5"') == 1
    mixed = graph([("a", F32, ("N", 3)), ("b", F32, ("M", 5)), ("c", F32, (7, 5)), ("s", F32, ())], neg, ["y"])
    (command,) = emit(mixed, "m.onnx", batches=[4])
    assert command.value("input_shape") == "a:4,3;b:4,5;c:7,5"  # a scalar has no spelling
    assert command.notes == ("dimension 0 of input 'b', 'M', is taken as the batch; if it is not, give --shape b:DIMS",)
    (command,) = emit(mixed, "m.onnx", batches=[4], shapes={"b": (100, 5)})
    assert (command.value("input_shape"), command.notes) == ("a:4,3;b:100,5;c:7,5", ())
    (command,) = emit(mixed, "m.onnx", with_options(input_shape="b:3,{batch}"), batches=[5])
    assert command.value("input_shape") == "a:5,3;b:3,5;c:7,5"


def test_which_numbers_of_the_command_line_are_batches() -> None:
    nodes: list[Node] = [("n", "Concat", ["a", "b"], ["y"])]
    made = graph([("a", F32, ("N", 3)), ("b", F32, ("N", 5))], nodes, ["y"])
    planned = with_options(batches=(2, 4))

    def shapes(**given: tuple[int, ...]) -> list[str | None]:
        return [c.value("input_shape") for c in emit(made, "m.onnx", planned, shapes=given)]

    assert shapes(b=(4, 5)) == ["a:2,3;b:2,5", "a:4,3;b:4,5"]  # one of the profile's batches
    assert shapes(b=(7, 5)) == ["a:2,3;b:7,5", "a:4,3;b:7,5"]  # none: meant as it stands
    two = {"a": (9, 3), "b": (9, 5)}
    assert [c.value("input_shape") for c in emit(made, "m.onnx", None, [1], two)] == ["a:1,3;b:1,5"]
    assert [c.batch for c in emit(made, "m.onnx", batches=[4, 4])] == [4]
    # where the profile says that the first input has no batch, the same number elsewhere is none either
    fixed = graph([("a", F32, (6, 3)), ("b", F32, (6, 5))], nodes, ["y"])
    assert 'input_shape="a:6,3;b:6,5"' in text(fixed, profile=with_options(input_shape="a:6,3"))
    with pytest.raises(ProfileError, match="no input shape has a batch in it"):
        emit(fixed, "m.onnx", with_options(input_shape="a:6,3"), batches=[2])


def test_a_template_says_which_symbol_is_the_batch() -> None:
    nodes: list[Node] = [("n", "Concat", ["a", "b"], ["y"])]
    made = graph([("a", F32, ("N", 3)), ("b", F32, ("M", 5))], nodes, ["y"])
    (command,) = emit(made, "m.onnx", with_options(input_shape="a:{batch},3;b:{batch},5"), batches=[2])
    assert (command.value("input_shape"), command.notes) == ("a:2,3;b:2,5", ())


def test_inputs_without_a_batch() -> None:
    scalar = one(name="s")
    (command,) = emit(scalar, "m.onnx")
    assert (command.batch, command.value("output"), command.value("input_shape")) == (0, "m", None)
    assert refused(scalar, batches=[2]) == "--batch: batch 2 asked for, but no input shape has a batch in it"
    (command,) = emit(one("N", 3), "m.onnx", with_options(input_shape="x:6,3"))
    assert (command.batch, command.value("output"), command.value("input_shape")) == (6, "m_bs6", "x:6,3")
    assert refused(one("N", 3), with_options(input_shape="x:6,3", batches=(1,))) == (
        "atc_profiles/ascend310.toml: options.input_shape: batch 1 asked for, but no input shape has a batch in it"
    )


def test_initializers_are_no_inputs() -> None:
    made = graph([("x", F32, (1, 2)), ("w", F32, (2, 2))], [("m", "MatMul", ["x", "w"], ["y"])], ["y"])
    made.proto.graph.initializer.append(helper.make_tensor("w", F32, (2, 2), [0.0] * 4))
    assert 'input_shape="x:1,2"' in text(Graph.from_proto(made.proto))


def test_dynamic_sizes() -> None:
    gears = with_options(input_shape="x:-1,3", dynamic_batch_size="1,2,4")
    (command,) = emit(one(1, 3), "m.onnx", gears)
    assert command.text() == (
        'atc --framework=5 --model=m.onnx --output=m --input_format=ND --input_shape="x:-1,3" '
        '--dynamic_batch_size="1,2,4" --log=error --soc_version=Ascend310'
    )
    assert refused(one(1, 3), with_options(input_shape="x:1,-1", dynamic_dims="3;4")).endswith(
        "input 'x': dimension 1 is 3 in the graph, not -1"
    )
    assert refused(one(1, 3), with_options(input_shape="x:-1,3")).endswith(
        "input 'x': -1 needs dynamic_batch_size or another such option"
    )
    assert refused(one(1, 3), with_options(dynamic_batch_size="1,2")).endswith(
        "dynamic_batch_size needs a -1 in input_shape (ATC: E10003) [GE, v2.0.0, 2023-03]"
    )


def test_a_name_that_input_shape_cannot_spell() -> None:
    for name in ("a;b", " a", "a ", ""):
        assert refused(one(1, name=name)) == (
            f"input '{name}': input_shape cannot spell a name that is empty or has ';' or outer blanks; rename it"
        )
    assert refused(one(1, name="a\x1b[2J")) == (
        r"'a\x1b[2J' holds an unprintable character, which cannot stand on a command line"
    )
    assert 'input_shape="a:b:1"' in text(one(1, name="a:b"))  # ATC splits at the last colon


@pytest.mark.parametrize(
    ("dims", "layout"),
    [((1, 2, 3, 4), "NCHW"), ((1, 2, 3, 4, 5), "NCDHW"), ((1, 2), "ND"), ((1, 2, 3, 4, 5, 6), "ND"), ((), "ND")],
)
def test_input_format_by_rank(dims: tuple[int, ...], layout: str) -> None:
    assert f"--input_format={layout} " in text(one(*dims))


def test_input_format_of_the_profile_stays() -> None:
    assert "--input_format=ND " in text(one(1, 2, 3, 4), profile=with_options(input_format="ND"))
    (command,) = emit(one(1, 2), "m.onnx", with_options(input_format="NCHW"))
    assert command.notes == ("input_format is NCHW, but no input has 4 dimensions",)


@pytest.mark.parametrize(
    "dtype", [TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.BOOL, 0]
)
def test_types_that_atc_takes(dtype: int) -> None:
    assert 'input_shape="x:1,2"' in text(one(1, 2, dtype=dtype))


def test_types_that_atc_does_not_take() -> None:
    assert refused(one(1, 2, dtype=TensorProto.STRING)) == "input 'x' is string[1,2], which ATC does not take"
    assert refused(one(1, dtype=TensorProto.COMPLEX64)) == "input 'x' is complex64[1], which ATC does not take"
    made = one(1)
    made.proto.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = F32
    assert refused(Graph.from_proto(made.proto)) == "input 'x' is sequence, which ATC does not take"


def test_input_fp16_nodes() -> None:
    assert '--input_fp16_nodes="x" ' in text(one(1, 2), overrides={"input_fp16_nodes": "x"})
    assert refused(one(1, 2, name="image"), overrides={"input_fp16_nodes": "imag"}) == (
        "--atc input_fp16_nodes: the graph has no input 'imag'; did you mean 'image'?"
    )
    assert refused(one(1, 2, dtype=TensorProto.INT64), overrides={"input_fp16_nodes": "x"}) == (
        "--atc input_fp16_nodes: input 'x' is int64[1,2], not float"
    )


# -- options, paths


def test_overrides() -> None:
    line = text(one(1, 2), overrides={"soc_version": "Ascend310P3", "log": "", "op-select-implmode": "high_precision"})
    assert line == (
        'atc --framework=5 --model=m.onnx --output=m_bs1 --input_format=ND --input_shape="x:1,2" '
        "--op_select_implmode=high_precision --soc_version=Ascend310P3"
    )
    assert refused(one(1), overrides={"outnodes": "a:0"}) == (
        "--atc: unknown ATC option 'outnodes'; did you mean 'out_nodes'?"
    )
    assert refused(one(1), overrides={"log": "all"}) == (
        "--atc: log: 'all' is not one of debug, info, warning, error, null"
    )
    assert refused(one(1), overrides={"soc_version": ""}) == "--atc: soc_version: ATC needs it"
    assert refused(one(1), with_options(precision_mode="force_fp32"), overrides={"precision_mode_v2": "fp16"}) == (
        "--atc precision_mode_v2: does not go with precision_mode (ATC: E10056) [GE 2025; DOC 6.2.RC2 atctool_000093]"
    )
    assert refused(one(1), Profile("p", "p.toml")) == "p.toml: options.soc_version: missing; ATC needs it"
    assert refused(one(1), batches=[0]) == "batches and shapes are whole numbers above 0, not '0'"


def test_options_come_in_a_fixed_order() -> None:
    names = list(OPTIONS)
    assert names[:7] == ["framework", "model", "output", "out_nodes", "output_type", "input_format", "input_shape"]
    assert names[-2:] == ["log", "soc_version"]
    options = {"keep_dtype": "a", "auto_tune_mode": "RL,GA", "insert_op_conf": "aipp.cfg", "enable_small_channel": "1"}
    (forward,) = emit(one(1), "m.onnx", with_options(**options))
    (backward,) = emit(one(1), "m.onnx", with_options(**dict(reversed(options.items()))))
    assert forward.words == backward.words
    found = [word.partition("=")[0][2:] for word in forward.words[1:]]
    assert found == [name for name in names if name in found]


def test_every_option_says_where_it_is_from() -> None:
    for name, option in OPTIONS.items():
        assert option.name == name
        assert option.help
        assert option.source.startswith(("GE", "MZ", "DOC", "MSIT")), name
        assert any(mark in option.source for mark in ("20", "RC", "v1", "v2")), name
        assert not option.values or option.default is None or option.default in option.values, name


def test_output() -> None:
    two = with_options(output="om/{stem}_{batch}")
    assert [c.value("output") for c in emit(one("N", 2), "d/m.onnx", two, [1, 2])] == ["om/m_1", "om/m_2"]
    assert refused(one("N", 2), with_options(output="m"), batches=[1, 2]) == (
        "atc_profiles/ascend310.toml: options.output: 'm' is the same for every batch; put {batch} in it"
    )
    assert refused(one(), overrides={"output": "m_{batch}"}) == "--atc output: 'm_{batch}': the inputs have no batch"


def test_model_paths() -> None:
    assert "--model=./-x.onnx --output=-x_bs1 " in text(one(1), "-x.onnx")
    (command,) = emit(one(1), "my model.onnx")
    assert '--model="my model.onnx" --output="my model_bs1" ' in command.text()
    assert command.notes == (
        "ATC refuses 'my model.onnx': a path may hold letters, digits, '-', '.', '_', Chinese (E10001)"
        " [GE, 2020 to 2025]",
    )
    assert emit(one(1), "模型/ICNet-v1.2.onnx")[0].notes == ()
    assert refused(one(1), path="a\nb.onnx") == (
        r"'a\nb.onnx' holds an unprintable character, which cannot stand on a command line"
    )
    assert refused(one(1), path="a\udcff.onnx").startswith(r"'a\udcff.onnx' holds an unprintable")
    assert refused(one(1), path="") == "'' is not the name of a model file"


# -- the words of graphtool's own command line


def test_parse_batches() -> None:
    assert parse_batches("1, 4,8") == (1, 4, 8)
    for bad in ("", "0", "1,,2", "-1", "4x", "²", "1" * 5000):
        with pytest.raises(UsageError, match=r"--batch: .* is not a whole number above 0; give numbers such as 1,4,8"):
            parse_batches(bad)
    with pytest.raises(UsageError, match="--batch: '1,1' names a batch twice"):
        parse_batches("1,1")


def test_parse_shape() -> None:
    assert parse_shape("image:1,3,224,224") == ("image", (1, 3, 224, 224))
    assert parse_shape("a:b: 1, 2") == ("a:b", (1, 2))
    for bad in ("image", ":1", ""):
        with pytest.raises(UsageError, match="is not NAME:DIM,DIM"):
            parse_shape(bad)
    for bad in ("x:", "x:1,", "x:0", "x:-1", "x:N", "x:1.5"):
        with pytest.raises(UsageError, match=r"--shape x: .* is not a whole number above 0"):
            parse_shape(bad)


def test_parse_option() -> None:
    assert parse_option("output_type=FP16") == ("output_type", "FP16")
    assert parse_option("--out-nodes=a:0") == ("out_nodes", "a:0")
    assert parse_option("out_nodes=") == ("out_nodes", "")
    for bad, message in {
        "log": "--atc: 'log' is not OPTION=VALUE",
        "log=eror": "--atc: log: 'eror' is not one of debug, info, warning, error, null; did you mean 'error'?",
        "out_node=a:0": "--atc: unknown ATC option 'out_node'; did you mean 'out_nodes'?",
        "model=a": "--atc: model: the model is named by itself",
        "framework=": "--atc: framework: ATC needs it",
    }.items():
        with pytest.raises(UsageError) as caught:
            parse_option(bad)
        assert str(caught.value) == message


# -- the shell

NASTY = st.text(st.sampled_from("ab1 ;:,|&<>()[]{}*?~#=%^+@-_./'\"`$\\!é模\u3000"), min_size=1, max_size=12)
WORDS = st.lists(
    st.one_of(NASTY, st.builds(lambda o, v: f"--{o}={v}", st.sampled_from(list(OPTIONS)), NASTY)),
    min_size=1,
    max_size=20,
)


def run_bash(words: str) -> list[str]:
    """Return what bash makes of ``words``, with history expansion as at an interactive prompt."""
    lines = f"set -o history -o histexpand\nprintf '%s\\0' {words}\n"
    done = subprocess.run(["bash", "--norc"], input=lines.encode(), capture_output=True, check=True, timeout=20)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


@given(WORDS)
@example(["--model=a\\", "--model=a\\$b", "~", "--output=~", "-n", "=a"])
def test_words_survive_shlex(words: list[str]) -> None:
    assert shlex.split(Command(tuple(words), 1).text()) == words


@settings(max_examples=40, deadline=None)
@given(WORDS)
@example(["--model=a\\", "--model=a\\$b", "~", "--output=~", "-n", "=a"])
def test_words_survive_bash(words: list[str]) -> None:
    assert run_bash(Command(tuple(words), 1).text()) == words


# without what ATC's own grammar cannot spell; those names are refused (above)
NODE_NAMES = st.text(st.sampled_from("ab1 ,|&<>()[]{}*?~#=%^+@-_./'\"`$\\!é模"), min_size=1, max_size=12)
INPUT_NAMES = st.builds(lambda a, b: f"a{a}:{b}", NODE_NAMES, NODE_NAMES).map(str.strip)


@settings(max_examples=60, deadline=None)
@given(node=NODE_NAMES, value=INPUT_NAMES, path=NODE_NAMES.filter(lambda path: Path(path).name.strip() != ""))
def test_no_name_of_a_model_becomes_shell_syntax(node: str, value: str, path: str) -> None:
    made = graph(
        [(value, F32, (1, 2))], [(f"{node}n", "Neg", [value], ["y"]), ("z", "Abs", [value], ["z"])], ["y", "z"]
    )
    (command,) = emit(made, path, overrides={"out_nodes": f"{node}n:0"})
    assert command.value("out_nodes") == f"{node}n:0"
    assert command.value("input_shape") == f"{value}:1,2"
    line = command.text()
    assert shlex.split(line) == list(command.words)
    assert run_bash(line) == list(command.words)


def test_quoting_is_the_guides() -> None:
    assert quote("--output_type=FP16") == "--output_type=FP16"
    assert quote("--out_nodes=a:0") == '--out_nodes="a:0"'
    assert quote("--output_type=a:0:FP16;b:0:FP32") == '--output_type="a:0:FP16;b:0:FP32"'
    assert quote("--out_nodes=$(reboot):0") == "--out_nodes='$(reboot):0'"
    assert quote("--model=it's.onnx") == '--model="it\'s.onnx"'
    assert quote("a b") == "'a b'"


def fake_toolkit(folder: Path, body: str) -> Mapping[str, str]:
    (folder / "bin").mkdir()
    tool = folder / "bin" / "atc"
    tool.write_text(f"#!/bin/bash\n{body}\n")
    tool.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}


def test_the_script_runs_every_command(tmp_path: Path) -> None:
    commands = emit(icnet(), "it's $HOME.onnx", ICNET)
    made = script(commands, ICNET)
    assert made.startswith("#!/bin/bash\n")
    assert "\r" not in made
    for command in commands:
        assert f"\n{command.text()} >" in made
    assert "# not run at batch 4: " in made
    path = tmp_path / "atc.sh"
    path.write_text(made)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    # batch 4 fails, as batch 8 of the guide did; batch 1 is done all the same
    env = fake_toolkit(tmp_path, 'printf "%s\\n" "$@"; [[ "$*" != *_bs4* ]]')
    done = subprocess.run(["bash", path], cwd=tmp_path, env=dict(env), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "it's $HOME_bs1: done\n"
    assert done.stderr == "it's $HOME_bs4: atc failed with 1, see it's $HOME_bs4.atc.log\n"
    for command in commands:
        log = tmp_path / f"{command.value('output')}.atc.log"
        assert log.read_text().splitlines() == list(command.words[1:])


def test_the_script_sets_the_environment_up(tmp_path: Path) -> None:
    made = script(emit(one(1), "m.onnx"), default_profile())
    assert "|| install_path=/usr/local/Ascend/ascend-toolkit/latest" in made
    toolkit = tmp_path / "kit dir" / "latest"
    (toolkit / "atc" / "bin").mkdir(parents=True)
    tool = toolkit / "atc" / "bin" / "atc"
    tool.write_text('#!/bin/bash\necho "$ASCEND_OPP_PATH"\n')
    tool.chmod(0o755)

    def run(install_path: Path) -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/bin:/bin", "install_path": str(install_path)}
        return subprocess.run(["bash", "-c", made], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert run(toolkit).returncode == 0
    assert (tmp_path / "m_bs1.atc.log").read_text() == f"{toolkit}/opp\n"
    (tmp_path / "kit dir" / "set_env.sh").write_text(f'PATH="{toolkit}/atc/bin:$PATH"; export ASCEND_OPP_PATH=vendor\n')
    assert run(toolkit).returncode == 0
    assert (tmp_path / "m_bs1.atc.log").read_text() == "vendor\n"
    none = run(tmp_path / "none")
    assert (none.returncode, none.stderr) == (
        127,
        "atc not found; set install_path to the folder of the CANN toolkit\n",
    )


def test_a_script_comment_cannot_be_left(tmp_path: Path) -> None:
    made = script(
        [Command(("atc", "--output=m"), 0, ("a\ntouch owned",))], replace(default_profile(), name="x\ntouch owned")
    )
    env = fake_toolkit(tmp_path, "exit 0")
    subprocess.run(["bash", "-c", made], cwd=tmp_path, env=dict(env), capture_output=True, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "m.atc.log"]
