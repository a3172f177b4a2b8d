"""Weights stripped and restored byte by byte, moved to a data file and back; whatever is saved loads and runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from clirun import Cli
from onnx import TensorProto, helper, numpy_helper

from graphtool.api import run
from graphtool.cases import model_of
from graphtool.errors import ModelError, PassError
from graphtool.graph import Graph
from graphtool.graph.bodies import all_tensors
from graphtool.graph.stripped import is_stripped
from graphtool.graph.weights import is_external
from graphtool.parity.session import Session

TEXT = """g (float[2,32] x) => (float[2,16] y) <float[32,32] w, float[32,16] v, float[16] b> {
  a = MatMul(x, w)  c = MatMul(a, v)  y = Add(c, b) }"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``m.onnx``, its weights inside, and ``e.onnx``, its weights in ``e.onnx.data``."""
    graph = model_of(TEXT, 17)
    graph.save(tmp_path / "m.onnx")
    graph.outside = 1000
    graph.save(tmp_path / "e.onnx")
    return tmp_path


def passed(path: Path, passes: str, out: Path, status: str = "applied", checked: bool = True) -> Path:
    """Apply passes to a file and save the result."""
    state = run(Graph.load(path), passes, checked=checked)
    assert state.steps[-1].status == (status if checked or status != "applied" else "unchecked"), state.steps[-1].reason
    state.graph.save(out)
    return out


def result(path: Path) -> np.ndarray:
    """Return what the model in a file makes, run by onnxruntime itself."""
    import onnxruntime

    feed = np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)
    return np.asarray(onnxruntime.InferenceSession(str(path)).run(None, {"x": feed})[0])


# -- strip_weights, restore_weights


@pytest.mark.parametrize("name", ["m.onnx", "e.onnx"])
def test_weights_come_back_byte_by_byte(folder: Path, name: str) -> None:
    small = passed(folder / name, "strip_weights", folder / "small.onnx")
    assert small.stat().st_size < 2000
    assert np.array_equal(result(small), result(folder / name)), "beside the original it runs"
    back = passed(small, "restore_weights", folder / "back.onnx")
    assert back.read_bytes() == (folder / name).read_bytes()


