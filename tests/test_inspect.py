"""What a model costs: sizes, multiply-adds, bytes, memory, with open sizes too; and bounds on a device."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from clirun import Cli

from graphtool.analysis.amounts import Poly, amount_of, ceil_to, is_at_least, product, total_of
from graphtool.analysis.bind import bound
from graphtool.analysis.device import device_of, devices, read
from graphtool.analysis.layout import conversion, conversions
from graphtool.analysis.measure import ModelCost, measure
from graphtool.analysis.roofline import against_measured, roofline
from graphtool.analysis.sizes import Sizes
from graphtool.cases import model_of
from graphtool.errors import ProfileError, UsageError
from graphtool.graph import Graph, check
from graphtool.lint.engine import check as check_rules
from graphtool.lint.rulefile import shipped_rules
from graphtool.lint.target import Aim
from graphtool.report.costs import costs_csv, costs_of

CORPUS = Path(__file__).resolve().parents[2] / "shared/corpus/models"


def cost(text: str, opset: int = 17, **shapes: tuple[int, ...]) -> ModelCost:
    """Return what a graph costs, inputs bound to ``shapes``."""
    graph = model_of(text, opset)
    check(graph)
    return measure(bound(graph, shapes))


# -- amounts


def test_amounts_are_exact_and_symbols_stay() -> None:
    n, two = amount_of({("N",): 1}), amount_of({(): 2})
    assert two == 2 and isinstance(two, int)
    assert str(n * n * 3 + n - n + 4) == "3*N*N + 4"
    assert str(product([n, 5, amount_of({("M",): 2})])) == "10*M*N"
    assert product([None, 0]) == 0 and product([None, 2]) is None
    assert total_of([1, None, n]) == (amount_of({(): 1, ("N",): 1}), 1)
    assert n - n == 0 and isinstance(n + 1, Poly)
    assert is_at_least(n * 2 + 1, n) and not is_at_least(n, 5) and not is_at_least(5, n)
    assert ceil_to(19, 16) == 32 and ceil_to(n, 16) is None


# -- multiply-adds, by the definition of each operator


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("g (float[2,4,9,9] x) => (float[2,6,7,7] y) <float[6,4,3,3] w> { y = Conv(x, w) }", 2 * 6 * 49 * 36),
        ("g (float[1,4,9] x) => (float[1,4,9] y) <float[4,1,1] w> { y = Conv<group = 4>(x, w) }", 4 * 9),
        ("g (float[1,2,9] x) => (float[1,4,9] y) <float[4,2,1] w, float[4] b> { y = Conv(x, w, b) }", 4 * 9 * 3),
        ("g (float[3,2] x, float[2,5] w, float[5] c) => (float[3,5] y) { y = Gemm(x, w, c) }", 3 * 5 * 3),
        (
            "g (float[1,4,5,5] x) => (float[1,6,11,11] y) <float[4,3,3,3] w> "
            "{ y = ConvTranspose<strides = [2,2], group = 2>(x, w) }",
            4 * 25 * 27,
        ),
        ("g (float[7,2,3] x, float[3,5] w) => (float[7,2,5] y) { y = MatMul(x, w) }", 7 * 2 * 5 * 3),
        ("g (float[3] x, float[3] w) => (float y) { y = MatMul(x, w) }", 3),
        ("g (float[3,2] x, float[3,5] w) => (float[2,5] y) { y = Gemm<transA = 1>(x, w) }", 2 * 5 * 3),
        ('g (float[2,3] x, float[3,4] w) => (float[2,4] y) { y = Einsum<equation = "ij,jk->ik">(x, w) }', 24),
        (
            "g (float[5,2,3] x) => (float[5,1,2,4] y) <float[1,16,3] w, float[1,16,4] r> "
            "{ y = LSTM<hidden_size = 4>(x, w, r) }",
            10 * (48 + 64),
        ),
        ("g (float[2,3] x) => (float[2,3] y) { a = Relu(x)  y = Add(a, x) }", 0),
    ],
)  # fmt: skip
def test_multiply_adds(text: str, wanted: int) -> None:
    assert cost(text).total.madds == wanted


def test_open_sizes_stay_symbols_until_they_are_bound() -> None:
    text = "g (float[N,3,H,W] x) => (float[N,8,H,W] y) <float[8,3,1,1] w> { y = Conv(x, w) }"
    found = cost(text)
    assert str(found.total.madds) == "24*H*N*W" and str(found.total.bytes_out) == "32*H*N*W"
    assert str(found.peak.bytes) == "44*H*N*W" and found.weight_bytes == 96
    fixed = cost(text, x=(2, 3, 10, 10))
    assert (fixed.total.madds, fixed.peak.bytes, fixed.nodes[0].outputs[0].text()) == (4800, 8800, "float32[2,8,10,10]")
    with pytest.raises(UsageError, match="no input named 'z'"):
        cost(text, z=(1,))


def test_computed_sizes_are_sums_and_products() -> None:
    text = "g (float[N,4] x, float[M,4] u) => (float[K,4] y) { y = Concat<axis = 0>(x, u) }"
    assert str(cost(text).nodes[0].bytes_out) == "16*M + 16*N"


def test_what_is_not_known_is_counted() -> None:
    found = cost("g (float[4] x) => (int64[1,K] y) { y = NonZero(x) }")
    assert found.nodes[0].bytes_out is not None and "K" not in str(found.nodes[0].bytes_out), "a symbol of its own"
    unknown = cost("g (float[4] x) => (float[K] y) { y = my.Op(x) }")
    assert unknown.total.unknown == 1 and unknown.nodes[0].bytes_out is None


# -- memory


def test_peak_is_what_is_alive_at_once() -> None:
    """Inputs to the end, outputs to the end, the rest until its last reader."""
    chain = "g (float[10] x) => (float[10] y) { a = Relu(x)  b = Abs(a)  c = Neg(b)  y = Exp(c) }"
    assert cost(chain).peak.bytes == 120, "input, one value read, one made"
    branch = "g (float[10] x) => (float[10] y) { a = Relu(x)  b = Abs(a)  c = Neg(b)  y = Add(c, a) }"
    assert (cost(branch).peak.bytes, cost(branch).peak.candidates[0][1]) == (160, "Neg_2")
    held = """g (bool p, float[10] x) => (float[10] y) { a = Relu(x)  b = Abs(x)  c = Neg(b)  y = If(p) <
      then_branch = t () => (float[10] u) { u = Add(a, c) }, else_branch = e () => (float[10] v) { v = Exp(c) }> }"""
    assert cost(held).peak.bytes == 161, "a body reads a at the end: input, p, a, b, c, then a, c, y"


def test_peaks_that_depend_on_sizes_are_all_named() -> None:
    text = """g (float[N] x, float[M] u) => (float[N] y, float[M] v) {
      a = Relu(x)  b = Abs(a)  y = Neg(b)  c = Relu(u)  d = Abs(c)  v = Neg(d) }"""
    candidates = {str(amount) for amount, _ in cost(text).peak.candidates}
    assert candidates == {"4*M + 12*N", "12*M + 8*N"} and cost(text).peak.bytes is None


# -- groups


def test_by_op_and_by_scope() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y) <float[2,2,1,1] w> {
      ["/net/head/Conv"] a = Conv(x, w)  ["/net/head/Relu"] b = Relu(a)  ["/net/tail/Relu"] y = Relu(b) }"""
    found = cost(text)
    assert [(g.key, g.nodes, g.madds) for g in found.groups("op")] == [("Conv", 1, 64), ("Relu", 2, 0)]
    assert [(g.key, g.nodes) for g in found.groups("scope")] == [("net/head", 2), ("net/tail", 1)]
    assert [g.key for g in found.groups("scope", 1)] == ["net"]
    assert found.total.bytes_in == 3 * 128 and found.total.weights == 16


