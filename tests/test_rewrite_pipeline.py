"""The pass manager: what a step says, what is rolled back, in which order; and a run gives the same bytes twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from rewriting import lines

from graphtool import pipeline
from graphtool.cases import model_of
from graphtool.data import data_dir
from graphtool.errors import GraphtoolError, PassError, PromiseError
from graphtool.graph import Graph
from graphtool.parity.budget import parse_budget
from graphtool.parity.feed import Feed, draw
from graphtool.parity.runerror import RunError
from graphtool.rewrite import Catalog, parse_pipeline
from graphtool.step import Run, Step, promise_error

HEAD = 'summary = "s"\nwhy = "w"\nparity = "{}"\n'
RELU_TO = "[[rewrite]]\nmatch = 'y = Relu(x)'\nreplace = '{}'\n"


class House:
    """The shipped passes and some of a test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "passes"
        self.folder.mkdir()

    def add(self, name: str, parity: str, body: str) -> None:
        (self.folder / f"{name}.toml").write_text(HEAD.format(parity) + body)

    @property
    def catalog(self) -> Catalog:
        return Catalog([data_dir("passes"), self.folder])

    def run(self, graph: Graph, passes: str, feed: Feed | None = None, keep_going: bool = False) -> Run:
        catalog = self.catalog
        state = pipeline.begin(graph, parse_pipeline(passes, catalog), catalog, feed or draw(graph))
        for _ in pipeline.advance(state, catalog, keep_going):
            pass
        return state


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def said(steps: list[Step]) -> list[tuple[str, str]]:
    return [(step.name, step.status) for step in steps]


def data(graph: Graph) -> bytes:
    return graph.full_proto().SerializeToString(deterministic=True)


RELU = "g (float[2,3] x) => (float[2,3] y) { i = Identity(x) a = Relu(i) y = Neg(a) }"

# -- broken promises


def test_an_exact_pass_that_changes_numbers_is_rolled_back(house: House) -> None:
    house.add("wrong", "exact", RELU_TO.format("y = Abs(x)"))
    graph = model_of(RELU, 17)
    before = data(graph)
    state = house.run(graph, "wrong,remove_identity")
    assert said(state.steps) == [("wrong", "broken")] and not state.ok
    step = state.steps[0]
    assert step.reason.startswith("output 'y': ") and len(step.matches) == 1 and step.diff is not None
    assert data(graph) == before and state.graph is graph
    error = promise_error(step, "graphtool run --passes wrong x.onnx")
    assert isinstance(error, PromiseError) and error.exit_code == 1
    assert str(error).splitlines() == [
        f"wrong broke its promise 'exact': {step.reason}",
        "  reproduce: graphtool run --passes wrong x.onnx",
    ]


def test_keep_going_goes_on_from_the_graph_before(house: House) -> None:
    house.add("wrong", "exact", RELU_TO.format("y = Abs(x)"))
    graph = model_of(RELU, 17)
    state = house.run(graph, "remove_identity,wrong,output_fp16", keep_going=True)
    assert said(state.steps) == [("remove_identity", "applied"), ("wrong", "broken"), ("output_fp16", "applied")]
    assert lines(graph) == ["a = Relu(x)", "y/float32 = Neg(a)", "y = Cast<to=10>(y/float32)"]
    assert not state.ok and state.figures["y"].max_abs < 1e-2


def test_a_pass_that_makes_an_unsound_graph_is_broken(house: House) -> None:
    for name, replace, reason in (
        ("unknown_op", "y = Rely(x)", "No Op registered for Rely"),
        ("too_little", "y = Concat(x, x)", "Required attribute 'axis' is missing"),
    ):
        house.add(name, "exact", RELU_TO.format(replace))
        graph = model_of(RELU, 17)
        before = data(graph)
        state = house.run(graph, name)
        assert state.steps[0].status == "broken" and reason in state.steps[0].reason, state.steps[0].reason
        assert data(graph) == before


def test_a_pass_that_changes_a_shape_is_broken(house: House) -> None:
    house.add("flat", "lossy", RELU_TO.format("f = Flatten<axis = 0>(x) y = Abs(f)"))
    graph = model_of("g (float[2,3] x) => (float[a,b] y) { y = Relu(x) }", 17)
    state = house.run(graph, "flat")
    assert state.steps[0].status == "broken"
    assert state.steps[0].reason == "output 'y' changed its shape: [2, 3] before, [1, 6] after"


