"""Bad input: one clear line on stderr (what, where, what to do), exit code 2, nothing written, for every command."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from clirun import HEADER, LIE, NET, RELU, Cli
from onnx import TensorProto, helper, numpy_helper

Maker = Callable[[Cli], "Path | str"]


def model_bytes(text: str = NET) -> bytes:
    return onnx.parser.parse_model(HEADER + text).SerializeToString()


def zipped(cli: Cli) -> Path:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("data.pkl", "x")
    return cli.write("m.onnx", data.getvalue())


def without(field: str) -> Maker:
    def make(cli: Cli) -> Path:
        model = onnx.parser.parse_model(HEADER + NET)
        model.ClearField(field)  # type: ignore[arg-type]
        return cli.write("m.onnx", model.SerializeToString())

    return make


def broken_graph(change: Callable[[onnx.GraphProto], object]) -> Maker:
    def make(cli: Cli) -> Path:
        model = onnx.parser.parse_model(HEADER + NET)
        change(model.graph)
        return cli.write("m.onnx", model.SerializeToString())

    return make


def cycle(graph: onnx.GraphProto) -> None:
    graph.node[0].input[0] = "back"
    graph.node.append(helper.make_node("Relu", ["z"], ["back"], "feeds_back"))


def twice(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Relu", ["x"], ["z"], "again"))


def same_node_name(graph: onnx.GraphProto) -> None:
    graph.node[0].name = "up"


def external(**entries: str) -> Maker:
    """A model whose weight ``w`` (48 bytes) lies in another file, as the entries say."""

    def make(cli: Cli) -> Path:
        model = onnx.parser.parse_model(HEADER + NET)
        weight = next(t for t in model.graph.initializer if t.name == "w")
        weight.CopyFrom(TensorProto(name="w", data_type=1, dims=weight.dims, data_location=TensorProto.EXTERNAL))
        for key, value in entries.items():
            weight.external_data.add(key=key, value=value)
        cli.write("short.data", bytes(40))
        cli.write("m.data", bytes(48))
        (cli.folder.parent / "outside.data").write_bytes(bytes(48))
        if entries["location"] == "link.data":
            (cli.folder / "link.data").symlink_to("m.data")
        return cli.write("m.onnx", model.SerializeToString())

    return make


def deep(cli: Cli) -> Path:
    """A graph in a node's attribute in a graph ..., 2,000 deep: a parser that recurses would overflow its stack."""

    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), bytearray()
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        return bytes([number << 3 | 2]) + bytes([*length, size]) + content

    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))
    return cli.write("m.onnx", field(7, graph))