def test_nodes_in_bodies_are_counted_once_each() -> None:
    text = """g (bool p, float[2,2] x) => (float[2,2] y) { y = If(p) <
      then_branch = t () => (float[2,2] a) { a = MatMul(x, x) },
      else_branch = e () => (float[2,2] b) { b = Relu(x) }> }"""
    found = cost(text)
    assert (found.total.madds, found.bodies) == (8, 2)


# -- devices


def test_the_guides_conversion_is_within_twice_its_bound_in_float16_and_far_off_in_float32() -> None:
    device = device_of("Ascend310")
    assert device is not None
    shape = (1, 19, 1024, 2048)
    half, single = (conversion("y", shape, True, "", size, device.channels) for size in (2, 4))
    assert (half.padded, half.plain, half.bytes) == (67_108_864, 39_845_888, 213_909_504)
    assert 1 < 5.4832e-3 / device.transfer(half.bytes) < 2
    assert 558.2315e-3 / device.transfer(single.bytes) > 50
    near, far, _ = against_measured(device)
    assert "bandwidth explains it" in near and "a slow kernel explains it, not bandwidth" in far


def test_every_figure_of_a_device_has_a_source() -> None:
    assert [device.name for device in devices()] == ["ascend310", "ascend310p3"]
    assert all(all(device.sources[key] for key in ("flops", "bandwidth", "memory", "channels")) for device in devices())
    assert device_of("Ascend910") is None


