"""Two models that compute alike under other names: what is paired, and where they part."""

from __future__ import annotations

import numpy as np
import pytest
from clirun import Cli

from graphtool.cases import model_of
from graphtool.comparator import Comparison, compare_models, trials_for
from graphtool.comparator.feeds import compare_feeds
from graphtool.comparator.parts import chunks
from graphtool.comparator.sketch import partners, sketch
from graphtool.errors import FeedError, PromiseError, UsageError
from graphtool.graph import Graph
from graphtool.graph.bodies import all_names
from graphtool.natives import rename
from graphtool.parity.budget import parse_budget
from graphtool.parity.feed import Feed
from graphtool.parity.runerror import RunError
from graphtool.parity.trials import Trial
from graphtool.rewrite import Catalog, apply_stage, parse_pipeline

NET = """g (float[1,3,12,12] x) => (float[1,4,12,12] y, float[1,4,12,12] z)
<float[4,3,3,3] w1, float[4,4,3,3] w2, float[4,4,3,3] w3, float[4,4,1,1] w4, float[4] scale, float[4] bias,
 float[4] mean, float[4] var = {1, 2, 1, 3}> {
  [c1] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
  [r1] b = Relu(a)
  [c2] c = Conv<pads = [1, 1, 1, 1]>(b, w2)
  [bn] d = BatchNormalization(c, scale, bias, mean, var)
  [r2] e = Relu(d)
  [c3] f = Conv<pads = [1, 1, 1, 1]>(e, w3)
  [s] h = Sigmoid(f)
  [plus] y = Add(h, b)
  [c4] z = Conv(b, w4)
}"""


def net(text: str = NET) -> Graph:
    return model_of(text, 13)


def renamed(graph: Graph) -> Graph:
    """Return the graph with a new name for every value and node, none of them in the old order."""
    values = sorted(all_names(graph.proto.graph))
    nodes = sorted(node.name for node in graph.nodes if node.name)
    own = graph.copy()
    new = [f"t{(7 * place) % len(values)}_{place}" for place in range(len(values))]
    rename.apply(own, {"from": [*values, *nodes], "to": [*new, *(f"n{place}" for place in range(len(nodes)))]})
    return own


def nudged(graph: Graph, name: str, by: float) -> Graph:
    own = graph.copy()
    array = np.array(own.array(own.initializers[name]))
    array.reshape(-1)[3] += by
    own.drop_initializers([name])
    own.put_initializer(name, array)
    return own


def permuted(graph: Graph) -> Graph:
    own = graph.copy()
    infos = list(own.header.output)[::-1]
    del own.header.output[:]
    own.header.output.extend(infos)
    own.reindex()
    return own


def pairs(found: Comparison) -> dict[str, str]:
    return {pair.before: pair.how for pair in found.outputs}


def test_names_that_all_changed_and_outputs_that_changed_places() -> None:
    found = compare_models(net(), permuted(renamed(net())))
    assert pairs(found) == {"y": "values", "z": "values"} and found.inputs[0].how == "type"
    assert all(figures.changed == 0 for figures in found.figures.values())
    assert not found.diverging and found.first is None and not found.rows


@pytest.mark.parametrize(("weight", "culprit", "node"), [("w1", "a", "c1"), ("w2", "c", "c2"), ("w3", "f", "c3")])
def test_a_changed_weight_in_the_middle_is_found_under_other_names(weight: str, culprit: str, node: str) -> None:
    found = compare_models(net(), permuted(renamed(nudged(net(), weight, 0.25))))
    assert found.first is not None and found.first.row.pair.before == culprit
    assert found.first.row.nodes[0] == node and len(found.first.before) == len(found.first.after) == 1
    assert found.first.details[0].startswith(f"input 1, weight {weight} / t") and "1 of " in found.first.details[0]
    assert next(row.pair.before for row in found.rows if row.passed_on) == culprit
    before = [row for row in found.rows if row.pair.before in "abcdefh"[: "abcdefh".index(culprit)]]
    assert all(row.verdict == "equal" for row in before)


def test_a_changed_attribute_is_named() -> None:
    other = renamed(net(NET.replace("[c3] f = Conv<pads = [1, 1, 1, 1]>", "[c3] f = Conv<pads = [2, 2, 0, 0]>")))
    found = compare_models(net(), other)
    assert found.first is not None and found.first.row.pair.before == "f"
    assert found.first.details == ("attribute pads: [1, 1, 1, 1] / [2, 2, 0, 0]",)