# name -> (what makes the file, what the message must say)
MODELS: dict[str, tuple[Maker, list[str]]] = {
    "missing": (lambda cli: "no.onnx", ["no file 'no.onnx'"]),
    "misspelt": (
        lambda cli: cli.save("model.onnx") and "modl.onnx",
        ["no file 'modl.onnx'; did you mean 'model.onnx'?"],
    ),
    "folder": (lambda cli: (cli.folder / "d").mkdir() or "d", ["'d' is a folder; name the .onnx file in it"]),
    "not a file": (lambda cli: "/dev/null", ["'/dev/null' is not a regular file"]),
    "empty": (lambda cli: cli.write("m.onnx", b""), ["'m.onnx' is empty"]),
    "text": (lambda cli: cli.write("m.onnx", "hello, I am not a model\n" * 3), ["'m.onnx'", "it is text, not ONNX"]),
    "short text": (lambda cli: cli.write("m.onnx", "hi"), ["'m.onnx'", "it is text, not ONNX"]),
    "ONNX text": (lambda cli: cli.write("m.onnx", HEADER + NET), ["'m.onnx'", "it is text, not ONNX"]),
    "JSON": (lambda cli: cli.write("m.onnx", '{"graph": {"node": []}}'), ["'m.onnx'", "it is JSON text, not ONNX"]),
    "JSON list": (lambda cli: cli.write("m.onnx", "[1, 2]"), ["it is JSON text, not ONNX"]),
    "HTML": (lambda cli: cli.write("m.onnx", "<!DOCTYPE html><html>404</html>"), ["HTML", "the download failed?"]),
    "zip": (zipped, ["'m.onnx' is a zip archive"]),
    "gzip": (lambda cli: cli.write("m.onnx", b"\x1f\x8b\x08" + bytes(30)), ["gzip", "unpack it first"]),
    "pickle": (lambda cli: cli.write("m.onnx", b"\x80\x02}q\x00."), ["pickle", "export it to ONNX first"]),
    "Git LFS pointer": (
        lambda cli: cli.write("m.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        ["Git LFS pointer", "git lfs pull"],
    ),
    "truncated": (lambda cli: cli.write("m.onnx", model_bytes()[:-7]), ["'m.onnx'", "truncated", "again"]),
    "cut in the middle": (lambda cli: cli.write("m.onnx", model_bytes()[:90]), ["'m.onnx'", "truncated"]),
    "noise": (lambda cli: cli.write("m.onnx", bytes(range(255, 0, -1)) * 9), ["'m.onnx'", "not ONNX"]),
    "a tensor": (
        lambda cli: cli.write("m.onnx", numpy_helper.from_array(np.zeros((2, 3), np.float32)).SerializeToString()),
        ["it is a single tensor float32[2,3]", "not a model"],
    ),
    "an array": (
        lambda cli: np.save(cli.folder / "m.npy", np.zeros(3)) or "m.npy",
        ["a .npy array, not an ONNX model"],
    ),
    "no graph": (without("graph"), ["it has no graph"]),
    "no opset": (without("opset_import"), ["it names no opset"]),
    "no outputs": (broken_graph(lambda g: g.ClearField("output")), ["the graph has no outputs"]),
    "cycle": (broken_graph(cycle), ["cycle", "conv"]),
    "dangling input": (
        broken_graph(lambda g: g.node[1].input.__setitem__(0, "gone")),
        ["node 'up' reads 'gone'", "dangling"],
    ),
    "output without producer": (
        broken_graph(lambda g: setattr(g.output[0], "name", "nobody")),
        ["graph output 'nobody' has no producer"],
    ),
    "value defined twice": (broken_graph(twice), ["value 'z' is defined twice", "'again'"]),
    "two nodes of one name": (broken_graph(same_node_name), ["two nodes are named 'up'"]),
    "two inputs of one name": (
        broken_graph(lambda g: g.input.append(g.input[0])),
        ["graph input 'x' is defined twice"],
    ),
    "two weights of one name": (
        broken_graph(lambda g: g.initializer.append(g.initializer[0])),
        ["initializer 'w' is defined twice"],
    ),
    "external data missing": (external(location="gone.data"), ["external data of 'w'", "gone.data", "is missing"]),
    "external data too short": (external(location="short.data"), ["'w'", "needs 48 bytes", "holds 40"]),
    "external offset too large": (external(location="m.data", offset="8"), ["'w'", "at offset 8", "holds 48"]),
    "external offset no number": (external(location="m.data", offset="x"), ["'w'", "is not a number"]),
    "external data absolute": (external(location="/etc/passwd"), ["'/etc/passwd' is outside the model's folder"]),
    "external data outside": (
        external(location="../outside.data"),
        ["'../outside.data' is outside the model's folder"],
    ),
    "external data through a link": (external(location="link.data"), ["'link.data' goes through a symbolic link"]),
    "nested too deeply": (deep, ["'m.onnx'"]),
}

ON_A_MODEL: dict[str, Callable[[str], list[str]]] = {
    "run": lambda m: ["run", "-p", "remove_identity", m, "-o", "r.onnx"],
    "optimize": lambda m: ["optimize", m, "--json"],
    "inspect": lambda m: ["inspect", m],
    "diff before": lambda m: ["diff", m, "good.onnx"],
    "diff after": lambda m: ["diff", "good.onnx", m],
    "compare": lambda m: ["compare", "good.onnx", m],
    "atc emit": lambda m: ["atc", "emit", m, "-o", "a.sh"],
    "golden record": lambda m: ["golden", "record", "new", m],
    "golden check": lambda m: ["golden", "check", "good", m],
}
MORE: dict[str, Callable[[str], list[str]]] = {
    "run, default name": lambda m: ["run", "-p", "remove_identity", m],
    "dry run": lambda m: ["run", "-p", "remove_identity", m, "--dry-run"],
    "no check": lambda m: ["run", "-p", "remove_identity", m, "--no-check", "--json"],
    "keep going": lambda m: ["run", "-p", "remove_identity", m, "--keep-going"],
    "inspect --json": lambda m: ["inspect", m, "--json"],
    "diff --json": lambda m: ["diff", m, m, "--json"],
    "compare before": lambda m: ["compare", m, "good.onnx", "--json"],
    "golden update": lambda m: ["golden", "update", "good", m],
}


@pytest.fixture
def good(cli: Cli) -> Cli:
    """The command line beside a sound model with a golden record."""
    cli.save("good.onnx", RELU)
    cli.ok("golden", "record", "good", "good.onnx")
    return cli


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_that_is_no_sound_model(good: Cli, kind: str) -> None:
    make, says = MODELS[kind]
    path = str(make(good))
    for name, words in ON_A_MODEL.items():
        message = good.refused(*words(path))
        if (kind, name) != ("folder", "compare"):  # there a folder is one of output files
            assert all(word in message for word in says), (name, message)


@pytest.mark.parametrize("way", MORE)
def test_every_other_way_to_name_a_model(good: Cli, way: str) -> None:
    cut = str(MODELS["truncated"][0](good))
    assert "truncated" in good.refused(*MORE[way](cut))


def test_which_of_two_models_is_meant(good: Cli) -> None:
    MODELS["cycle"][0](good)
    for command in ("diff", "compare"):
        assert good.refused(command, "good.onnx", "m.onnx").startswith("'m.onnx': the graph has a cycle")


# -- words: (words behind `run net.onnx`, what the message must say)

WORDS: list[tuple[list[str], list[str]]] = [
    (["-p", "resize_nearset"], ["unknown pass 'resize_nearset'; did you mean 'resize_nearest'?", "passes list"]),
    (["-p", "zzz"], ["unknown pass 'zzz'", "graphtool passes list"]),
    (["-p", ""], ["no pass is named"]),
    ([], ["no pass is named; give --passes"]),
    (["-p", "remove_identity,,optimize"], ["an empty pass name"]),
    (["-p", "prune_outputs:kep=up"], ["prune_outputs has no parameter 'kep'; did you mean 'keep'?"]),
    (["-p", "remove_identity:keep=up"], ["remove_identity has no parameter 'keep'; it takes none"]),
    (["-p", "prune_outputs:keep"], ["'keep' in 'prune_outputs:keep' is not PARAM=VALUE"]),
    (["-p", "resize_nearest:nearest_mode=flor"], ["resize_nearest.nearest_mode", "'flor' is not one of floor, ceil"]),
    (["-p", "resize_nearest:smallest=much"], ["resize_nearest.smallest: 'much' is not a whole number"]),
    (["-p", "no/such.toml"], ["no pass file 'no/such.toml'"]),
    (["-p", "prune_outputs:keep=upp"], ["prune_outputs: no node or tensor named 'upp'; did you mean 'up'?"]),
    (["-p", "rename:from=conf:to=a"], ["rename: no tensor or node named 'conf'; did you mean 'conv'?"]),
    (["-p", "optimize", "--set", "optimize"], ["--set optimize: expected PASS.PARAM=VALUE"]),
    (["-p", "optimize", "--set", "=1"], ["--set =1: expected PASS.PARAM=VALUE"]),
    (["-p", "prune_outputs", "--set", "prune_output.keep=up"], ["'prune_output' is not in the pipeline; did you mean"]),
    (
        ["-p", "optimize", "--profile", "icnet_ascend301"],
        ["unknown profile 'icnet_ascend301'; did you mean 'icnet_asc"],
    ),
    (["-p", "optimize", "--profile", "no.toml"], ["no.toml", "No such file"]),
    (["-p", "optimize", "--profile", "broken.toml"], ["broken.toml: options.lgo: unknown ATC option 'lgo'", "'log'"]),
    (["-p", "optimize", "--profile", "bare.toml"], ["bare.toml: options.soc_version: missing; ATC needs it"]),
    (["-p", "optimize", "--profile", "text.toml"], ["text.toml: not TOML"]),
    (["-p", "optimize", "--profile", "ascend310", "--soc", "Ascend310"], ["--soc and --profile both name a device"]),
    (["-p", "resize_nearest", "--profile", "icnet_ascend310"], ["the graph has no input 'actual_input_1'"]),
    (["-p", "optimize", "--batch", "a"], ["--batch: 'a' is not a whole number above 0"]),
    (["-p", "optimize", "--batch", ""], ["--batch: '' is not a whole number"]),
    (["-p", "optimize", "--batch", "0"], ["--batch: '0' is not a whole number above 0"]),
    (["-p", "optimize", "--batch", "4,4"], ["--batch: '4,4' names a batch twice"]),
    (["-p", "optimize", "--atc", "log"], ["--atc: 'log' is not OPTION=VALUE"]),
    (["-p", "optimize", "--atc", "lgo=error"], ["--atc: unknown ATC option 'lgo'; did you mean 'log'?"]),
    (["-p", "optimize", "--atc", "log=loud"], ["--atc: log: 'loud' is not one of debug"]),
    (["-p", "optimize", "--atc", "out_nodes=upp:0"], ["--atc out_nodes", "'upp'", "nearest: 'up'"]),
    (["-p", "optimize", "--shape", "x"], ["--shape: 'x' is not NAME:DIM,DIM"]),
    (["-p", "optimize", "--shape", "x:1,a"], ["--shape x: 'a' is not a whole number"]),
    (["-p", "optimize", "--shape", "x:0,3,8,16"], ["--shape x: '0' is not a whole number above 0"]),
    (["-p", "optimize", "--shape", "x:1,3,8,17"], ["--shape x:1,3,8,17: dimension 3 is fixed to 16"]),
    (["-p", "optimize", "--shape", "x:1,3"], ["--shape x:1,3: the model's input has 4 dimensions"]),
    (["-p", "optimize", "--shape", "q:1,3,8,16"], ["--shape: the model has no input 'q'"]),
    (["-p", "optimize", "--min", "cosin=1"], ["--min cosin=1: unknown metric 'cosin'; did you mean 'cosine'?"]),
    (["-p", "optimize", "--min", "cosine"], ["--min cosine: expected METRIC=NUMBER"]),
    (["-p", "optimize", "--min", "cosine=high"], ["--min cosine=high: 'high' is not a number"]),
    (["-p", "optimize", "--min", "cosine=nan"], ["--min cosine=nan: 'nan' is not a finite number"]),
    (["-p", "optimize", "--min", "max_abs=1"], ["--min max_abs=1: a good max_abs is small", "--max"]),
    (["-p", "optimize", "--max", "max_abs=-1"], ["--max max_abs=-1: max_abs is never negative"]),
    (["-p", "optimize", "--max", "v:max_abs=1"], ["--max: no output named 'v'", "'y'"]),
    (["-p", "optimize", "--max", "max_abs=1", "--no-check"], ["a budget cannot be held with --no-check"]),
    (["-p", "optimize", "--shape", "q:1"], ["--shape: the model has no input 'q'; it has 'x'"]),
    (["-p", "optimize", "-o", "-"], ["cannot write '-': a model is a file; name one"]),
    (["-p", "optimize", "--truth", "--no-check"], ["--truth is of the check that --no-check leaves out"]),
    (["-p", "optimize", "--feeds", "3", "--no-check"], ["--feeds is of the check that --no-check leaves out"]),
    (["-p", "optimize", "--feed", "no.npz"], ["feed 'no.npz': no such file or folder"]),
    (["-p", "optimize", "--feed", "text.toml"], ["feed 'text.toml': expected .npz, .npy, .bin, .pb or a folder"]),
    (["-p", "optimize", "--feed", "empty"], ["feed 'empty': holds neither input_0.pb nor a file named after an input"]),
    (["-p", "optimize", "--feed", "name.npz"], ["feed 'name.npz': the model has no input 'X'; it has 'x'"]),
    (["-p", "optimize", "--feed", "X=shape.npy"], ["the model has no input 'X'"]),
    (["-p", "optimize", "--feed", "shape.npy"], ["'x' is float32[1,3,8,16], found float32[1,3,16,8]"]),
    (
        ["-p", "optimize", "--feed", "type.npy"],
        ["'x' is float32[1,3,8,16], found float64[1,3,8,16]", "astype('float32')"],
    ),
    (["-p", "optimize", "--feed", "short.bin"], ["'x' is float32[1,3,8,16], 1536 bytes, found 5"]),
    (["-p", "optimize", "--feed", "noise.npz"], ["feed 'noise.npz': not a sound .npz file"]),
    (["-p", "optimize", "--feed", "noise.pb"], ["feed 'noise.pb': not a sound TensorProto file"]),
    (["-p", "optimize", "--feed", "pickle.npy"], ["feed 'pickle.npy'", "Python objects, which are not read"]),
    (["-p", "optimize", "--feed", "name.npz", "--feed", "shape.npy"], ["'X'"]),
    (["-p", "optimize", "-o", "net.onnx"], ["'net.onnx' is an input of this run; graphtool does not overwrite it"]),
    (["-p", "optimize", "-o", "sub/../net.onnx"], ["is an input of this run"]),
    (["-p", "optimize", "-o", "link.onnx"], ["'link.onnx' is an input of this run"]),
    (["-p", "optimize", "-o", "x.npy", "--feed", "x=x.npy"], ["'x.npy' is an input of this run"]),
    (["-p", "./lie.toml", "-o", "lie.toml"], ["'lie.toml' is an input of this run"]),
    (["-p", "optimize", "--profile", "own.toml", "-o", "own.toml"], ["'own.toml' is an input of this run"]),
    (["-p", "optimize", "-o", "empty"], ["cannot write 'empty': it is a folder"]),
    (["-p", "optimize", "-o", "gone/r.onnx"], ["cannot write 'gone/r.onnx': there is no folder 'gone'"]),
    (["-p", "optimize", "-o", "text.toml/r.onnx"], ["cannot write 'text.toml/r.onnx': there is no folder"]),
    (["-p", "optimize", "-o", "pipe"], ["cannot write 'pipe': it is not a regular file"]),
]


@pytest.fixture
def net(cli: Cli) -> Cli:
    """The command line beside ``net.onnx`` and files that the words above name."""
    cli.save("net.onnx")
    for folder in ("empty", "sub"):
        (cli.folder / folder).mkdir()
    cli.write("broken.toml", "[options]\nlgo = 'error'\n")
    cli.write("lie.toml", LIE)
    cli.write("own.toml", "extends = 'ascend310'\n")
    cli.write("bare.toml", "summary = 'no device'\n")
    cli.write("text.toml", "no toml")
    cli.write("short.bin", "short")
    cli.write("noise.npz", bytes(range(200)))
    cli.write("noise.pb", bytes(range(200, 256)))
    (cli.folder / "link.onnx").symlink_to("net.onnx")
    os.mkfifo(cli.folder / "pipe")
    shape = (1, 3, 8, 16)
    np.save(cli.folder / "x.npy", np.ones(shape, np.float32))
    np.save(cli.folder / "shape.npy", np.ones((1, 3, 16, 8), np.float32))
    np.save(cli.folder / "type.npy", np.ones(shape))
    np.save(cli.folder / "pickle.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(cli.folder / "name.npz", X=np.ones(shape, np.float32))
    return cli


@pytest.mark.parametrize(("words", "says"), WORDS, ids=[" ".join(words) or "no words" for words, _ in WORDS])
def test_words_that_do_not_fit(net: Cli, words: list[str], says: list[str]) -> None:
    message = net.refused("run", "net.onnx", *words)
    assert all(word in message for word in says), message


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compare", "net.onnx", "net.onnx", "--min", "cosin=1"], "unknown metric 'cosin'"),
        (["compare", "net.onnx", "net.onnx", "--max", "v:max_abs=1"], "no output named 'v'"),
        (["compare", "net.onnx", "net.onnx", "--feed", "shape.npy"], "found float32[1,3,16,8]"),
        (["compare", "net.onnx", "net.onnx", "--shape", "x"], "'x' is not NAME:DIM"),
        (["atc", "emit", "net.onnx", "--soc", "Ascend 310"], "soc_version"),
        (["atc", "emit", "net.onnx", "--profile", "icnet_ascend310"], "no input 'actual_input_1'"),
        (["atc", "emit", "net.onnx", "--batch", "1;2"], "'1;2' is not a whole number"),
        (["atc", "emit", "net.onnx", "--shape", "x:1,3,8,8"], "dimension 3 is 16 in the graph, not 8"),
        (["atc", "emit", "net.onnx", "-o", "net.onnx"], "'net.onnx' is the model; name another file"),
        (["atc", "emit", "net.onnx", "-o", "empty"], "cannot write 'empty': it is a folder"),
        (["atc", "emit", "net.onnx", "-o", "gone/a.sh"], "cannot write 'gone/a.sh': No such file or directory"),
        (["passes", "show", "resize_neares"], "did you mean 'resize_nearest'?"),
        (["passes", "test", "empty"], "no pass files (*.toml) in 'empty'"),
        (["passes", "test", "gone"], "no pass files (*.toml) in 'gone'"),
        (["golden", "check", "none", "net.onnx"], "no golden 'none' in 'golden'; there is none"),
        (["golden", "update", "none", "net.onnx"], "no golden 'none' in 'golden'; there is none"),
        (["golden", "record", "../up", "net.onnx"], "'../up' is no name for a golden"),
        (["golden", "record", "g", "net.onnx", "--feed", "type.npy"], "found float64[1,3,8,16]"),
        (["golden", "record", "g", "net.onnx", "--dir", "text.toml"], "cannot write"),
        (["zoo", "icnet", "gone/i.onnx"], "cannot write 'gone/i.onnx'"),
        (["zoo", "icnet", "empty"], "cannot write 'empty'"),
        (["zoo", "icnet", "i.onnx", "--height", "5"], "height 5: too small"),
        (["zoo", "icnet", "i.onnx", "--batch", "0"], "batch 0: must be 1 or more"),
        (["zoo", "icnet", "i.onnx", "--pool", "max"], "unknown pool 'max'  (one of avg, adaptive, exact)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_of_the_other_commands(net: Cli, words: list[str], says: str) -> None:
    assert says in net.refused(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "net.onnx", "--pases", "optimize"],
        ["run", "net.onnx", "-p", "optimize", "--seed", "-1"],
        ["run", "net.onnx", "-p", "optimize", "--seed", "one"],
        ["run"],
        ["run", "net.onnx", "again.onnx", "-p", "optimize"],
        ["inspekt", "net.onnx"],
        ["diff", "net.onnx"],
        ["passes", "tset"],
        ["zoo", "icnet", "i.onnx", "--height", "tall"],
    ],
    ids=" ".join,
)
def test_usage_is_told_by_the_command_line_parser(net: Cli, words: list[str]) -> None:
    before = net.listing()
    ended = net(*words)
    assert ended.code == 2
    assert ended.out == "" and "Usage: graphtool" in ended.err and "Error: " in ended.err
    assert net.listing() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "pipe"], "it is not a regular file"),
        (["-o", "gone/r.onnx"], "there is no folder 'gone'"),
        (["--shape", "x"], "'x' is not NAME:DIM"),
        (["--min", "cosin=1"], "unknown metric"),
        (["--batch", "a"], "--batch: 'a' is not"),
        (["--atc", "lgo=1"], "unknown ATC option"),
        (["--set", "optimize"], "expected PASS.PARAM=VALUE"),
        (["-p", "remove_identity:x=1"], "has no parameter 'x'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_are_judged_before_the_model_is_run(net: Cli, words: list[str], says: str) -> None:
    """The model cannot be run, which takes longest to find out: the words are read first."""
    net.save("odd.onnx", "g (float[2] x) => (float[2] y) { y = Odd(x) }")
    assert says in net.refused("run", "odd.onnx", "-p", "remove_identity", *words)
    if "-o" not in words:
        assert says in net.refused("run", "odd.onnx", "-p", "remove_identity", "--dry-run", *words)


def test_a_pass_that_fails_half_way_leaves_nothing(net: Cli) -> None:
    """The second pass cannot be applied; the first already was."""
    message = net.refused("run", "net.onnx", "-p", "resize_nearest,prune_outputs:keep=convv", "-o", "r.onnx")
    assert message == "prune_outputs: no node or tensor named 'convv'; did you mean 'conv'?"


def test_a_folder_without_write_permission(net: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = net.folder / "locked"
    locked.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("locked"))
    message = net.refused("run", "net.onnx", "-p", "optimize", "-o", "locked/r.onnx")
    assert message == "cannot write 'locked/r.onnx': no permission in folder 'locked'"


def test_external_data_of_the_model_is_not_overwritten(cli: Cli) -> None:
    external(location="m.data")(cli)
    assert "'m.data' is an input of this run" in cli.refused("run", "m.onnx", "-p", "optimize", "-o", "m.data")


@pytest.mark.parametrize(
    ("net", "sizes"),
    [
        (
            "g (float[N,1,L] x) => (float[N,1,M] y) { a = Identity(x) y = AveragePool<kernel_shape = [100]>(a) }",
            "L=131",
        ),
        (
            "g (float[N,3] x) => (float[N,6] y) <float[1,1] k = {1}> { a = Identity(x) y = Concat<axis = 1>(a, k) }",
            "N=1",
        ),
        (  # a window of so many samples, and a batch of one
            "g (float[N,L] x) => (float[N,2,128] y) <int64[3] s = {0, 2, 128}> { a = Identity(x) y = Reshape(a, s) }",
            "L=256",
        ),
        (  # inputs that must fit each other
            "g (float[A,4] a, float[M,4] b) => (float[K,4] y) { c = Identity(a) y = Add(c, b) }",
            "M=2",
        ),
        (
            "g (float[N,K] a, float[L,M] b) => (float[N,M] y) { c = Identity(a) y = MatMul(c, b) }",
            "L=3",
        ),
    ],
)
def test_an_original_that_wants_other_sizes_than_the_usual_ones_gets_them(cli: Cli, net: str, sizes: str) -> None:
    cli.save("m.onnx", net)
    said = cli.ok("run", "-p", "remove_identity", "m.onnx")
    assert "note: judged on other sizes than usual, on which the original does not run: onnxruntime cannot run" in said
    assert "y: equal" in said
    name, size = sizes.split("=")
    assert f'"{name}": {size}' in cli("run", "-p", "remove_identity", "m.onnx", "--json").out
    assert "note: judged on other sizes" in cli.ok("bisect", "-p", "remove_identity", "m.onnx")
    assert "note: judged on other sizes" in cli.ok("compare", "m.onnx", "m.onnx")
    cli.ok("golden", "record", "m", "m.onnx")
    assert f"{name} = {size}" in (cli.folder / "golden/m/outputs.toml").read_text()
    cli.ok("golden", "check", "m", "m.onnx")


def test_an_original_whose_indices_must_be_small_gets_small_ones(cli: Cli) -> None:
    net = (
        "g (float[2,3] x, int64[4] i) => (float[4,3] y) <int64 two = {2}, int64[1] zero = {0}> "
        "{ j = Mul(i, two) k = Div(j, two) a = Identity(x) y = Gather(a, k) }"
    )
    cli.save("m.onnx", net)
    said = cli.ok("run", "-p", "remove_identity", "m.onnx")
    assert "drawn with seed 0, integers 0 or 1" in said and "y: equal" in said
    assert "note: judged on smaller integers than usual, on which the original does not run: onnxruntime" in said
    cli.refused("golden", "record", "m", "m.onnx")  # its record could not say how they were drawn


def test_an_original_that_cannot_run_names_node_input_and_flag(cli: Cli) -> None:
    cli.save(
        "m.onnx",
        "g (float[N,3] other, float nearer, float[N,H] x) => (float[2,K] y) <int64[2] s = {2,7}> "
        "{ [first] a = Mul(nearer, x) [fold] y = Reshape(a, s) }",
    )
    message = cli.refused("run", "-p", "remove_identity", "m.onnx")
    assert message.startswith("onnxruntime cannot run node 'fold' (Reshape): ")
    assert message.endswith(
        "; input 'x' was drawn: give your own with --feed, sizes with --shape; "
        "or --no-check applies the passes without running the model"
    )
    cli.save("op.onnx", "g (float[2] x) => (float[2] y) { [odd] y = Odd(x) }")
    said = cli.ok("run", "-p", "remove_identity", "op.onnx")
    assert "NOT checked: onnxruntime has no operator 'Odd' in this opset (node 'odd')" in said
    message = cli.refused("run", "-p", "remove_identity", "op.onnx", "--max", "max_abs=1")
    assert "no operator 'Odd'" in message


# -- files that graphtool did not write


def test_a_default_name_is_only_overwritten_where_graphtool_wrote_it(net: Cli) -> None:
    foreign = net.write("net.graphtool.onnx", "mine")
    message = net.refused("run", "net.onnx", "-p", "resize_nearest")
    assert message == "'net.graphtool.onnx' exists and graphtool did not write it; name the result with -o"
    (net.folder / foreign).unlink()
    net.ok("run", "net.onnx", "-p", "resize_nearest")
    net.ok("run", "net.onnx", "-p", "prune_outputs")
    assert "no difference" not in net("diff", "net.onnx", "net.graphtool.onnx").out
    with (net.folder / foreign).open("ab") as file:
        file.write(b"edited by hand")
    assert "graphtool did not write it" in net.refused("run", "net.onnx", "-p", "resize_nearest")
    net.ok("run", "net.onnx", "-p", "resize_nearest", "-o", foreign)  # named by the user


def test_a_dangling_link_at_the_default_name_is_left_alone(net: Cli) -> None:
    (net.folder / "net.graphtool.onnx").symlink_to("nowhere.onnx")
    assert "graphtool did not write it" in net.refused("run", "net.onnx", "-p", "resize_nearest")


def test_a_broken_promise_does_not_write_into_a_foreign_folder(net: Cli) -> None:
    net.write("lie.toml", LIE)
    net.save("relu.onnx", RELU)
    (net.folder / "relu.repro").mkdir()
    net.write("relu.repro/mine.txt", "keep")
    before = net.listing()
    ended = net("run", "relu.onnx", "-p", "./lie.toml")
    assert ended.code == 1
    assert "no reproducer was written: 'relu.repro' exists and graphtool did not write it" in ended.out
    assert ended.err.startswith("graphtool: lie broke its promise 'exact': ")
    assert net.listing() == before


# -- pass files

PASS_FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "rules/bad.toml: the pass has no edit, rewrite, region, boundary, native or sequence"),
    "not TOML": ("summary = ", "rules/bad.toml: not TOML"),
    "not UTF-8": (b"summary = '\xff'", "rules/bad.toml: not UTF-8 text"),
    "unknown key": (LIE + "[[cse]]\nname = 'a'\n", "rules/bad.toml: cse: unknown key; did you mean 'case'?"),
    "unknown parity": (LIE.replace("exact", "exactly"), "rules/bad.toml: parity: 'exactly' is not one of exact, close"),
    "no summary": (LIE.replace('summary = "Abs in place of Relu"', ""), "rules/bad.toml: summary: is missing"),
    "empty why": (LIE.replace("to be caught", " "), "rules/bad.toml: why: must not be empty"),
    "bad ONNX text": (LIE.replace("y = Abs(x)", "y = Abs("), "rules/bad.toml: rewrite[0].replace: "),
    "code": (
        LIE.replace("replace", "where = ['x.__class__']\nreplace"),
        "rules/bad.toml: rewrite[0].where[0]: ",
    ),
    "unknown native": (
        LIE.split("[[")[0] + 'native = "os.system"',
        "rules/bad.toml: native: no native pass 'os.system'",
    ),
    "wrong case": (LIE + "[[case]]\nname = 'a'\nbefore = 'x'\nafter = 'y'\n", "rules/bad.toml: case[0].before: "),
    "wrong interface": ("interface = 'shape'\n" + LIE, "rules/bad.toml: interface: 'shape' is not one of names, types"),
}


@pytest.mark.parametrize("kind", PASS_FILES)
def test_a_broken_pass_file(cli: Cli, kind: str) -> None:
    content, says = PASS_FILES[kind]
    (cli.folder / "rules").mkdir()
    cli.write("rules/bad.toml", content)
    cli.save("net.onnx")
    for words in (["passes", "test", "rules"], ["passes", "show", "rules/bad.toml"]):
        assert cli.refused(*words).startswith(says), words
    assert cli.refused("run", "net.onnx", "-p", "rules/bad.toml").startswith(says)


def test_a_pass_file_with_a_bad_name(cli: Cli) -> None:
    (cli.folder / "rules").mkdir()
    cli.write("rules/Bad-Name.toml", LIE)
    assert "a pass file is named in lower case" in cli.refused("passes", "test", "rules")