def test_a_pass_that_changes_a_type_is_broken(house: House) -> None:
    house.add("half", "lossy", "[[rewrite]]\nmatch = 'y = Neg(x)'\nreplace = 'n = Abs(x) y = Cast<to = 10>(n)'\n")
    state = house.run(model_of(RELU, 17), "half")
    assert state.steps[0].status == "broken" and "y" in state.steps[0].reason


def test_a_float16_pass_that_overflows_is_broken(house: House) -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }", 17)
    state = house.run(graph, "output_fp16", Feed({"x": np.array([1, 1e6], np.float32)}))
    assert state.steps[0].status == "broken"
    assert state.steps[0].reason == "1 values of output 'y' do not fit float16: they become infinite"


# the matrices of resize_linear_to_matmul, one of them shifted by a row

LINEAR = """g (float[1,2,{0},{0}] x) => (float[1,2,{1},{1}] y) <float[4] s = {{1,1,2,2}}> {{
  y = Resize<mode="linear">(x, , s) }}"""


@pytest.mark.parametrize("size", [4, 16])
def test_a_matrix_shifted_by_a_row_is_refused(house: House, size: int) -> None:
    shipped = (data_dir("passes") / "resize_linear_to_matmul.toml").read_text()
    body = shipped.split("[[case]]")[0].split('parity  = "close"')[1]
    height = 'over_height = "like(interp_matrix('
    assert body.count(height) == 2
    body = body.replace(height, 'straight = "like(interp_matrix(')
    shifted = "over_height = 'concat(straight[1:], straight[:1])'\nover_width"
    body = body.replace("over_width  =", f"{shifted}  =")
    house.add("shifted", "close", body)
    graph = model_of(LINEAR.format(size, 2 * size), 17)
    before = data(graph)
    good = house.run(graph, "resize_linear_to_matmul")
    assert good.steps[0].status == "applied"
    graph = model_of(LINEAR.format(size, 2 * size), 17)
    bad = house.run(graph, "shifted")
    assert bad.steps[0].status == "broken" and len(bad.steps[0].matches) == 1
    assert "times what noise explains" in bad.steps[0].reason and data(graph) == before


# -- unmatched, unmet, unchecked


def test_why_nothing_matched(house: House) -> None:
    house.add("two", "exact", RELU_TO.format("y = Abs(x)") + "where = ['rank(x) == 9']\n")
    cases = {
        "fuse_transposes": (RELU, "the model has no node that it is for"),
        "two": (RELU, "Relu_1: where[0] does not hold: rank(x) == 9 (x float32[2,3])"),
        "fuse_gelu": (RELU, "it needs opset >=20; the model has 17"),
        "remove_identity": (
            "g (float[2] x) => (float[2] a, float[2] b) { a = Identity(x) b = Identity(x) }",
            "Identity_0: it would join graph output 'a' with input or constant 'x' (and 1 more)",
        ),
    }
    for name, (text, reason) in cases.items():
        graph = model_of(text, 17)
        before = data(graph)
        step = house.run(graph, name).steps[0]
        assert (step.status, step.reason) == ("unmatched", reason)
        assert step.verdict is None and step.diff is None and data(graph) == before


def test_a_requirement_of_an_inner_pass_is_not_the_sequences(house: House) -> None:
    house.add("both", "close", 'sequence = ["fuse_gelu", "remove_identity"]\n')
    graph = model_of(RELU, 17)
    state = house.run(graph, "both")
    assert said(state.steps) == [("both", "applied")] and "Identity" not in " ".join(lines(graph))


def test_without_a_feed_nothing_is_judged(house: House) -> None:
    house.add("wrong", "exact", RELU_TO.format("y = Abs(x)"))
    graph = model_of(RELU, 17)
    state = pipeline.begin(graph, parse_pipeline("wrong", house.catalog), house.catalog, None)
    steps = list(pipeline.advance(state, house.catalog))
    assert said(steps) == [("wrong", "unchecked")] and steps[0].verdict is None


