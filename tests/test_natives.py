"""The native passes: onnxsim in its child process, renaming, dead code; and how a native is found."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from conftest import graph_of
from onnx import helper
from rewriting import HEAD, apply, lines, names, pass_of, places, run, stale_rows

from graphtool import pipeline
from graphtool.cases import model_of
from graphtool.errors import PassError
from graphtool.graph import Graph
from graphtool.graph.bodies import walk
from graphtool.natives import onnxsim
from graphtool.parity.feed import draw
from graphtool.rewrite import Applied, Catalog, Match, native, parse_pipeline
from graphtool.rewrite.result import Applied as Result
from graphtool.step import Step

CATALOG = Catalog()
RENAME = CATALOG.get("rename")
UNUSED = CATALOG.get("remove_unused")
ONNXSIM = CATALOG.get("onnxsim")

# -- onnxsim: what can go wrong in the child

SMALL = "g (float[2,3] x) => (float[6] y) <int64[1] m = {-1}> { i = Identity(x) y = Reshape(i, m) }"
CHILD = "import sys, os, signal, time, pathlib\nsource, target = map(pathlib.Path, sys.argv[1:3])\n"


def fault(monkeypatch: pytest.MonkeyPatch, child: str, seconds: int = 60) -> str:
    """Return what the pass says when the child runs ``child``; the graph must be untouched."""
    monkeypatch.setattr(onnxsim, "_CHILD", CHILD + child)
    graph = model_of(SMALL, 17)
    before = graph.proto.SerializeToString(deterministic=True)
    with pytest.raises(PassError) as error:
        apply(ONNXSIM, graph, seconds=seconds)
    assert graph.proto.SerializeToString(deterministic=True) == before
    return str(error.value)


@pytest.mark.parametrize(
    "child,reason",
    [
        ("import ctypes; ctypes.string_at(0)", "onnxsim crashed (SIGSEGV) while simplifying"),
        ("os.abort()", "onnxsim crashed (SIGABRT) while simplifying"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "onnxsim crashed (SIGKILL) while simplifying"),
        ("os.kill(os.getpid(), 40)", "onnxsim crashed (signal 40) while simplifying"),
        ("raise RuntimeError('bad\\x1b[31m op')", r"onnxsim failed while simplifying: RuntimeError: bad\x1b[31m op"),
        ("sys.exit(3)", "onnxsim failed while simplifying: it said nothing"),
        ("pass", "onnxsim failed while simplifying: it said nothing"),
        ("target.write_bytes(b'')", "onnxsim wrote no usable model: "),
        ("target.write_bytes(os.urandom(500))", "onnxsim wrote no usable model: "),
        ("target.write_bytes(source.read_bytes()[:60])", "onnxsim wrote no usable model: "),
        ("target.write_text('{\"a\": 1}')", "onnxsim wrote no usable model: "),
        ("target.mkdir()", "onnxsim wrote no usable model: "),
        # a TensorProto: float32[1] {2}
        ("target.write_bytes(bytes.fromhex('08011001220400000040'))", "onnxsim wrote no usable model: "),
        ("x = []\nwhile True: x.append(bytearray(1 << 40))", "onnxsim failed while simplifying: MemoryError"),
    ],
    ids=lambda value: value.split("(")[0][-20:] if isinstance(value, str) else value,
)  # fmt: skip
def test_a_child_that_fails_is_a_message(monkeypatch: pytest.MonkeyPatch, child: str, reason: str) -> None:
    said = fault(monkeypatch, child)
    assert said.startswith(reason) and "\n" not in said and "\x1b" not in said


def test_a_child_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    said = fault(monkeypatch, "time.sleep(600)", seconds=1)
    assert said == "onnxsim was stopped after 1 seconds; give it more with onnxsim.seconds"


def test_a_child_that_waits_for_input_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault(monkeypatch, "sys.stdin.readline() or sys.exit('no input')").endswith("no input")


def test_the_child_takes_no_module_from_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "onnx.py").write_text("raise SystemExit('the wrong onnx')")
    monkeypatch.chdir(tmp_path)
    assert fault(monkeypatch, "import onnx; sys.exit('the right one')").endswith("the right one")


def test_onnxsim_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxsim.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PassError) as error:
        apply(ONNXSIM, SMALL)
    assert str(error.value) == "onnxsim is not installed; run 'pip install onnxsim'"


def judged(monkeypatch: pytest.MonkeyPatch, graph: Graph, child: str) -> Step:
    """Return the step of a pipeline in which the child edits the model by ``child``."""
    script = f"import onnx\n{CHILD}model = onnx.load(source)\ngraph = model.graph\n{child}\nonnx.save(model, target)\n"
    monkeypatch.setattr(onnxsim, "_CHILD", script)
    before = graph.proto.SerializeToString(deterministic=True)
    state = pipeline.begin(graph, parse_pipeline("onnxsim", CATALOG), CATALOG, draw(graph))
    step = next(pipeline.advance(state, CATALOG))
    if step.status == "broken":
        assert graph.proto.SerializeToString(deterministic=True) == before, "rolled back"
    return step


DROP = "del graph.node[0]; graph.node[0].input[0] = 'x'\n"  # the Identity goes


@pytest.mark.parametrize(
    "child,reason",
    [
        ("graph.output[0].name = graph.node[0].output[0] = 'z'", "output 'y' is gone"),
        ("del graph.input[1]", "input 'u' is gone"),
        ("graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info('v', 1, [2]))", "input 'v' is new"),
        ("graph.input[1].type.tensor_type.elem_type = 11", "input 'u' changed its type from float32[2] to float64[2]"),
        ("graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3", "output 'y' changed from float32[2] to "),
        ("graph.node[0].op_type = 'Exp'", "output 'y': error "),
        ("graph.node[0].op_type = 'Nonsense'", "No Op registered for Nonsense"),
        ("graph.node[0].input[0] = 'gone'", "node 'Neg_1' reads 'gone', which nothing defines (dangling input)"),
        ("graph.node[0].input[0] = 'y'", "the graph has a cycle through node 'Neg_1'"),
        ("graph.node.add().CopyFrom(graph.node[0]); graph.node[1].name = 'm'", "value 'y' is defined twice"),
    ],
    ids=range(10),
)
def test_a_model_that_the_child_broke_is_refused(monkeypatch: pytest.MonkeyPatch, child: str, reason: str) -> None:
    graph = model_of("g (float[2] x, float[2] u) => (float[2] y) { i = Identity(x) y = Neg(i) }", 17)
    step = judged(monkeypatch, graph, DROP + child)
    assert step.status == "broken" and reason in step.reason


def test_a_child_that_leaves_the_nodes_as_they_are_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = model_of("g (float[2] x, float[2] u) => (float[2] y) { i = Identity(x) y = Neg(i) }", 17)
    before = graph.proto.SerializeToString(deterministic=True)
    assert judged(monkeypatch, graph, "del graph.input[1]").status == "unmatched"
    assert graph.proto.SerializeToString(deterministic=True) == before


def test_what_the_child_drops_is_carried_over(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = model_of("g (float[2] x) => (float[2] y) <float s = {0.5}> { i = Identity(x) y = Neg(i) }", 21)
    proto = graph.proto
    proto.producer_name, proto.doc_string, proto.graph.doc_string = "exporter", "model", "graph"
    proto.metadata_props.add(key="k", value="v")
    proto.graph.node[1].metadata_props.add(key="layer", value="1")
    proto.graph.node[1].doc_string = "node"
    proto.graph.metadata_props.add(key="g", value="1")
    proto.graph.input[0].type.denotation = "IMAGE"
    for tensor in ("x", "i", "y"):
        annotation = proto.graph.quantization_annotation.add(tensor_name=tensor)
        annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    drop = """
