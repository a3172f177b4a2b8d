"""Golden records on the command line: where the model comes from, the pipeline's steps, what an update shows."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from clirun import RELU, Cli

from graphtool.golden.files import read_record
from graphtool.golden.graph import changes

# three nodes in a row; the pass takes the first for something else
CHAIN = "g (float[2,3] x) => (float[2,3] y) { [neg] a = Neg(x) [abs] b = Abs(a) [exp] y = Exp(b) }"
PASS = """summary = "Two steps more"
why = "a test"
parity = "exact"
[[rewrite]]
match = '''
a = Neg(x)
y = Abs(a)
'''
where = ["uses(a) == 1"]
replace = '''
b = Identity(x)
c = Identity(b)
y = Abs(c)
'''
"""
LONGER = PASS.replace("y = Abs(c)", "d = Identity(c)\ny = Abs(d)")


@pytest.fixture
def chain(cli: Cli) -> Cli:
    cli.save("m.onnx", CHAIN)
    cli.write("twice.toml", PASS)
    return cli


def toml(cli: Cli, name: str = "one") -> dict[str, Any]:
    return tomllib.loads((cli.folder / "golden" / name / "outputs.toml").read_text())


def fails(cli: Cli, *words: str) -> str:
    ended = cli("golden", "check", *words)
    assert (ended.code, ended.err) == (1, ""), ended
    return ended.out


# -- the model's source


def test_a_model_in_this_folder_is_found_again(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx")
    assert toml(chain)["model"]["path"] == "../../m.onnx"
    assert chain.ok("golden", "check", "one").endswith("golden one holds\n")
    chain.save("m.onnx", CHAIN.replace("Abs", "Neg"))
    assert "the model is not the recorded file: 'm.onnx' has another SHA-256" in fails(chain, "one")


def test_no_path_of_this_machine_gets_into_a_record(chain: Cli, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.onnx"
    (chain.folder / "m.onnx").rename(elsewhere)
    out = chain.ok("golden", "record", "one", elsewhere)
    assert "note: the model lies outside this folder" in out
    assert str(tmp_path) not in (chain.folder / "golden/one/outputs.toml").read_text()
    assert "does not say where its model is; name it: MODEL" in chain.refused("golden", "check", "one")
    chain.ok("golden", "check", "one", elsewhere)


def test_a_model_named_by_a_variable(chain: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_MODEL", "m.onnx")
    chain.ok("golden", "record", "one", "--from-env", "THE_MODEL")
    assert toml(chain)["model"]["variable"] == "THE_MODEL"
    chain.ok("golden", "check", "one")
    monkeypatch.delenv("THE_MODEL")
    assert "THE_MODEL, which names the model, is not set; --allow-missing skips it" in chain.refused(
        "golden", "check", "one"
    )
    assert "golden one was skipped" in chain.ok("golden", "check", "one", "--allow-missing")


def test_a_model_made_by_a_command_runs_only_where_that_is_allowed(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "--from-command", "cp m.onnx {model}")
    assert "made by the command 'cp m.onnx {model}'; --allow-commands runs it" in chain.refused(
        "golden", "check", "one"
    )
    chain.ok("golden", "check", "one", "--allow-commands")
    for text, reason in (
        ("true", "write {model} once"),
        ("true {model}", "wrote no model"),
        ("'", "not words of a shell"),
    ):
        assert reason in chain.refused("golden", "record", "two", "--from-command", text)
    assert "ended with exit code 1: cp: " in chain.refused(
        "golden", "record", "two", "--from-command", "cp nil {model}"
    )


def test_only_a_command_that_writes_nothing_else_counts_as_graphtools_own() -> None:
    from graphtool.golden.source import _harmless

    assert _harmless("graphtool zoo icnet {model} --height 256 --pool=exact".split())
    for text in ("graphtool zoo icnet {model} /etc/passwd", "graphtool run {model} -o x", "zoo {model}", "graphtool"):
        assert not _harmless(text.split()), text


def test_a_missing_model_fails_and_one_source_is_enough(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx")
    (chain.folder / "m.onnx").rename(chain.folder / "n.onnx")
    assert "the model is not there: golden/one/../../m.onnx".replace("golden/one/../../", "") in chain.refused(
        "golden", "check", "one"
    )
    out = chain("golden", "check", "--allow-missing")
    assert out.code == 0 and "skipped: the model is not there" in out.out and "1 skipped" in out.out
    assert "exclude each other" in chain.refused("golden", "record", "two", "n.onnx", "--from-env", "X")
    assert "no model is named" in chain.refused("golden", "record", "two")
    assert "--set is for a pass of --from-run" in chain.refused("golden", "record", "two", "n.onnx", "--set", "a.b=1")
    assert "no name of an environment variable" in chain.refused("golden", "record", "two", "--from-env", "a b")


# -- a pipeline


def test_a_pipeline_is_kept_step_by_step_and_run_again(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx", "--from-run", "./twice.toml,remove_dropout,remove_identity")
    steps = toml(chain)["pipeline"]["step"]
    assert [(s.get("pass"), s["matches"], s["nodes"]) for s in steps] == [
        (None, 0, 3), ("./twice.toml", 1, 4), ("remove_dropout", 0, 4), ("remove_identity", 2, 2),
    ]  # fmt: skip
    files = sorted(path.name for path in (chain.folder / "golden/one/steps").iterdir())
    assert files == ["00_original.txt", "01_twice.txt", "03_remove_identity.txt"], "what changes nothing has no file"
    texts = [(chain.folder / "golden/one/steps" / file).read_text().splitlines() for file in files]
    assert changes(texts[0], texts[1])[2:] == [
        "-%0 = Neg(x)",
        "+%2 = Identity(x)",
        "+%0 = Identity(%2)",
        " %1 = Abs(%0)",
    ], "a value that takes the place of another has its number"
    out = chain.ok("golden", "check", "one")
    assert "each of 3 passes makes the same graph" in out and out.endswith("golden one holds\n")


def test_a_pass_that_changed_is_shown_with_its_diff(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx", "--from-run", "./twice.toml,remove_identity")
    chain.write("twice.toml", LONGER)
    out = fails(chain, "one")
    assert "step 1 (twice): another graph, first at line " in out and re.search(
        r"^ +\+%\d = Identity\(%\d\)$", out, re.M
    )
    assert "step 2" not in out, "what follows from it is not shown again"
    chain.write("twice.toml", PASS.replace("uses(a) == 1", "uses(a) == 2"))
    out = fails(chain, "one")
    assert "step 1 (twice): it changes nothing; recorded 1 match" in out
    assert "twice matched 0, recorded 1" in out
    entry = chain("golden", "check", "one", "--json").json()["records"][0]
    assert entry["place"] == {"file": "steps/01_twice.txt", "line": 1}
    (chain.folder / "twice.toml").unlink()
    assert "cannot be run again: " in fails(chain, "one")


def test_another_model_is_told_from_another_pass(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx", "--from-run", "./twice.toml")
    chain.save("m.onnx", CHAIN.replace("Exp", "Floor"))
    out = fails(chain, "one")
    assert "the model: another graph, first at line 6, node 'exp'" in out and "step 1" not in out
    assert "the model is not the recorded file" in out


def test_a_pipeline_that_breaks_a_promise_is_not_recorded(chain: Cli) -> None:
    chain.write("lie.toml", PASS.replace("y = Abs(c)", "y = Identity(c)"))
    ended = chain("golden", "record", "one", "m.onnx", "--from-run", "./lie.toml")
    assert ended.code == 1 and "lie broke its promise 'exact'" in ended.err and "nothing is recorded" in ended.err
    assert not (chain.folder / "golden").exists()


def test_a_step_file_edited_by_hand_is_refused(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx", "--from-run", "./twice.toml")
    chain.write("golden/one/steps/01_twice.txt", "mine\n")
    assert "steps/01_twice.txt: it is not the text whose sha256" in chain.refused("golden", "check", "one")
    text = (chain.folder / "golden/one/outputs.toml").read_text()
    chain.write("golden/one/outputs.toml", text.replace("steps/01_twice.txt", "../../../x.txt"))
    assert "is no file of a record" in chain.refused("golden", "check", "one")


# -- update


def test_an_update_shows_what_changes_and_asks(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx", "--from-run", "./twice.toml", "--seed", "3")
    assert chain.ok("golden", "update", "one", "--yes") == "golden one: nothing changes\n"
    chain.write("twice.toml", LONGER)
    before = chain.listing()
    ended = chain("golden", "update", "one")
    assert ended.code == 2 and "--yes replaces the record" in ended.err and chain.listing() == before
    assert (
        "steps/01_twice.txt:\n" in ended.out and "run.txt: differs too\n" in ended.out and "  -nodes = 4\n" in ended.out
    )
    assert chain.ok("golden", "update", "one", "--yes").startswith(ended.out)
    assert chain.ok("golden", "check", "one").endswith("golden one holds\n")
    assert toml(chain)["feed"]["seed"] == 3, "the feed is the recorded one"


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_the_answer_at_a_terminal_counts(chain: Cli, answer: str, code: int) -> None:
    chain.ok("golden", "record", "one", "m.onnx")
    chain.save("m.onnx", CHAIN.replace("Exp", "Floor"))
    before = chain.listing()
    master, slave = pty.openpty()
    os.write(master, f"{answer}\n".encode())
    words = [sys.executable, "-m", "graphtool.cli.main", "golden", "update", "one"]
    ended = subprocess.run(words, cwd=chain.folder, stdin=slave, capture_output=True, timeout=120, check=False)
    os.close(slave)
    os.close(master)
    assert ended.returncode == code and b"replace the record?" in ended.stderr, ended
    assert (chain.listing() == before) == (code == 1)


def test_an_update_takes_another_model_and_repairs_a_broken_record(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx")
    chain.save("n.onnx", RELU)
    chain.write("golden/one/notes.md", "mine")
    chain.write("golden/one/run.txt", "broken")
    assert "it is not the text" in chain.refused("golden", "update", "one", "--yes")
    chain.ok("golden", "update", "one", "n.onnx", "--yes")
    assert toml(chain)["model"]["path"] == "../../n.onnx"
    assert (chain.folder / "golden/one/notes.md").read_text() == "mine"
    chain.ok("golden", "check", "one")


# -- feeds and data sets


def test_a_feed_from_a_file_can_be_kept(chain: Cli) -> None:
    np.savez(chain.folder / "f.npz", x=np.ones((2, 3), np.float32))
    out = chain.ok("golden", "record", "loose", "m.onnx", "--feed", "f.npz")
    assert "note: the feed came from a file" in out
    chain.ok("golden", "record", "kept", "m.onnx", "--feed", "f.npz", "--data-set")
    (chain.folder / "f.npz").unlink()
    assert "recorded on the feed 'f.npz'; give it with --feed" in chain.refused("golden", "check", "loose")
    assert chain.ok("golden", "check", "kept").endswith("golden kept holds\n")
    tensor = onnx.load_tensor(str(chain.folder / "golden/kept/test_data_set_0/input_0.pb"))
    assert tensor.name == "x" and np.array_equal(onnx.numpy_helper.to_array(tensor), np.ones((2, 3)))
    chain.save("m.onnx", CHAIN.replace("Exp", "Floor"))
    chain.ok("golden", "update", "kept", "--yes")
    assert chain.ok("golden", "check", "kept").endswith("golden kept holds\n")


def test_onnx_test_data_sets_are_checked(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx", "--data-set")
    (chain.folder / "case").mkdir()
    (chain.folder / "golden/one/test_data_set_0").rename(chain.folder / "case/test_data_set_0")
    assert "holds data sets and no model.onnx" in chain.refused("golden", "check", "case")
    assert chain.ok("golden", "check", "case", "m.onnx").endswith("golden test_data_set_0 holds\n")
    (chain.folder / "m.onnx").rename(chain.folder / "case/model.onnx")
    chain.ok("golden", "check", "case")
    chain.ok("golden", "check", "case/test_data_set_0")
    chain.save("case/model.onnx", CHAIN.replace("Exp", "Floor"))
    assert "times what is allowed" in fails(chain, "case")
    assert "::error file=case/test_data_set_0,line=1," in fails(chain, "case", "--report", "github:-")


def test_what_a_record_cannot_hold_is_refused(cli: Cli) -> None:
    cli.save("m.onnx", "g (float[4] x) => (seq(float[M]) y) <int64 n = {2}> { y = SplitToSequence<axis=0>(x, n) }")
    assert "output 'y' holds a sequence or map; a golden record holds real" in cli.refused(
        "golden", "record", "m", "m.onnx"
    )


# -- versions and threads


def test_a_record_of_the_first_format_is_read(chain: Cli) -> None:
    chain.ok("golden", "record", "one", "m.onnx")
    path = chain.folder / "golden/one/outputs.toml"
    path.write_text(re.sub(r'path = ".*"\n', "", path.read_text().replace("format = 2", "format = 1")))
    chain.ok("golden", "check", "one", "m.onnx")
    assert read_record(path.parent)[0].source is None


def test_a_number_of_threads_that_is_none(chain: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHTOOL_THREADS", "many")
    assert "GRAPHTOOL_THREADS is 'many': it must be a number" in chain.refused("golden", "record", "one", "m.onnx")