def test_a_model_that_cannot_run_ends_before_the_first_pass(house: House) -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { a = Identity(x) y = my.dom.Foo(a) }", 17)
    with pytest.raises(RunError):
        house.run(graph, "remove_identity")
    assert lines(graph) == ["a = Identity(x)", "y = my.dom.Foo(a)"]


def test_a_repair_makes_it_run_and_later_passes_are_judged(house: House) -> None:
    graph = model_of("g (float[2] x) => (float[2] y) { a = Clip<min=0.5>(x) i = Identity(a) y = Neg(i) }", 17)
    state = house.run(graph, "clip_topk_inputs,remove_identity")
    assert said(state.steps) == [("clip_topk_inputs", "applied"), ("remove_identity", "applied")]
    rules = [step.verdict.rule for step in state.steps if step.verdict]
    assert rules == ["runs", "equal"]


# -- order, counts, sequences

ROUND_TRIP = """g (float[2,3] x) => (float[2,3] y) {
  t = Transpose<perm=[1,0]>(x) i = Identity(t) u = Transpose<perm=[1,0]>(i) y = Relu(u) }"""


def test_passes_see_what_those_before_them_left(house: House) -> None:
    ahead = house.run(model_of(ROUND_TRIP, 17), "remove_identity,fuse_transposes")
    assert said(ahead.steps) == [("remove_identity", "applied"), ("fuse_transposes", "applied")]
    assert lines(ahead.graph) == ["y = Relu(x)"]
    behind = house.run(model_of(ROUND_TRIP, 17), "fuse_transposes,remove_identity")
    assert said(behind.steps) == [("fuse_transposes", "unmatched"), ("remove_identity", "applied")]
    assert [(step.nodes, len(step.matches)) for step in ahead.steps] == [((4, 3), 1), ((3, 1), 1)]


def test_the_same_pass_twice(house: House) -> None:
    state = house.run(model_of(RELU, 17), "remove_identity,remove_identity")
    assert said(state.steps) == [("remove_identity", "applied"), ("remove_identity", "unmatched")]


def test_edits_come_before_rewrites_before_boundaries(house: House) -> None:
    house.add(
        "all_three",
        "lossy",
        "interface = 'types'\n"
        "[[boundary]]\nat = 'outputs'\nwhen = { dtype = 'float32' }\ncast = 'float16'\n"
        "[[rewrite]]\nmatch = 'y = LeakyRelu<alpha = 0.5>(x)'\nreplace = 'y = Elu<alpha = 0.5>(x)'\n"
        "[[edit]]\nselect = { op = 'LeakyRelu' }\nset = { alpha = 0.5 }\n",
    )
    graph = model_of("g (float[2] x) => (float[2] y) { y = LeakyRelu(x) }", 17)
    state = house.run(graph, "all_three")
    assert lines(graph) == ["y/float32 = Elu<alpha=0.5>(x)", "y = Cast<to=10>(y/float32)"]
    assert [match.body for match in state.steps[0].matches] == ["edit[0]", "rewrite[0]", "boundary[0]"]


def test_a_sequence_is_one_step_with_its_passes_inside(house: House) -> None:
    text = """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
      <float[4,3,1,1] w, float[4] s, float[4] t, float[4] m, float[4] v = {1,2,3,4}> {
      i = Identity(x) c = Conv(i, w) j = Identity(c) y = BatchNormalization(j, s, t, m, v) k = Relu(c) }"""
    state = house.run(model_of(text, 17), "optimize")
    assert len(state.steps) == 1 and state.steps[0].nodes == (5, 1)
    assert lines(state.graph) == ["y = Conv(x, BatchNormalization_3/w2, BatchNormalization_3/b2)"]


def test_a_fixed_point_needs_more_than_one_round(house: House) -> None:
    house.add("once", "close", 'sequence = ["fuse_transposes", "remove_identity"]\n')
    house.add("often", "close", 'sequence = ["fuse_transposes", "remove_identity"]\nfixpoint = true\n')
    assert len(house.run(model_of(ROUND_TRIP, 17), "once").graph.nodes) == 3
    assert len(house.run(model_of(ROUND_TRIP, 17), "often").graph.nodes) == 1