FOLDED = NET.replace("[bn] d = BatchNormalization(c, scale, bias, mean, var)\n", "").replace("Relu(d)", "Relu(c)")


def folded(by: float = 0.0) -> Graph:
    """Return the net with its BatchNormalization folded into the convolution before it."""
    graph, own = net(), net(FOLDED.replace("(b, w2)", "(b, w2, bias)"))
    scale, bias, mean, var, w2 = (np.array(graph.constant(n)) for n in ("scale", "bias", "mean", "var", "w2"))
    factor = scale / np.sqrt(var + np.float32(1e-5))
    own.drop_initializers(["w2", "bias"])
    own.put_initializer("w2", (w2 * factor[:, None, None, None]).astype(np.float32))
    own.put_initializer("bias", (bias - mean * factor + np.float32(by)).astype(np.float32))
    return own


def test_a_folded_layer_agrees_by_its_values() -> None:
    found = compare_models(net(), renamed(folded()), layers=True)
    assert not found.diverging and found.first is None
    rows = {row.pair.before: row for row in found.rows}
    assert "c" not in rows, "what the convolution alone makes is nowhere in the other model"
    assert rows["d"].ops == ("BatchNormalization", "Conv") and rows["d"].pair.how == "values"
    assert all(row.verdict != "diverges" for row in found.rows)


def test_a_layer_folded_wrongly_is_named_with_all_that_it_replaced() -> None:
    found = compare_models(net(), renamed(folded(0.5)))
    assert found.first is not None
    assert [text.split("]")[0] for text in found.first.before] == ["[c2", "[bn", "[r2"]
    assert [text.split(" = ")[1].split("(")[0].split("<")[0] for text in found.first.after] == ["Conv", "Relu"]


def test_what_is_not_passed_on_is_not_blamed() -> None:
    text = "g (float[4,8] x) => (float[4,8] y) { n = Neg(x) a = Abs(n) y = Exp(a) }"
    other = text.replace("n = Neg(x)", "n = Identity(x)").replace("Abs(n)", "Abs(n)")
    found = compare_models(net(text), renamed(net(other)), layers=True)
    assert not found.diverging and found.first is None


def test_one_way_to_compute_and_another_agree_within_what_rounding_explains() -> None:
    text = "g (float[4,64] x) => (float[4,64] y) <float[64,64] w, float[64,64] v> { a = MatMul(x, w) y = MatMul(a, v) }"
    other = (
        "g (float[4,64] x) => (float[4,64] y) <float[64,64] w, float[64,64] v> { wv = MatMul(w, v) y = MatMul(x, wv) }"
    )
    found = compare_models(net(text), net(other))
    assert found.figures["y"].changed > 0 and not found.diverging
    strict = compare_models(net(text), net(other), budgets=[parse_budget("max_abs=0", "max")])
    assert strict.diverging == ("y",) and strict.broken and strict.first is not None


def test_little_memory_gives_the_same_answer() -> None:
    models = net(), renamed(nudged(net(), "w2", 0.25))
    whole, pieces = (compare_models(*models, most=most) for most in (1 << 29, 3000))
    assert whole.first == pieces.first
    assert [row.pair for row in whole.rows if row.passed_on] == [row.pair for row in pieces.rows if row.passed_on]
    assert list(chunks("abcde", [2, 2, 2, 9, 1], 4)) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_inputs_of_other_types_and_open_sizes_see_the_same_numbers() -> None:
    a = net("g (float[N,4] x, float[N,4] u) => (float[N,4] y) { y = Sub(x, u) }")
    b = net("g (float[3,4] u, float[3,4] x) => (float[3,4] y) { y = Sub(x, u) }")
    assert compare_models(a, b).figures["y"].changed == 0
    half = net("g (float16[3,4] p) => (float[3,4] y) { c = Cast<to = 1>(p) y = Neg(c) }")
    full = net("g (float[N,4] q) => (float[N,4] y) { y = Neg(q) }")
    assert compare_models(full, half).figures["y"].changed == compare_models(half, full).figures["y"].changed == 0


TWO = "g (float[2,9] x) => (float[2,9] y, float[2,9] z) { y = Neg(x) z = Exp(x) }"
MAPPED = [
    (["y=q", "z=p"], {"y": "q", "z": "p"}),
    (["y=p"], {"y": "p", "z": "q"}),
]