model.ClearField("metadata_props"); model.producer_name = "onnxsim"; model.producer_version = "9"; model.doc_string = ""
graph.ClearField("quantization_annotation"); graph.ClearField("metadata_props"); graph.doc_string = ""
graph.ClearField("initializer"); graph.input[0].type.ClearField("denotation")
graph.node[1].ClearField("metadata_props"); graph.node[1].ClearField("doc_string")
del graph.node[0]; graph.node[0].input[0] = "x"
"""
    step = judged(monkeypatch, graph, drop)
    assert step.status == "applied", step.reason
    proto = graph.proto
    assert (proto.producer_name, proto.doc_string, proto.graph.doc_string) == ("exporter", "model", "graph")
    assert not proto.HasField("producer_version")
    assert [(p.key, p.value) for p in proto.metadata_props] == [("k", "v")]
    node = proto.graph.node[0]
    assert node.doc_string == "node" and [(p.key, p.value) for p in node.metadata_props] == [("layer", "1")]
    assert [(p.key, p.value) for p in proto.graph.metadata_props] == [("g", "1")]
    assert proto.graph.input[0].type.denotation == "IMAGE"
    assert [note.tensor_name for note in proto.graph.quantization_annotation] == ["x", "y"]
    assert graph.constant("s") == 0.5, "the scale, which only the annotations name"


OVERRIDABLE = """<ir_version: 8, opset_import: ["": 17]>
    g (float[2] x, float[2] b = {1, 2}) => (float[2] y) { i = Identity(b) t = Add(x, i) n = Neg(b) y = Mul(t, n) }"""


def test_the_default_of_an_input_is_not_baked_in() -> None:
    graph = graph_of(OVERRIDABLE)
    _, found = apply(ONNXSIM, graph)
    assert len(found.matches) == 1, "onnxsim removes the Identity"
    assert [info.name for info in graph.proto.graph.input] == ["x", "b"]
    assert graph.constant("b") is None and graph.array(graph.initializers["b"]).tolist() == [1, 2]
    session = onnx.reference.ReferenceEvaluator(graph.full_proto())
    given = {"x": np.array([1, 1], np.float32), "b": np.array([3, 5], np.float32)}
    assert session.run(None, given)[0].tolist() == [-12, -30]


def test_a_large_default_survives() -> None:
    graph = graph_of(OVERRIDABLE.replace("[2]", "[2000]").replace(" = {1, 2}", ""))
    values = np.arange(2000, dtype=np.float32)
    graph.put_initializer("b", values)
    graph = Graph.from_proto(graph.full_proto())
    apply(ONNXSIM, graph)
    assert np.array_equal(graph.array(graph.initializers["b"]), values)


def test_it_simplifies_a_model_with_external_data(tmp_path: Path) -> None:
    model = model_of("g (float[64,64] x) => (float[64,64] y) <float[64,64] w> { i = Identity(x) y = MatMul(i, w) }", 17)
    onnx.save(model.full_proto(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    graph = Graph.load(tmp_path / "m.onnx")
    before = run(graph)
    apply(ONNXSIM, graph)
    assert lines(graph) == ["y = MatMul(x, w)"] and np.array_equal(run(graph)["y"], before["y"])
    graph.save(tmp_path / "out.onnx")
    assert np.array_equal(run(Graph.load(tmp_path / "out.onnx"))["y"], before["y"])


# -- rename


def renamed(graph: Graph | str, old: str, new: str) -> tuple[Graph, Applied]:
    return apply(RENAME, graph, **{"from": old.split("+"), "to": new.split("+")})


def test_values_and_nodes_are_renamed() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { [first] a = Add(x, w) [last] y = Neg(a) }")
    graph, found = renamed(graph, "x+a+w+y+last", "image+inner+weight+logits+head")
    assert lines(graph) == ["inner = Add(image, weight)", "logits = Neg(inner)"] and names(graph) == ["first", "head"]
    assert list(graph.initializers) == ["weight"] and graph.constant("weight").tolist() == [1, 2]  # type: ignore[union-attr]
    assert [v.name for v in (*graph.inputs, *graph.outputs)] == ["image", "logits"]
    assert found.renamed == {"image": "x", "logits": "y"} and places(found) == ["x", "a", "w", "y", "last"]


def test_names_change_places() -> None:
    text = "g (float[2] x, float[2] u) => (float[2] y, float[2] z) { y = Sub(x, u) z = Neg(y) }"
    graph, found = renamed(text, "x+u+y+z", "u+x+z+y")
    assert lines(graph) == ["z = Sub(u, x)", "y = Neg(z)"]
    assert [v.name for v in (*graph.inputs, *graph.outputs)] == ["u", "x", "z", "y"]
    assert found.renamed == {"u": "x", "x": "u", "z": "y", "y": "z"}


def test_a_ring_of_three_and_nodes_too() -> None:
    graph = graph_of("g (float[2] a) => (float[2] c) { [m] b = Neg(a) [n] c = Exp(b) }")
    graph, _ = renamed(graph, "a+b+c+m+n", "b+c+a+n+m")
    assert lines(graph) == ["c = Neg(b)", "a = Exp(c)"] and names(graph) == ["n", "m"]


def test_a_name_to_itself_is_no_change() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Neg(x) }"
    before = model_of(text, 17).proto.SerializeToString(deterministic=True)
    graph, found = renamed(text, "x", "x")
    assert found.matches == [] and found.renamed == {}
    assert graph.proto.SerializeToString(deterministic=True) == before


def test_a_tensors_name_goes_before_a_nodes() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { [y] y = Neg(x) }")
    graph, _ = renamed(graph, "y", "z")
    assert lines(graph) == ["z = Neg(x)"] and names(graph) == ["y"]


BODIES = """g (float[2] x, bool c) => (float[2] y) { k = Exp(x) [outer] y = If(c) <
  then_branch = a () => (float[2] t) { [inner] t = Add(k, x) },
  else_branch = b () => (float[2] e) { i = If(c) < then_branch = d () => (float[2] q) { q = Neg(k) },
                                                  else_branch = f () => (float[2] r) { r = Neg(x) }>
                                       e = Relu(i) }> }"""


def test_captures_follow_at_any_depth() -> None:
    graph, _ = renamed(graph_of(BODIES), "k+x+inner", "x+k+deep")
    reads = [(node.op_type, list(node.input)) for node in walk(graph.proto.graph)]
    assert reads == [
        ("Exp", ["k"]), ("If", ["c"]), ("Add", ["x", "k"]), ("If", ["c"]), ("Neg", ["x"]), ("Neg", ["k"]),
        ("Relu", ["i"]),
    ]  # fmt: skip
    assert "deep" in {node.name for node in walk(graph.proto.graph)}
    run(graph)


@pytest.mark.parametrize(
    "old,new,reason",
    [
        ("q", "z", "'q' is defined in a body of If, Loop or Scan"),
        ("k", "q", "'q' is another tensor's name already"),
        ("k", "x", "'x' is another tensor's name already"),
        ("outer", "inner", "'inner' is another node's name already"),
        ("kk", "z", "no tensor or node named 'kk'; did you mean 'k'?"),
        ("k", "z+u", "'from' has 1 names and 'to' has 2; give one new name for each old one"),
        ("k+x", "z+z", "a name is given twice"),
        ("k+k", "z+u", "a name is given twice"),
        ("k", "a\x1bb", r"'k' cannot become 'a\x1bb': a name is not empty, and printable"),
    ],
)
def test_a_rename_that_cannot_be(old: str, new: str, reason: str) -> None:
    with pytest.raises(PassError) as error:
        renamed(graph_of(BODIES), old, new)
    assert str(error.value) == f"rename: {reason}"


def test_an_absent_input_has_no_name_to_change() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) <float h = {1}> { y = Clip(x, , h) }", 17)
    with pytest.raises(PassError, match="not a list of names"):
        apply(RENAME, graph, **{"from": [""], "to": ["z"]})


def test_everything_that_names_a_value_follows() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) <float s = {0.5}> { a = Neg(x) y = Mul(a, d) }", 17)
    proto = graph.proto.graph
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("d", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [1]), [2]
    )
    proto.sparse_initializer.append(sparse)
    proto.value_info.append(helper.make_tensor_value_info("a", 1, [2]))
    proto.quantization_annotation.add(tensor_name="a").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    graph.reindex()
    graph, _ = renamed(graph, "a+s+d", "act+scale+dense")
    proto = graph.proto.graph
    assert [info.name for info in proto.value_info] == ["act"]
    assert proto.sparse_initializer[0].values.name == "dense"
    note = proto.quantization_annotation[0]
    assert (note.tensor_name, note.quant_parameter_tensor_names[0].value) == ("act", "scale")


def test_what_is_not_renamed_keeps_its_bytes() -> None:
    graph = graph_of("g (float[2] x) => (float[2] y) { a = Neg(x) y = Exp(a) }")
    assert not graph.nodes[0].HasField("name")
    graph, _ = renamed(graph, "x", "image")
    assert not any(node.HasField("name") for node in graph.nodes), "an absent name does not become an empty one"


# -- dead code


def test_what_nothing_needs_goes() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "d": 1]>
        g (float[2] x, float[2] u) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {3, 4}, float[2] o = {1, 1}> {
          [live] y = d.F(x) [dead] a = Add(u, w) b = d.G(a) [half] p, q = d.Two(y) }
        <domain: "d", opset_import: ["": 17]> F (p) => (q) { q = Relu(p) }
        <domain: "d", opset_import: ["": 17]> G (p) => (q) { q = Relu(p) }"""
    )
    model.graph.value_info.append(helper.make_tensor_value_info("ghost", 1, [2]))
    graph, found = apply(UNUSED, Graph.from_proto(model))
    assert lines(graph) == ["y = d.F(x)"] and list(graph.initializers) == []
    assert sorted(places(found)) == sorted(
        ["dead", "G(b)", "half", "weight w", "weight v", "weight o", "function G", "type of ghost"]
    )
    assert [v.name for v in graph.inputs] == ["x", "u"]