def test_a_weight_in_a_constant_node_is_stripped_and_judged(tmp_path: Path) -> None:
    """Exporters that fold nothing leave weights in Constant nodes, in bodies too."""
    weight = numpy_helper.from_array(np.linspace(-1, 1, 512, dtype=np.float32).reshape(32, 16), "w")
    make = helper.make_node("Constant", [], ["w"], value=weight)
    made = helper.make_tensor_value_info("i", TensorProto.FLOAT, [2, 16])
    body = helper.make_graph([make, helper.make_node("MatMul", ["x", "w"], ["i"])], "body", [], [made])
    nodes = [
        helper.make_node("Constant", [], ["v"], value=weight),
        helper.make_node("MatMul", ["x", "v"], ["a"]),
        helper.make_node("If", ["c"], ["b"], then_branch=body, else_branch=body),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, n]) for name, n in (("x", 32), ("y", 16)))
    c = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = helper.make_graph(nodes, "g", [x, c], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    small = passed(tmp_path / "m.onnx", "strip_weights", tmp_path / "small.onnx")
    assert small.stat().st_size < 3000 < (tmp_path / "m.onnx").stat().st_size
    whole = passed(small, "restore_weights", tmp_path / "whole.onnx")
    assert (
        whole.read_bytes()
        == passed(tmp_path / "m.onnx", "remove_identity", tmp_path / "same.onnx", "unmatched").read_bytes()
    )


@pytest.mark.parametrize("name", ["m.onnx", "e.onnx"])
def test_a_stripped_model_travels_alone(folder: Path, tmp_path: Path, name: str) -> None:
    away = tmp_path / "away"
    away.mkdir()
    small = passed(folder / name, "strip_weights", away / "small.onnx")
    assert sorted(path.name for path in away.iterdir()) == ["small.onnx"], "no weight is copied"
    graph = Graph.load(small)
    shapes = {name: tuple(tensor.dims) for name, tensor in graph.initializers.items()}
    assert shapes == {"w": (32, 32), "v": (32, 16), "b": (16,)}
    assert graph.value("y").dims == (2, 16)  # type: ignore[union-attr]
    onnx.shape_inference.infer_shapes(onnx.load(small, load_external_data=False), strict_mode=True)
    renamed = passed(small, "rename:from=x:to=image", away / "edited.onnx", checked=False)
    assert sorted(path.name for path in away.iterdir()) == ["edited.onnx", "small.onnx"]
    back = passed(renamed, f"restore_weights:path={folder / name}", away / "back.onnx")
    expected = passed(folder / name, "rename:from=x:to=image", folder / "expected.onnx")
    assert [t.raw_data for t in onnx.load(back).graph.initializer] == [
        t.raw_data for t in onnx.load(expected).graph.initializer
    ]


def test_only_the_very_file_is_taken(folder: Path) -> None:
    small = passed(folder / "m.onnx", "strip_weights", folder / "small.onnx")
    shutil.copy(folder / "m.onnx", folder / "copy.onnx")
    passed(small, f"restore_weights:path={folder / 'copy.onnx'}", folder / "back.onnx")
    data = bytearray((folder / "m.onnx").read_bytes())
    data[-600] ^= 1
    (folder / "m.onnx").write_bytes(data)
    with pytest.raises(PassError, match=r"m.onnx' is not the file that the weights were left in: its SHA1 is another"):
        run(Graph.load(small), "restore_weights", checked=False)
    (folder / "m.onnx").unlink()
    with pytest.raises(PassError, match=r"no file '.*m.onnx': give the original model with path=FILE"):
        run(Graph.load(small), "restore_weights", checked=False)


def test_a_missing_original_is_repaired_by_restore_weights(folder: Path) -> None:
    small = passed(folder / "m.onnx", "strip_weights", folder / "small.onnx")
    (folder / "sub").mkdir()
    shutil.move(folder / "m.onnx", folder / "sub" / "m.onnx")
    with pytest.raises(Exception, match=r"m.onnx' is missing"):
        run(Graph.load(small), "remove_identity")
    state = run(Graph.load(small), f"restore_weights:path={folder / 'sub' / 'm.onnx'}")
    assert state.steps[0].verdict is not None and state.steps[0].verdict.rule == "runs"


def test_the_original_is_not_overwritten(folder: Path) -> None:
    before = (folder / "m.onnx").read_bytes()
    stripped = run(Graph.load(folder / "m.onnx"), "strip_weights").graph
    with pytest.raises(ModelError, match="the stripped weights of this model are in"):
        stripped.save(folder / "m.onnx")
    assert (folder / "m.onnx").read_bytes() == before


def test_a_name_that_leaves_the_folder_is_not_followed(folder: Path) -> None:
    small = passed(folder / "m.onnx", "strip_weights", folder / "small.onnx")
    model = onnx.load(small, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../../../etc/passwd"
    onnx.save(model, folder / "hostile.onnx")
    with pytest.raises(PassError, match=r"no file '.*/passwd'"):
        run(Graph.load(folder / "hostile.onnx"), "restore_weights", checked=False)


@pytest.mark.parametrize("key,value", [("offset", "99999999"), ("offset", "x"), ("length", "99999999")])
def test_a_place_that_is_not_in_the_file(folder: Path, key: str, value: str) -> None:
    small = passed(folder / "m.onnx", "strip_weights", folder / "small.onnx")
    model = onnx.load(small, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = value
    onnx.save(model, folder / "wrong.onnx")
    with pytest.raises(PassError, match=r"ends before the weight|is no number"):
        run(Graph.load(folder / "wrong.onnx"), "restore_weights", checked=False)


def test_documentation_of_a_weight_comes_back(tmp_path: Path) -> None:
    graph = model_of(TEXT, 17)
    graph.header.initializer[0].doc_string = "first line\nsecond"
    graph.save(tmp_path / "m.onnx")
    small = passed(tmp_path / "m.onnx", "strip_weights", tmp_path / "small.onnx")
    back = passed(small, "restore_weights", tmp_path / "back.onnx")
    assert back.read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_what_is_in_no_file_stays_and_says_why(folder: Path) -> None:
    graph = Graph.load(folder / "m.onnx")
    graph.put_initializer("new", np.zeros((32, 32), np.float32))
    stripped = run(graph, "strip_weights", checked=False)
    assert [miss.where for miss in stripped.steps[0].misses] == ["new"]
    assert not any(is_stripped(t) for t in all_tensors(stripped.graph.proto) if t.name == "new")


@pytest.mark.parametrize("name", ["strip_weights", "externalize_weights"])
def test_why_weights_stay(folder: Path, name: str) -> None:
    step = run(Graph.load(folder / "m.onnx"), f"{name}:threshold=1000000", checked=False).steps[0]
    assert not step.matches and "bytes are less than threshold=1000000" in step.reason


# -- externalize_weights, internalize_weights


def test_weights_go_to_a_data_file_and_back(folder: Path) -> None:
    split = passed(folder / "m.onnx", "externalize_weights:threshold=100", folder / "split.onnx")
    assert split.stat().st_size < 1000 and (folder / "split.onnx.data").is_file()
    assert {t.name for t in Graph.load(split).header.initializer if is_external(t)} == {"w", "v"}
    assert np.array_equal(result(split), result(folder / "m.onnx"))
    whole = passed(split, "internalize_weights", folder / "whole.onnx")
    assert whole.read_bytes() == (folder / "m.onnx").read_bytes()


def test_the_same_graph_gives_the_same_files(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        passed(folder / "m.onnx", "externalize_weights", folder / name / "m.onnx")
    for name in ("m.onnx", "m.onnx.data"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_a_model_that_was_split_keeps_its_data_where_it_is(folder: Path) -> None:
    """The weights that a pass made go to another file; those of the first stay, unless that very file is replaced."""
    graph = Graph.load(folder / "e.onnx")
    graph.put_initializer("new", np.ones((2, 600), np.float32))
    graph.header.output.extend([helper.make_tensor_value_info("new", 1, [2, 600])])
    graph.reindex()
    state = run(graph, "externalize_weights")
    state.graph.save(folder / "other.onnx")
    files = {
        t.name: t.external_data[0].value
        for t in onnx.load(folder / "other.onnx", load_external_data=False).graph.initializer
        if t.external_data
    }
    assert files == {"w": "e.onnx.data", "v": "e.onnx.data", "new": "other.onnx.data"}
    state.graph.save(folder / "e.onnx")
    again = Graph.load(folder / "e.onnx")
    assert np.array_equal(result(folder / "e.onnx"), result(folder / "m.onnx"))
    assert again.constant("new").tolist() == [[1.0] * 600] * 2  # type: ignore[union-attr]


def test_numbers_that_are_no_bytes_become_bytes(tmp_path: Path) -> None:
    values = np.arange(2048, dtype=np.float32)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2048], float_data=values)
    text = TensorProto(name="s", data_type=TensorProto.STRING, dims=[2], string_data=[b"a" * 2000, b"b"])
    graph = model_of("g (float[2048] x) => (float[2048] y) <float[2048] w> { y = Mul(x, w) }", 17)
    graph.header.initializer[0].CopyFrom(tensor)
    graph.header.initializer.add().CopyFrom(text)
    graph.reindex()
    state = run(graph, "externalize_weights")
    assert [match.where for match in state.steps[0].matches] == ["w"]
    state.graph.save(tmp_path / "m.onnx")
    loaded = onnx.load(tmp_path / "m.onnx")
    assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), values)
    assert loaded.graph.initializer[1].string_data[0] == b"a" * 2000


def test_a_graph_that_is_not_run_again_is_not_changed(folder: Path) -> None:
    graph = Graph.load(folder / "m.onnx")
    run(graph, "externalize_weights")
    graph.save(folder / "same.onnx")
    assert (folder / "same.onnx").read_bytes() == (folder / "m.onnx").read_bytes()


def test_missing_data_is_one_clear_line(folder: Path) -> None:
    (folder / "e.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"external data of 'w': file '.*e.onnx.data' is missing"):
        run(Graph.load(folder / "e.onnx"), "internalize_weights", checked=False)


def test_passes_in_a_row(folder: Path) -> None:
    passes = "strip_weights,restore_weights,externalize_weights,internalize_weights"
    back = passed(folder / "m.onnx", passes, folder / "back.onnx")
    assert back.read_bytes() == (folder / "m.onnx").read_bytes()


def test_the_command_line(cli: Cli, folder: Path) -> None:
    work = Path.cwd()
    shutil.copy(folder / "m.onnx", work / "m.onnx")
    assert cli("run", "--passes", "strip_weights", "m.onnx", "-o", "small.onnx").code == 0
    assert cli("run", "--passes", "restore_weights", "small.onnx", "-o", "back.onnx").code == 0
    assert (work / "back.onnx").read_bytes() == (work / "m.onnx").read_bytes()
    assert cli("run", "--passes", "externalize_weights", "m.onnx", "-o", "split.onnx").code == 0
    assert Session(Graph.load(work / "split.onnx")).outputs == ["y"]


def test_float16_and_other_passes_on_external_data(folder: Path, tmp_path: Path) -> None:
    graph = Graph.load(folder / "e.onnx")
    halved = run(graph, "float16_model,append_argmax,set_input_shapes:inputs=x:shapes=Nx32").graph
    (tmp_path / "away").mkdir()
    halved.save(tmp_path / "away" / "half.onnx")
    loaded = Graph.load(tmp_path / "away" / "half.onnx")
    assert {tensor.data_type for tensor in loaded.header.initializer} == {TensorProto.FLOAT16}
    Session(loaded).run({"x": np.ones((3, 32), np.float32)})