def test_a_broken_device_file_is_one_line(tmp_path: Path) -> None:
    head = 'summary = "s"\nsoc = ["X"]\nfloat16_flops = 1.0\n'
    (tmp_path / "x.toml").write_text(f'{head}flops_source = "a"\nflops_date = "b"\n')
    with pytest.raises(ProfileError, match=r"x\.toml: bandwidth_source: is missing"):
        read(tmp_path / "x.toml")


def test_conversions_are_where_the_formats_meet() -> None:
    text = """g (float[1,3,8,8] x) => (float[1,16,16,16] y, float[1,8,8,16] z)
      <float[16,3,1,1] w, float[0] r = {}, float[4] s = {1,1,2,2}> {
      a = Conv(x, w)  b = Relu(a)  z = Transpose<perm = [0,2,3,1]>(b)  y = Resize<mode = "linear">(b, r, s) }"""
    graph = model_of(text, 11)
    check(graph)
    found = [(c.value, c.leaves, c.reader, c.element) for c in conversions(graph, Sizes(graph))]
    assert found == [("x", False, "Conv_0", 2), ("b", True, "Transpose_2", 2), ("y", True, "(output)", 4)]
    halves = [c.element for c in conversions(graph, Sizes(graph), half_out=True)]
    assert halves == [2, 2, 2], "output_type FP16"


def test_bounds_are_the_larger_of_computing_and_moving() -> None:
    device = device_of("Ascend310")
    assert device is not None
    text = """g (float[1,512,64,64] x) => (float[1,512,64,64] y) <float[512,512,3,3] w> {
      a = Conv<pads = [1,1,1,1]>(x, w)  y = Relu(a) }"""
    graph = model_of(text, 17)
    check(graph)
    found = roofline(graph, measure(graph), device)
    conv, relu = found.nodes
    assert conv is not None and relu is not None and found.whole is not None
    assert (conv.limit, relu.limit) == ("compute", "memory")
    assert relu.seconds == pytest.approx(2 * 2 * 512 * 64 * 64 / 51.2e9)
    assert conv.seconds == pytest.approx(2 * 512 * 64 * 64 * 512 * 9 / 11e12)
    assert found.whole.seconds <= found.each + found.converted


# -- the command

NET = """g (float[N,3,8,8] x) => (float[N,4,8,8] y) <float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}> {
  [c] a = Conv(x, w)  [r] y = Relu(a) }"""