def test_what_is_needed_stays() -> None:
    nodes = "a, b = Split<axis=0>(x) y = Neg(b) k = Exp(x)"
    graph = model_of(f"g (float[2] x) => (float[1] y) <float s = {{0.5}}> {{ {nodes} }}", 11)
    graph.proto.graph.quantization_annotation.add(tensor_name="y").quant_parameter_tensor_names.add(key="S", value="s")
    graph, found = apply(UNUSED, graph, opset=11)
    assert [node.op_type for node in graph.nodes] == ["Split", "Neg"] and places(found) == ["Exp_2"]
    assert list(graph.initializers) == ["s"], "an annotation points to it"


def test_an_unused_default_of_an_input_stays_with_its_input() -> None:
    graph = graph_of("g (float[2] x, float[2] b = {1, 2}) => (float[2] y) { y = Neg(x) }")
    graph, found = apply(UNUSED, graph)
    assert found.matches == [] and list(graph.initializers) == ["b"]


def test_an_unused_sparse_weight_is_a_match() -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }", 17)
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("d", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [1]), [2]
    )
    graph.proto.graph.sparse_initializer.append(sparse)
    graph, found = apply(UNUSED, graph)
    assert places(found) == ["weight d"] and not graph.proto.graph.sparse_initializer


# -- how a native is found


