"""All golden records at once: each in a process of its own, one table, reports."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from clirun import RELU, Cli, child

from graphtool.golden import children
from graphtool.golden.checking import Options

# stands between: does to the records of three names what a broken onnxruntime would, and passes the others on
BETWEEN = """import os, runpy, signal, sys, time
words = sys.argv[1:]
name = words[2]
if name == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
if name == "hangs":
    time.sleep(600)
if name == "babbles":
    print("{"); sys.exit(0)
os.execv(sys.executable, [sys.executable, "-m", "graphtool.cli.main", *words])
"""


@pytest.fixture
def three(cli: Cli) -> Cli:
    """Records of which one holds, one does not, and one has no model."""
    for name in ("good", "moved", "gone"):
        cli.save(f"{name}.onnx", RELU)
        cli.ok("golden", "record", name, f"{name}.onnx")
    cli.save("moved.onnx", RELU.replace("Relu", "Neg"))
    (cli.folder / "gone.onnx").unlink()
    return cli


def test_one_table_and_the_reports_of_all(three: Cli) -> None:
    words = ["golden", "check", "--allow-missing", "--junit", "j.xml", "--report", "sarif:s.json", "--jobs", "2"]
    ended = three(*words, "--report", "markdown:m.md", "--report", "github:g.txt", "--report", "json:d.json")
    assert (ended.code, ended.err) == (1, ""), ended
    rows = [line.split() for line in ended.out.splitlines()[1:4]]
    assert rows[0][:2] == ["gone", "skipped:"] and rows[1] == ["good", "same", "1", "of", "1", "0", "holds"]
    assert rows[2][:2] == ["moved", "other"] and rows[2][-1] == "fails"
    assert ended.out.endswith("1 held, 1 failed, 1 skipped\n")
    assert "run.txt: another graph, first at line 4, node 'relu'" in ended.out

    def read(name: str) -> str:
        return (three.folder / name).read_text()

    suite = Xml.fromstring(read("j.xml"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    skipped = suite.find("testsuite/testcase/skipped")
    assert skipped is not None and skipped.get("message") == "the model is not there: gone.onnx"
    (result,) = json.loads(read("s.json"))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("golden/moved/run.txt", 4)
    assert read("g.txt").startswith("::error file=golden/moved/run.txt,line=4,title=graphtool golden::moved: ")
    assert "| `moved` | `other` |" in read("m.md") and "| `gone` | " in read("m.md")
    statuses = {entry["name"]: entry["status"] for entry in json.loads(read("d.json"))["records"]}
    assert statuses == {"gone": "skipped", "good": "holds", "moved": "fails"}


def test_nothing_to_check_is_an_error(cli: Cli) -> None:
    assert "no records in 'golden'" in cli.refused("golden", "check")
    assert "no records in 'none'" in cli.refused("golden", "check", "--dir", "none")
    assert "--feed is for one record" in cli.refused("golden", "check", "--feed", "f.npz")


def test_a_crash_a_hang_and_nonsense_are_rows(three: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    script = three.write("between.py", BETWEEN)
    monkeypatch.setattr(children, "COMMAND", (sys.executable, str(script)))
    names = ["babbles", "crashes", "gone", "hangs"]
    told: list[str] = []
    found = children.check_all(names, Path("golden"), Options(), jobs=2, time_limit=8, watch=told.append)
    assert [entry["name"] for entry in found] == names and len(told) == 4
    assert all(entry["status"] == "fails" and not entry["ok"] for entry in found)
    assert found[0]["faults"] == ["the check ended with exit code 0"]
    assert found[1]["faults"] == ["the check was ended by SIGSEGV"]
    assert found[2]["faults"] == ["golden 'gone': the model is not there: gone.onnx; --allow-missing skips it"]
    assert found[3]["faults"] == ["no result within 8 s"]


def test_limits_hold_for_each_record_and_not_for_the_whole(three: Cli) -> None:
    """The whole outlasts the limit of a phase: it waits for a command that would take minutes, and is a row."""
    shutil.rmtree(three.folder / "golden/moved")
    record = three.folder / "golden/gone/outputs.toml"
    record.write_text(record.read_text().replace('path = "../../gone.onnx"', "command = \"sh -c 'sleep 600' {model}\""))
    words = ["graphtool", "golden", "check", "--allow-commands", "--time-limit", "3", "--jobs", "3", "--json"]
    ended = child(words, three.folder)
    assert ended.returncode == 1, ended
    found = {entry["name"]: entry for entry in json.loads(ended.stdout)["records"]}
    assert "making the model) was stopped after 3 seconds" in found["gone"]["faults"][0]
    assert found["good"]["status"] in ("holds", "fails"), "on a busy machine 3 seconds may be too few"


def test_the_cores_are_shared_out(three: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def one(name: str, folder: Path, options: Options, limit: float | None, environment: dict[str, str]) -> dict:
        seen.append(environment["GRAPHTOOL_THREADS"])
        return {"name": name}

    monkeypatch.setattr(children, "check_one", one)
    cores = len(os.sched_getaffinity(0))
    children.check_all(["a", "b"], Path("golden"), Options(), jobs=2)
    children.check_all(["a"], Path("golden"), Options(), jobs=8)
    assert seen == [str(max(1, cores // 2))] * 2 + [str(cores)], "one record alone has all"


def test_a_broken_record_is_listed_as_such(three: Cli) -> None:
    three.write("golden/moved/outputs.toml", "format = 9")
    out = three.ok("golden", "list")
    assert "good" in out and "broken: golden/moved/outputs.toml: format: 9 is not known" in out.replace("\n", " ")
    records = {entry["name"]: entry for entry in three("golden", "list", "--json").json()["records"]}
    assert records["moved"]["fault"] and records["good"]["source"] == {"kind": "path", "text": "../../good.onnx"}