def test_a_round_that_removes_most_of_a_graph_is_no_cycle(house: House) -> None:
    """What is too much is told by the nodes there were: a graph of few may come from thousands."""
    house.add("clean", "exact", 'sequence = ["remove_identity", "merge_equal_nodes"]\nfixpoint = true\n')
    chain = helper.make_node("Identity", ["x"], ["v0"]), helper.make_node("Relu", ["v1200"], ["y"])
    nodes = [chain[0], *(helper.make_node("Identity", [f"v{n}"], [f"v{n + 1}"]) for n in range(1200)), chain[1]]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = Graph(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))
    assert len(house.run(graph, "clean").graph.nodes) == 1


def test_a_sequence_whose_passes_undo_each_other_is_stopped(house: House) -> None:
    house.add("there", "lossy", RELU_TO.format("y = Neg(x)"))
    house.add("back", "lossy", "[[rewrite]]\nmatch = 'y = Neg(x)'\nreplace = 'y = Relu(x)'\n")
    house.add("both", "lossy", 'sequence = ["there", "back"]\nfixpoint = true\n')
    graph = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }", 17)
    before = data(graph)
    with pytest.raises(PassError) as error:
        house.run(graph, "both")
    assert str(error.value) == "both: no fixed point; its passes undo each other"
    assert data(graph) == before


def test_a_chain_of_which_each_round_takes_one_link_comes_to_its_end(house: House) -> None:
    """Each layer of a deep network may become known only once the layer before it is."""
    for op in ("Abs", "Neg"):
        rule = f"match = 'y = {op}(x)'\nwhere = [\"glob(x, 'x')\"]\nreplace = 'y = x'"
        house.add(f"take_{op.lower()}", "lossy", f"[[rewrite]]\n{rule}\n")
    house.add("both", "lossy", 'sequence = ["take_neg", "take_abs"]\nfixpoint = true\n')
    names = ["x", *(f"v{n}" for n in range(299)), "y"]
    nodes = [helper.make_node("Neg" if n % 2 else "Abs", names[n : n + 1], names[n + 1 : n + 2]) for n in range(300)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = Graph(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))
    assert lines(house.run(graph, "both").graph) == ["y = Neg(x)"]


def test_parameters_of_a_sequences_passes(house: House) -> None:
    body = 'sequence = ["prune_outputs:keep=z", "output_fp16"]\ninterface = ["subset", "types"]\n'
    house.add("smaller", "float16", body)
    graph = model_of("g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(x) }", 17)
    state = house.run(graph, "smaller")
    assert said(state.steps) == [("smaller", "applied")]
    assert [value.type_text() for value in graph.outputs] == ["float16[2]"]


def test_an_interface_change_inside_a_sequence_must_be_declared(house: House) -> None:
    house.add("smaller", "float16", 'sequence = ["output_fp16"]\n')
    state = house.run(model_of(RELU, 17), "smaller")
    assert state.steps[0].status == "broken"
    assert state.steps[0].reason == "output 'y' changed its type from float32[2,3] to float16[2,3]"


def test_an_error_in_a_later_pass_leaves_the_graph_of_the_one_before(house: House) -> None:
    graph = model_of(RELU, 17)
    with pytest.raises(PassError, match="prune_outputs: no node or tensor named 'nope'"):
        house.run(graph, "remove_identity,prune_outputs:keep=nope")
    assert lines(graph) == ["a = Relu(x)", "y = Neg(a)"]


# -- dry run, determinism


def test_a_dry_run_changes_nothing_and_shows_what_each_pass_would_see(house: House) -> None:
    graph = model_of(ROUND_TRIP, 17)
    before = data(graph)
    catalog = house.catalog
    steps = pipeline.dry_run(graph, parse_pipeline("remove_identity,fuse_transposes,fuse_gelu", catalog), catalog)
    assert [(step.name, len(step.matches)) for step in steps] == [
        ("remove_identity", 1), ("fuse_transposes", 1), ("fuse_gelu", 0),
    ]  # fmt: skip
    assert steps[2].reason == "it needs opset >=20; the model has 17"
    assert data(graph) == before and all(step.verdict is None for step in steps)
    with pytest.raises(PassError, match=r"no node or tensor named 'nope'.* \(dry run\)"):
        pipeline.dry_run(graph, parse_pipeline("prune_outputs:keep=nope", catalog), catalog)