def test_the_shipped_natives_are_the_modules() -> None:
    folder = Path(onnxsim.__file__).parent
    assert native.shipped() == {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}


def test_an_installed_distribution_can_register_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(graph: Graph, params: object) -> Applied:
        relu, add = graph.nodes
        _ = graph.index.rows, graph.index.readers, graph.value("y")
        relu.op_type, add.op_type, add.input[1] = "Neg", "Mul", "x"  # past the graph, which is to see it all the same
        graph.set_input(1, 0, "x")
        return Result([Match("y", "native")])

    module = SimpleNamespace(swap=swap, wrong=lambda graph, params: None)
    monkeypatch.setitem(sys.modules, "some_distribution", module)  # type: ignore[arg-type]
    points = [EntryPoint(name, f"some_distribution:{name}", native.GROUP) for name in ("swap", "wrong")]
    monkeypatch.setattr(native, "entry_points", lambda group: points if group == native.GROUP else [])
    text = "g (float[2] x, float[2] u) => (float[2] y) { a = Relu(x) y = Add(a, u) }"
    graph, _ = apply(pass_of('native = "swap"'), text)
    assert lines(graph) == ["a = Neg(x)", "y = Mul(x, x)"]
    assert stale_rows(graph) == [] and graph.index.uses("x") == 3 and not graph.index.uses("a")
    with pytest.raises(PassError) as error:
        apply(pass_of('native = "wrong"'), text)
    assert str(error.value) == "x: native pass 'wrong' returned NoneType, not Applied"
    with pytest.raises(PassError, match="no native pass 'swop' is registered; did you mean 'swap'"):
        pass_of('native = "swop"')


