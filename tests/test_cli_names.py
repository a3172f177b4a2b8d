"""Names in models and files: shown escaped by every command, never as what a terminal or rich would act on."""

from __future__ import annotations

import os

import numpy as np
import onnx.parser
import pytest
from clirun import HEADER, LIE, NET, Cli, fit_for_a_terminal
from onnx import helper, numpy_helper

NAMES = [
    "\x1b[31mA\x1b[0m",
    "B\rC",
    "D\nE",
    "\u202eF",
    "[red]G[/red]",
    "\x9b1mH",
    "\x07I",
    "J\u2028K",
    "\tL",
    "\u200bM",
]
EVIL = "".join(NAMES)


def evil_model(prefix: str = "", mode: str = "linear") -> bytes:
    """Every name in it that a model can choose tries to do something to the terminal."""

    def name(stem: str) -> str:
        return f"{prefix}{EVIL}{stem}"

    weights = [
        numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), name("w")),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), name("s")),
    ]
    nodes = [
        helper.make_node("Conv", [name("x"), name("w")], [name("a")], name("conv")),
        helper.make_node("Identity", [name("a")], [name("b")], name("id")),
        helper.make_node("Resize", [name("b"), "", name("s")], [name("y")], name("up"), mode=mode),
        helper.make_node("Relu", [name("b")], [name("z")], name("relu")),
    ]
    inputs = [helper.make_tensor_value_info(name("x"), 1, [name("N"), 3, 4, 4])]
    outputs = [
        helper.make_tensor_value_info(name("y"), 1, [name("N"), 2, 8, 8]),
        helper.make_tensor_value_info(name("z"), 1, [name("N"), 2, 4, 4]),
    ]
    graph = helper.make_graph(nodes, name("g"), inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(name("domain"), 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name=name("producer"))
    helper.set_model_props(model, {name("key"): name("value")})
    return model.SerializeToString()


FILE = EVIL.replace("/", "_") + ".onnx"
ESCAPED = [  # commands, and how each ends
    (["inspect", FILE], 0),
    (["run", "-p", "remove_identity,resize_nearest,prune_outputs", FILE], 0),
    (["run", "-p", "remove_identity,resize_linear_to_matmul,onnxsim", FILE, "-o", f"{EVIL.replace('/', '_')}r"], 0),
    (["run", "-p", "remove_identity,resize_linear_to_matmul,resize_nearest", FILE, "--dry-run"], 0),
    (["run", "-p", "./lie.toml", FILE], 1),
    (["run", "-p", "./lie.toml", FILE, "--keep-going"], 1),
    (["run", "-p", "resize_nearest", FILE, "--max", "max_abs=0"], 1),
    (["run", "-p", "resize_linear_to_matmul", FILE, "--require-match"], 0),
    (["run", "-p", "clip_topk_inputs", FILE, "--require-match"], 1),
    (["run", "-p", "optimize", FILE, "--batch", "2"], 2),
    (["optimize", FILE], 0),
    (["diff", FILE, "other.onnx"], 1),
    (["compare", FILE, FILE], 0),
    (["compare", FILE, "other.onnx"], 1),
    (["compare", FILE, "other.onnx", "--layers"], 1),
    (["compare", FILE, "--as-ascend"], 0),
    (["compare", FILE, EVIL, "--inputs", EVIL], 2),
    (["compare", FILE, "other.onnx", "--map", EVIL], 2),
    (["atc", "emit", FILE], 2),
    (["atc", "emit", FILE, "--batch", "1"], 2),
    (["golden", "record", "g", FILE], 0),
    (["golden", "check", "g", FILE], 0),
    (["golden", "check", "g", "other.onnx"], 1),
    (["golden", "list", "--dir", EVIL], 0),
    (["run", "-p", f"prune_outputs:keep={EVIL}", FILE], 2),
    (["run", "-p", EVIL, FILE], 2),
    (["run", "-p", f"{EVIL}.toml", FILE], 2),
    (["run", "-p", f"prune_outputs:{EVIL}=1", FILE], 2),
    (["run", "-p", "prune_outputs", "--set", f"{EVIL}.k=1", FILE], 2),
    (["run", "-p", "optimize", "--profile", EVIL, FILE], 2),
    (["run", "-p", "optimize", "--shape", f"{EVIL}:1", FILE], 2),
    (["run", "-p", "optimize", "--atc", f"{EVIL}=1", FILE], 2),
    (["run", "-p", "optimize", "--max", f"{EVIL}:max_abs=1", FILE], 2),
    (["run", "-p", "optimize", "--feed", f"{EVIL}=x.npy", FILE], 2),
    (["run", "-p", "optimize", "-o", f"{EVIL}/r.onnx", FILE], 2),
    (["run", "-p", "optimize", "-o", FILE, FILE], 2),
    (["inspect", EVIL], 2),
    (["passes", "show", EVIL], 2),
    (["passes", "test", EVIL], 2),
    (["golden", "check", EVIL, FILE], 2),
]


@pytest.fixture
def evil(cli: Cli) -> Cli:
    cli.write(FILE, evil_model())
    cli.write("other.onnx", evil_model("q", "nearest"))
    cli.write("lie.toml", LIE)
    return cli


def test_no_name_reaches_the_terminal_raw(evil: Cli) -> None:
    for words, code in ESCAPED:
        ended = evil(*words)
        assert ended.code == code, (words, ended)
        assert fit_for_a_terminal(ended.out), words
        assert fit_for_a_terminal(ended.err), words
        if code == 2:
            assert ended.err.count("\n") == 1 and ended.out == "", words


def test_a_name_is_shown_escaped_and_markup_stays_as_it_is(evil: Cli) -> None:
    out = evil.ok("inspect", FILE)
    shown = r"\x1b[31mA\x1b[0mB\rCD\nE\u202eF[red]G[/red]\x9b1mH\x07IJ\u2028K\tL\u200bM"
    assert f"  input {shown}x: float32[{shown}N,3,4,4]\n" in out


def test_json_is_pure_ascii_and_gives_the_names_back(evil: Cli) -> None:
    for words in (["inspect"], ["run", "-p", "resize_nearest"], ["optimize"], ["run", "-p", "./lie.toml"]):
        ended = evil(*words, FILE, "--json")
        assert ended.out.isascii() and fit_for_a_terminal(ended.out)
        assert ended.json()["model"] == FILE
    assert evil("inspect", FILE, "--json").json()["inputs"][0]["name"] == f"{EVIL}x"
    assert fit_for_a_terminal(evil("diff", FILE, "other.onnx", "--json").out)


def test_a_file_name_that_is_not_utf8(cli: Cli) -> None:
    name = os.fsdecode(b"caf\xe9.onnx")
    (cli.folder / name).write_bytes(onnx.parser.parse_model(HEADER + NET).SerializeToString())
    out = cli.ok("run", "-p", "resize_nearest", name)
    assert r"wrote caf\udce9.graphtool.onnx" in out
    assert cli("inspect", name, "--json").json()["model"] == name
    assert r"'caf\udce9.onnx' is an input of this run" in cli.refused("run", "-p", "optimize", name, "-o", name)