MANY = """g (float[1,3,8,8] x, int64[3] i) => (float[1,4,16,16] y, float[1,4,8,8] z, int64[3] j)
  <float[4,3,1,1] w, float[4] s, float[4] t, float[4] m, float[4] v = {1,2,3,4}, float[4] f = {1,1,2,2}> {
  c = Conv(x, w) n = BatchNormalization(c, s, t, m, v) o = Identity(n) y = Resize<mode="linear">(o, , f)
  z = Relu(o) a = Identity(i) j = Neg(a) }"""
LONG = "optimize,resize_linear_to_matmul,rename:from=x:to=image,inputs_int32,prune_outputs:keep=y+j,output_fp16"


def test_two_runs_give_the_same_bytes(house: House, tmp_path: Path) -> None:
    files = []
    for number in range(2):
        state = house.run(model_of(MANY, 17), LONG)
        assert [status for _, status in said(state.steps)] == ["applied"] * 6, state.steps[-1].reason
        path = tmp_path / f"{number}.onnx"
        state.graph.save(path)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    again = Graph.load(tmp_path / "0.onnx")
    assert [value.type_text() for value in (*again.inputs, *again.outputs)] == [
        "float32[1,3,8,8]", "int32[3]", "float16[1,4,16,16]", "int64[3]",
    ]  # fmt: skip


def test_a_loaded_model_and_the_same_in_memory_give_the_same(house: House, tmp_path: Path) -> None:
    model_of(MANY, 17).save(tmp_path / "m.onnx")
    loaded, built = house.run(Graph.load(tmp_path / "m.onnx"), LONG), house.run(model_of(MANY, 17), LONG)
    assert data(loaded.graph) == data(built.graph)


def test_steps_come_one_by_one(house: House) -> None:
    graph = model_of(MANY, 17)
    catalog = house.catalog
    state = pipeline.begin(graph, parse_pipeline("optimize,output_fp16", catalog), catalog, draw(graph))
    steps = pipeline.advance(state, catalog)
    assert next(steps).name == "optimize" and not any(node.op_type == "Cast" for node in graph.nodes)
    assert next(steps).name == "output_fp16" and len(state.steps) == 2


def test_a_budget_stops_a_lossy_pass_and_rolls_back(house: House) -> None:
    graph = model_of(MANY, 17)
    catalog = house.catalog
    budgets = [parse_budget("y:max_abs=1e-9", "max")]
    state = pipeline.begin(graph, parse_pipeline("resize_nearest", catalog), catalog, draw(graph), budgets)
    step = next(pipeline.advance(state, catalog))
    assert step.status == "broken" and "max_abs" in step.reason
    assert 'mode="linear"' in " ".join(lines(graph))


def test_every_error_of_a_pass_is_a_graphtool_error(house: House) -> None:
    """Whatever a pass asks of a graph that it was not written for, the caller catches one class."""
    for name in ("adaptive_pool_exact", "fuse_gelu", "clip_topk_inputs", "resize_linear_to_matmul"):
        for opset in (1, 7, 25):
            graph = model_of("g (float[2] x) => (float[2] y) { y = Neg(x) }", opset)
            try:
                house.run(graph, name)
            except GraphtoolError as error:
                assert str(error)


def test_a_match_that_changes_the_shape_of_a_stored_inner_value_is_refused(house: House) -> None:
    """No output shows it; the next pass would believe the stored shape."""
    rewrite = "match = 'u = Unsqueeze(x, k)  y = Squeeze(u, k)'\nreplace = 'y = Flatten<axis = 0>(x)'"
    house.add("flat", "exact", f"[[rewrite]]\n{rewrite}\n")
    text = """g (float[2,5] x) => (float[5,2] y) <int64[1] k = {0}, int64[2] s = {5, 2}> {
      a = Unsqueeze(x, k) u = Squeeze(a, k) y = Reshape(u, s) }"""
    graph = model_of(text, 17)
    assert house.run(graph.copy(), "flat").ok
    graph.header.value_info.append(helper.make_tensor_value_info("u", TensorProto.FLOAT, [2, 5]))
    step = house.run(graph, "flat").steps[0]
    assert step.status == "broken"
    assert step.reason == "match 'Squeeze_1' makes 'u' float32[1,10], which was float32[2,5]"