def _silent(graph: Graph, params: object) -> Applied:
    graph.proto.graph.node[0].op_type = "Neg"
    return Result()


def _leaving(graph: Graph, params: object) -> Applied:
    sys.exit(0)


@pytest.mark.parametrize(
    "function,fault",
    [
        (_silent, "changed the graph and returned no match; nobody would look at what it did"),
        (_leaving, r"SystemExit: 0 \(test_natives.py:\d+\)"),
        (lambda graph, params: Result(), ""),
    ],
)
def test_a_native_that_says_nothing_of_what_it_does(
    monkeypatch: pytest.MonkeyPatch, function: object, fault: str
) -> None:
    module = ModuleType("some_distribution")
    vars(module)["own"] = function
    monkeypatch.setitem(sys.modules, "some_distribution", module)
    point = EntryPoint("own", "some_distribution:own", native.GROUP)
    monkeypatch.setattr(native, "entry_points", lambda group: [point])
    text = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    if not fault:
        assert lines(apply(pass_of('native = "own"'), text)[0]) == ["y = Relu(x)"]
        return
    graph = model_of(text, 17)
    with pytest.raises(PassError, match=f"^x: native pass 'own' of an unnamed distribution:? {fault}$"):
        apply(pass_of('native = "own"'), graph)
    assert lines(graph) == ["y = Relu(x)"]


def test_an_undeclared_change_of_the_interface_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def cut(graph: Graph, params: object) -> Applied:
        graph.proto.graph.output[0].name = "a"
        return Result([Match("a", "native")])

    monkeypatch.setitem(sys.modules, "some_distribution", SimpleNamespace(cut=cut))  # type: ignore[arg-type]
    point = EntryPoint("cut", "some_distribution:cut", native.GROUP)
    monkeypatch.setattr(native, "entry_points", lambda group: [point])
    (tmp_path / "cut_it.toml").write_text(f'{HEAD}native = "cut"\n')
    catalog = Catalog([*CATALOG.folders, tmp_path])
    graph = model_of("g (float[2] x) => (float[2] y) { a = Neg(x) y = Exp(a) }", 17)
    state = pipeline.begin(graph, parse_pipeline("cut_it", catalog), catalog, draw(graph))
    step = next(pipeline.advance(state, catalog))
    assert (step.status, step.reason) == ("broken", "output 'y' is gone")
    assert [v.name for v in graph.outputs] == ["y"]