@pytest.mark.parametrize(("maps", "wanted"), MAPPED)
def test_a_map_overrides(maps: list[str], wanted: dict[str, str]) -> None:
    other = net("g (float[2,9] x) => (float[2,9] p, float[2,9] q) { p = Cos(x) q = Sin(x) }")
    found = compare_models(net(TWO), other, maps=maps)
    assert {pair.before: pair.after for pair in found.outputs} == wanted


def test_what_cannot_be_told_apart_is_paired_in_order_and_said() -> None:
    other = net("g (float[2,9] x) => (float[2,9] p, float[2,9] q) { p = Cos(x) q = Sin(x) }")
    found = compare_models(net(TWO), other)
    assert pairs(found) == {"y": "position", "z": "position"}
    assert found.notes == (
        "outputs 'y', 'z' have one type and shape, and neither structure nor values tell which is which: paired by "
        "position, --map NAME_A=NAME_B says otherwise",
    )


def test_outputs_that_swapped_their_names_are_pointed_out() -> None:
    other = net("g (float[2,9] x) => (float[2,9] y, float[2,9] z) { y = Exp(x) z = Neg(x) }")
    found = compare_models(net(TWO), other)
    assert found.notes[0].startswith("output 'y' of the first model equals 'z' of the second")


BAD: list[tuple[str, str, list[str], type[Exception], str]] = [
    (TWO, "g (float[2,9] x) => (float[2,9] p) { p = Cos(x) }", [], UsageError, "'p' of the second model may be 'y'"),
    (TWO, "g (float[2,9] x) => (int64[2] p) { p = Shape(x) }", [], UsageError, "no output of one model can be one of"),
    (TWO, "g (float[9,2] x) => (float[9,2] y) { y = Cos(x) }", [], UsageError, "no input fits both"),
    (TWO, "g (float[2,9] a, float[2,9] b) => (float[2,9] y) { y = Add(a, b) }", [], UsageError, "may be 'x' of the"),
    (TWO, "g (float[2,9] x, int64[1] n) => (float[2,9] y) { y = Neg(x) }", [], UsageError, "'n', int64[1], of the"),
    (TWO, TWO, ["y"], UsageError, "--map y: expected NAME_A=NAME_B"),
    (TWO, TWO, ["w=y"], UsageError, "the first model has no input or output 'w'"),
    (TWO, TWO, ["y=w"], UsageError, "the second model has no such input or output 'w'"),
    (TWO, TWO, ["y=z", "z=z"], UsageError, "--map z=z: 'z' is mapped twice"),
    (
        "g (float[2,9] x) => (float[2,9] y) { r = RandomNormalLike(x) y = Add(r, x) }", TWO, [], PromiseError,
        "the first model disagrees with itself: output 'y'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "maps", "kind", "says"), BAD)
def test_what_does_not_fit_is_one_line(one: str, other: str, maps: list[str], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        compare_models(net(one), net(other), maps=maps)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_feed_that_the_second_model_does_not_take() -> None:
    with pytest.raises(FeedError, match=r"dimension 0 of 'x' is fixed to 2 in the second model"):
        compare_models(
            net("g (float[N,9] x) => (float[N,9] y) { y = Neg(x) }"), net(TWO), feed={"x": np.ones((3, 9), np.float32)}
        )


def test_sketches_tell_tensors_apart() -> None:
    one, two = (np.random.default_rng(seed).normal(size=(4, 5, 6)).astype(np.float32) for seed in (0, 1))
    drawn = [found for array in (one, two, one + np.float32(1e-6)) if (found := sketch(array)) is not None]
    assert len(drawn) == 3 and sketch(np.zeros(100)) is None and sketch(one[0, 0]) is None
    assert partners([("a", drawn[0]), ("b", drawn[1])], [("q", drawn[1]), ("p", drawn[2])]) == {"a": "p", "b": "q"}


# -- the command


@pytest.fixture
def models(cli: Cli) -> Cli:
    net().save(cli.folder / "a.onnx")
    permuted(renamed(nudged(net(), "w2", 0.25))).save(cli.folder / "b.onnx")
    return cli


def test_the_command_names_the_culprit(models: Cli) -> None:
    out = models.apart("compare", "a.onnx", "b.onnx").splitlines()
    assert out[0].startswith("input x / t") and out[0].endswith("(by type and shape)")
    assert any(text.startswith("first diverging tensor: c / t") for text in out)
    assert [text[:35] for text in out if text.startswith("  first")] == ["  first model   [c2] c = Conv<pads="]
    assert sum(text.startswith("  second model  [n") for text in out) == 1
    assert models.apart("compare", "a.onnx", "b.onnx") == "\n".join([*out, ""])


def test_the_command_shows_layers_and_json(models: Cli) -> None:
    rows = models.apart("compare", "a.onnx", "b.onnx", "--layers").splitlines()
    head = next(place for place, text in enumerate(rows) if text.startswith("tensor "))
    assert [text.split()[0] for text in rows[head + 1 : head + 9]] == list("abcdefhy")
    data = models("compare", "a.onnx", "b.onnx", "--layers", "--json").json()
    assert data["first_divergence"]["before"] == "c" and data["first_divergence"]["nodes"][0] == "c2"
    assert [row["before"] for row in data["layers"]] == list("abcdefhyz")
    assert data["tensors"] == {"before": 9, "after": 9, "compared": 9, "agree": 3}


def test_what_diverges_or_a_budget_decides_the_exit_code(models: Cli) -> None:
    data = models("compare", "a.onnx", "b.onnx", "--json")
    assert data.code == 1 and data.json()["ok"] is False and "rounding explains" in data.json()["reasons"][0]
    assert models("compare", "a.onnx", "a.onnx", "--json").json()["ok"] is True
    report = models("compare", "a.onnx", "b.onnx", "--report", "github:-").out
    assert report.startswith("::error ") and "title=graphtool diverging::output " in report
    assert models("compare", "a.onnx", "b.onnx", "--max", "max_abs=100").code == 0
    ended = models("compare", "a.onnx", "b.onnx", "--max", "max_abs=1e-3")
    assert ended.code == 1 and "first diverging tensor: c / " in ended.out
    assert ended.err.startswith("graphtool: over the budget: output ")


WORDS: list[tuple[list[str], str]] = [
    (["compare", "a.onnx", "b.onnx", "--map", "y=no"], "no such input or output 'no'"),
    (["compare", "a.onnx", "b.onnx", "--max", "no:max_abs=1"], "no output named 'no'"),
    (["compare", "a.onnx", "gone.onnx"], "no file 'gone.onnx'"),
]


@pytest.mark.parametrize(("words", "says"), WORDS)
def test_bad_words(models: Cli, words: list[str], says: str) -> None:
    assert says in models.refused(*words)


def test_a_model_in_float16_is_held_to_what_float16_explains() -> None:
    text = "g (float[4,64] x) => (float[4,64] y) <float[64,64] w, float[64,64] v> { a = MatMul(x, w) y = MatMul(a, v) }"
    half = net(text)
    stage = parse_pipeline("float16_model:keep_io=true", Catalog())[0]
    apply_stage(half, stage, Catalog())
    found = compare_models(net(text), renamed(half))
    assert found.figures[found.outputs[0].after].max_abs > 1e-3 and not found.diverging
    assert found.notes and "float16" in found.notes[0]
    worse = compare_models(
        net(text), renamed(nudged(half, "v/float16" if "v/float16" in half.initializers else "v", 9))
    )
    assert worse.diverging and worse.first is not None and worse.first.row.pair.before == "y"


def test_which_model_cannot_run_is_said() -> None:
    with pytest.raises(RunError, match=r"^the second model: onnxruntime cannot run node 'r' \(Reshape\)"):
        compare_models(
            net("g (float[N] x) => (float[N] y) { y = Neg(x) }"),
            net("g (float[N] x) => (float[M] y) <int64[1] s = {7}> { [r] y = Reshape(x, s) }"),
        )


def test_swapped_inputs_are_named() -> None:
    text = """g (float[4,8] x) => (float[4,8] y) <float[8,8] w, float[8,8] v> {
      a = MatMul(x, w) b = MatMul(x, v) c = Sub(a, b) y = Exp(c)
    }"""
    found = compare_models(net(text), net(text.replace("Sub(a, b)", "Sub(b, a)")))
    assert found.first is not None and found.first.row.pair.before == "c"
    assert found.first.details == (
        "input 0: a / b, which is b in the first model", "input 1: b / a, which is a in the first model",
    )  # fmt: skip


# -- several feeds


def trial(name: str, must: bool = True, **arrays: object) -> Trial:
    feed = {key: np.array(array, np.float32) for key, array in arrays.items()}
    return Trial(Feed(feed, {"source": name}), must)


CLIPPED = "g (float[2] x) => (float[2] y) <float hi = {%s}> { a = Min(x, hi) y = Neg(a) }"


def test_the_worst_of_several_feeds_counts_and_is_named() -> None:
    a, b = net(CLIPPED % 6), net(CLIPPED % 5)
    trials = [trial("low", x=[1, 2]), trial("high", x=[1, 9]), trial("between", x=[1, 5.5])]
    found = compare_feeds(a, b, trials)
    assert found.feed == "high" and [one.feed for one in found.feeds] == ["low", "high", "between"]
    assert [one.diverging for one in found.feeds] == [(), ("y",), ("y",)]
    assert found.figures["y"].max_abs == 1 and found.figures is found.feeds[1].figures
    assert found.first is not None and found.first.row.pair.before == "a"
    assert [one.figures["y"].max_abs for one in found.feeds] == [0, 1, 0.5]


def test_a_budget_decides_which_feed_is_the_worst() -> None:
    a, b = net("g (float[2] x) => (float[2] y) { y = Neg(x) }"), net(CLIPPED % 5)
    trials = [trial("far", x=[60, 70]), trial("turned", x=[1, 10])]
    far = compare_feeds(a, b, trials, budgets=[parse_budget("max_abs=1", "max")])
    turned = compare_feeds(a, b, trials, budgets=[parse_budget("cosine=0.9999", "min")])
    assert (far.feed, turned.feed) == ("far", "turned")
    assert far.broken[0].endswith("(feed: far)") and len(far.broken) == 2, "those of every feed, the worst first"


def test_feeds_that_need_not_run_are_left_out_and_said() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Log(x) }"
    again = compare_feeds(net(text), net(text), [trial("good", x=[1, 2]), trial("zeros", must=False, x=[0, 0])])
    assert [one.feed for one in again.feeds] == ["good"]
    assert again.notes == ("not compared on zeros: the first model makes infinities or NaN of it",)
    taken = "g (float[2] x) => (float[M] y) <int64[1] s = {0}> { i = Cast<to = 7>(x) y = Gather(x, i) }"
    found = compare_feeds(net(taken), net(taken), [trial("good", x=[0, 1]), trial("large", must=False, x=[0, 9])])
    assert len(found.notes) == 1 and found.notes[0].startswith("not compared on large: the first model: ")
    with pytest.raises(RunError, match=r"^on large: the first model: "):
        compare_feeds(net(taken), net(taken), [trial("good", x=[0, 1]), trial("large", x=[0, 9])])


def test_drawn_feeds_have_the_sizes_that_the_second_model_fixed() -> None:
    text = "g (float[%s,3] x) => (float[%s,3] y) { y = Relu(x) }"
    a, b = net(text % ("N", "N")), net(text % (4, 4))
    trials = trials_for(a, b, count=3)
    assert [one.feed.arrays["x"].shape for one in trials] == [(4, 3)] * 3
    assert len(trials_for(a, b)) == 1, "one feed, unless more are asked for"
    assert len(trials_for(a, b, given=trials[:2])) == 2 and len(trials_for(a, b, given=trials[:2], count=2)) == 4
    found = compare_feeds(a, b, trials)
    assert [one.feed for one in found.feeds] == [f"drawn with seed {seed}" for seed in range(3)]


def test_compare_on_several_feeds_from_the_command_line(cli: Cli) -> None:
    cli.save("a.onnx", CLIPPED % 6)
    cli.save("b.onnx", CLIPPED % 5)
    for name, array in (("low", [1, 2]), ("high", [1, 9])):
        np.save(cli.folder / f"{name}.npy", np.array(array, np.float32))
    words = ["compare", "a.onnx", "b.onnx", "--feed", "low.npy", "--feed", "high.npy"]
    out = cli.apart(*words)
    assert out.startswith("the worst of 2 feeds: high.npy\ny: max 1, ") and "  low.npy: y: equal\n" in out
    assert "first diverging tensor: a: max 1" in out
    data = cli(*words, "--json", "--max", "max_abs=0.5")
    assert data.code == 1 and "max_abs 1 is above the budget 0.5 (feed: high.npy)" in data.err
    assert data.json()["feed"] == "high.npy" and [one["ok"] for one in data.json()["feeds"]] == [True, False]
    out = cli.apart("compare", "a.onnx", "b.onnx", "--feeds", "2", "--extremes")
    assert (
        out.startswith("the worst of 5 feeds: constants\n")
        and "  drawn with seed 1: " in out
        and "  zeros: y: equal" in out
    )
    for words in (["--as-ascend"], ["out", "--inputs", "in"]):
        (cli.folder / "out").mkdir(exist_ok=True)
        assert "--feeds, --extremes: they are for two models" in cli.refused(
            "compare", "a.onnx", *words, "--feeds", "2", "--extremes"
        )