def test_table_json_and_csv_say_the_same(cli: Cli) -> None:
    cli.save("m.onnx", NET)
    out = cli.ok("inspect", "m.onnx", "--by", "node")
    assert "multiply-adds 768*N" in out and "1024*N" in out
    data = cli("inspect", "m.onnx", "--by", "node", "--json").json()["costs"]
    assert [row["madds"] for row in data["rows"]] == ["768*N", 0] and data["peak"]["bytes"] == "2816*N"
    rows = list(csv.DictReader(io.StringIO(cli.ok("inspect", "m.onnx", "--csv"))))
    assert [(row["name"], row["madds"], row["outputs"]) for row in rows] == [
        ("c", "768*N", "float32[N,4,8,8]"), ("r", "0", "float32[N,4,8,8]"),
    ]  # fmt: skip
    bound_ = cli("inspect", "m.onnx", "--shape", "x:2,3,8,8", "--json").json()["costs"]
    assert bound_["total"]["madds"] == 1536


def test_bounds_are_labelled_and_sourced(cli: Cli) -> None:
    cli.save("m.onnx", NET)
    out = cli.ok("inspect", "m.onnx", "--shape", "x:1,3,8,8", "--soc", "Ascend310")
    assert "from published figures; no prediction" in out and "the model takes at least" in out
    assert "measured: TransData of 1x19x1024x2048 float16: bound 4.18 ms, measured 5.483 ms" in out
    assert "the model takes at least" not in cli.ok("inspect", "m.onnx", "--soc", "Ascend310"), "sizes are open"


def test_a_run_says_what_each_pass_costs(cli: Cli) -> None:
    cli.save(
        "m.onnx",
        "g (float[1,4,16,16] x) => (float[1,4,2,2] y) { [p] y = AveragePool<kernel_shape=[8,8], strides=[8,8]>(x) }",
    )
    words = ["run", "m.onnx", "-p", "avg_pool_to_matmul:area=16,remove_identity"]
    assert "  cost of all nodes: multiply-adds 0 -> 2304 (new), bytes 4.16 kB -> 5.44 kB (+30.8 %)" in cli.ok(*words)
    first, second = cli(*words, "-o", "n.onnx", "--json").json()["steps"]
    assert first["cost"] == {"madds": [0, 2304], "bytes": [4160, 5440]} and second["cost"] is None


def test_wrong_words(cli: Cli) -> None:
    cli.save("m.onnx", NET)
    assert "give --by scope" in cli.refused("inspect", "m.onnx", "--depth", "2")
    assert "nothing is published here of Ascend910" in cli.refused("inspect", "m.onnx", "--soc", "Ascend910")
    assert "--shape: no input named 'z'" in cli.refused("inspect", "m.onnx", "--shape", "z:1")
    assert "--csv and --json" in cli.refused("inspect", "m.onnx", "--csv", "--json")


def test_a_large_graph_is_walked_once() -> None:
    """Growth with size by counting work: each value is looked at once."""
    counts = []
    for length in (100, 200):
        body = " ".join(f"v{n + 1} = Neg(v{n})" for n in range(length))
        graph = model_of(f"g (float[4] v0) => (float[4] v{length}) {{ {body} }}", 17)
        check(graph)
        counts.append(_facts_asked(graph))
    assert counts[1] <= 2.1 * counts[0]


def _facts_asked(graph: Graph) -> int:
    asked = 0
    facts = graph.facts
    fact = facts.fact

    def counted(name: str) -> object:
        nonlocal asked
        asked += 1
        return fact(name)

    facts.fact = counted  # type: ignore[assignment,method-assign]  # counts the work
    measure(graph)
    return asked


# -- models of other people


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of public models beside the project")
def test_a_sample_of_the_corpus_is_inspected_and_checked_without_a_crash() -> None:
    aim = Aim("Ascend310", "5.0.2", batches=(1, 4))
    seen = 0
    for path in sorted(CORPUS.glob("*.onnx"))[7::40]:
        graph = Graph.load(path)
        check(graph)
        costs_csv(costs_of(graph, "node", None, "Ascend310"))
        held = check_rules(graph, shipped_rules(), aim)
        assert {found.rule.id for found in held.findings} <= {rule.id for rule in held.rules}
        seen += 1
    assert seen > 30
