"""What commands write with --json and --report: every document keeps to its schema, every format says the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
import typer
from clirun import LIE, RELU, Cli
from jsonschema import Draft202012Validator

from graphtool.cli.main import app
from graphtool.report.schema import KINDS, schema

ROOT = Path(__file__).resolve().parents[1]

# a command that takes --json, and words that make it print every sort of thing it has
WORDS = {
    "run": [
        "run",
        "-p",
        "resize_nearest,./lie.toml,remove_identity",
        "net.onnx",
        "--keep-going",
        "--soc",
        "Ascend310",
        "--save-outputs",
        "kept",
    ],
    "optimize": ["optimize", "net.onnx"],
    "run --dry-run": ["run", "-p", "resize_nearest", "net.onnx", "--dry-run"],
    "inspect": ["inspect", "net.onnx", "--by", "node", "--soc", "Ascend310"],
    "check": ["check", "net.onnx", "--fix", "-o", "fixed.onnx", "--profile", "ascend310"],
    "rules list": ["rules", "list"],
    "rules show": ["rules", "show", "CNV005"],
    "rules test": ["rules", "test", "--select", "CLP"],
    "diff": ["diff", "net.onnx", "near.onnx"],
    "compare": ["compare", "net.onnx", "near.onnx", "--max", "max_abs=0", "--layers"],
    "compare --as-ascend": ["compare", "net.onnx", "--as-ascend"],
    "compare DIR": ["compare", "relu.onnx", "out", "--inputs", "in", "--pytorch", "out", "--as-ascend"],
    "bisect": ["bisect", "-p", "./lie.toml", "net.onnx"],
    "bisect --rank": ["bisect", "--rank", "-p", "resize_nearest", "net.onnx"],
    "reduce": ["reduce", "-p", "./lie.toml", "relu.onnx"],
    "tune": ["tune", "-p", "resize_nearest", "--min", "cosine=0.9", "net.onnx"],
    "judge": ["judge", "kept/before", "kept/after", "--max", "max_abs=0"],
    "golden check": ["golden", "check", "one", "near.onnx"],
    "golden list": ["golden", "list"],
    "passes list": ["passes", "list"],
    "passes show": ["passes", "show", "prune_outputs"],
    "passes test": ["passes", "test", "rules"],
    "passes explain": ["passes", "explain", "resize_nearest", "net.onnx"],
    "atc emit": ["atc", "emit", "net.onnx"],
    "atc explain": ["atc", "explain", "atc.sh"],
    "atc aipp check": ["atc", "aipp", "check", "aipp.cfg"],
    "atc diagnose": ["atc", "diagnose", "log.txt", "net.onnx"],
    "atc patch five_2_four": ["atc", "patch", "five_2_four", "net.onnx", "five_2_four.py"],
    "profiles list": ["profiles", "list"],
    "profiles show": ["profiles", "show", "ascend310"],
    "profiles test": ["profiles", "test"],
}


def closed(found: object) -> Any:
    """Return a schema in which no object may have a key that it does not name."""
    if isinstance(found, dict):
        own = {key: closed(value) for key, value in found.items()}
        named = isinstance(own.get("properties"), dict) and own.get("type") == "object"
        return {"additionalProperties": False, **own} if named else own
    return [closed(item) for item in found] if isinstance(found, list) else found


CLOSED = closed(schema())


def hold(data: Any) -> str:
    """Hold a document to its schema, and to having no other key; return its kind."""
    name, kind, number = data["schema"].split("/")
    assert (name, number) == ("graphtool", "1") and kind in KINDS
    own = {**CLOSED, "oneOf": [{"$ref": f"#/$defs/{kind}"}]}
    Draft202012Validator(own).validate(data)
    return str(kind)


@pytest.fixture
def net(cli: Cli) -> Cli:
    cli.save("net.onnx")
    cli.save("relu.onnx", RELU)
    cli.write("lie.toml", LIE)
    cli.write("atc.sh", "atc --model=net.onnx --framework=5 --output=net --soc_version=Ascend310 --mode=9 --nil=1\n")
    cli.write("aipp.cfg", "aipp_op {\n aipp_mode: static\n crp: true\n}\n")
    cli.write("log.txt", "E19010: No parser is registered for Op [conv, optype [Conv]].\n")
    cli.write(
        "five_2_four.py",
        'def f():\n    if dst_format.lower() == "nchw" and dst_shape in [[1, 4, 8, 16]]:\n        x()\n',
    )
    (cli.folder / "rules").mkdir()
    cli.write("rules/lie.toml", LIE)
    cli.ok("run", "net.onnx", "-p", "resize_nearest,prune_outputs", "-o", "near.onnx")
    cli.ok("golden", "record", "one", "net.onnx")
    for folder, name, size in (("in", "a.bin", 12), ("out", "a_1.bin", 6)):
        (cli.folder / folder).mkdir()
        cli.write(f"{folder}/{name}", bytes(size))
    return cli


def with_json(command: Any, path: str = "") -> Iterator[str]:
    """Yield each command that has the option ``--json``."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from with_json(inner, f"{path} {name}".strip())
    elif any("--json" in parameter.opts for parameter in command.params):
        yield path


def test_every_command_with_json_is_held_to_its_schema(net: Cli) -> None:
    commands = set(with_json(typer.main.get_command(app)))
    assert commands <= WORDS.keys(), "add how it is called to WORDS, and what it prints to graphtool/report/schema.py"
    kinds = set()
    for name, words in WORDS.items():
        ended = net(*words, "--json")
        assert ended.code in (0, 1), (name, ended)
        kinds.add(hold(ended.json()))
    assert kinds == KINDS.keys(), "every kind is printed by some command"


def test_the_schema_that_is_published_is_the_one_in_the_code() -> None:
    Draft202012Validator.check_schema(schema())
    text = (ROOT / "docs/report.schema.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(schema())), "make docs"


def test_a_document_that_lost_a_key_is_refused(net: Cli) -> None:
    data = net("inspect", "net.onnx", "--json").json()
    for key in data:
        less = copy.deepcopy(data)
        del less[key]
        assert not Draft202012Validator(schema()).is_valid(less), key


def reports(net: Cli, *words: str) -> dict[str, str]:
    """Return the five reports of a command, and its exit code."""
    files = {kind: f"r.{kind}" for kind in ("json", "junit", "sarif", "github", "markdown")}
    asked = [word for kind, name in files.items() for word in ("--report", f"{kind}:{name}")]
    code = net(*words, *asked).code
    return {kind: (net.folder / name).read_text() for kind, name in files.items()} | {"code": str(code)}


def test_a_broken_promise_is_told_in_every_format(net: Cli) -> None:
    found = reports(net, "run", "-p", "./lie.toml,remove_identity", "relu.onnx", "--keep-going")
    assert found["code"] == "1"
    data = json.loads(found["json"])
    assert hold(data) == "run" and data["ok"] is False
    assert "seconds" not in found["json"]
    why = "lie broke its promise 'exact'"
    failure = Xml.fromstring(found["junit"]).find("testsuite/testcase/failure")
    assert failure is not None and str(failure.get("message")).startswith(why)
    result = json.loads(found["sarif"])["runs"][0]["results"][0]
    assert result["ruleId"] == "broken-promise" and result["level"] == "error"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "relu.onnx"
    assert result["locations"][0]["logicalLocations"][0]["name"] == "relu"
    assert found["github"].startswith(f"::error file=relu.onnx,title=graphtool broken-promise%3A relu::{why}")
    assert "| `./lie.toml` | `1` | `1 -> 1` | `exact` | `broken` | **fails** |" in found["markdown"]
    assert "| `remove_identity` | `0` |" in found["markdown"]


def test_a_run_that_holds(net: Cli) -> None:
    found = reports(net, "run", "-p", "resize_nearest", "net.onnx")
    assert found["code"] == "0"
    assert "<failure" not in found["junit"]
    run = json.loads(found["sarif"])["runs"][0]
    assert {result["level"] for result in run["results"]} == {"note"} and run["invocations"][0]["exitCode"] == 0
    assert found["github"].startswith("::notice file=net.onnx,title=graphtool note::resize_nearest changes the numbers")
    assert found["markdown"].startswith("<!-- graphtool run -->\n### graphtool run `net.onnx`: holds\n")
    assert "Resize up: " in found["markdown"], "what changed is in the details"


def test_a_pipeline_over_its_budget_and_a_comparison(net: Cli) -> None:
    found = reports(net, "run", "-p", "resize_linear_to_matmul", "net.onnx", "--max", "max_abs=0")
    assert json.loads(found["sarif"])["runs"][0]["results"][0]["ruleId"] == "refused"
    found = reports(net, "compare", "net.onnx", "near.onnx", "--max", "max_abs=0")
    assert found["code"] == "1" and hold(json.loads(found["json"])) == "compare"
    assert found["github"].startswith("::error file=near.onnx,title=graphtool over-budget::output 'y': max_abs ")
    assert "| `y` | " in found["markdown"] and "**fails**" in found["markdown"]


def test_what_bisect_blames(net: Cli) -> None:
    found = reports(net, "bisect", "-p", "remove_identity,./lie.toml,prune_outputs", "relu.onnx")
    assert found["code"] == "1" and hold(json.loads(found["json"])) == "bisect"
    suite = Xml.fromstring(found["junit"]).find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    results = json.loads(found["sarif"])["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["culprit", "note"]
    assert results[0]["locations"][0]["logicalLocations"][0]["name"] == "relu"
    assert "go on without: graphtool run" in results[1]["message"]["text"]
    assert found["github"].startswith("::error file=relu.onnx,title=graphtool culprit%3A relu::lie at relu: output 'y'")
    assert "| `./lie.toml` | `exact` | `1` | `1` | **fails** |" in found["markdown"]
    assert "| `prune_outputs` | `exact` | `0` | `0` | skipped |" in found["markdown"], "never reached"
    assert "| `remove_identity` | `exact` | `0` | `0` | holds |" in found["markdown"]


def test_a_pipeline_that_bisect_finds_sound(net: Cli) -> None:
    found = reports(net, "bisect", "-p", "remove_identity", "relu.onnx")
    assert found["code"] == "0" and "<failure" not in found["junit"]
    assert json.loads(found["sarif"])["runs"][0]["results"] == []
    assert found["github"] == "::notice title=graphtool bisect::every promise holds\n"


def test_rankings_tuned_pipelines_and_reduced_models(net: Cli) -> None:
    found = reports(net, "bisect", "--rank", "-p", "resize_nearest", "net.onnx")
    assert hold(json.loads(found["json"])) == "rank" and found["code"] == "0"
    assert "### graphtool bisect `net.onnx`: ranked" in found["markdown"]
    assert "| `resize_nearest at up` | `" in found["markdown"] and "holds" not in found["markdown"]
    found = reports(net, "tune", "-p", "resize_nearest", "--min", "cosine=1.0", "net.onnx")
    assert hold(json.loads(found["json"])) == "tune" and found["code"] == "0"
    assert "left out: the budget does not hold with it" in found["junit"] and "<failure" not in found["junit"]
    assert "held out, drawn with seed 2" in found["github"] + found["markdown"]
    found = reports(net, "reduce", "-p", "./lie.toml", "relu.onnx")
    assert hold(json.loads(found["json"])) == "reduce" and found["code"] == "0"
    run = json.loads(found["sarif"])["runs"][0]
    assert run["results"][0]["ruleId"] == "failure" and run["invocations"][0]["exitCode"] == 0
    assert '<failure message="lie broke its promise' in found["junit"], "the model fails, though the command does not"
    assert "### graphtool reduce `relu.onnx`: reduced" in found["markdown"]


def test_stdout_in_place_of_the_text(net: Cli) -> None:
    out = net.ok("run", "-p", "resize_nearest", "net.onnx", "--report", "markdown:-", "--report", "json:r.json")
    assert out.startswith("<!-- graphtool run -->") and "wrote net.graphtool.onnx" in out
    assert hold(json.loads((net.folder / "r.json").read_text())) == "run"


def test_what_does_not_fit_is_refused_before_the_run(net: Cli) -> None:
    run = ["run", "-p", "resize_nearest", "net.onnx"]
    assert "reads or writes" in net.refused(*run, "--report", "json:net.onnx")
    assert "is no report of graphtool" in net.refused(*run, "--report", "json:lie.toml")
    assert "stdout has the document of --json" in net.refused(*run, "--json", "--report", "sarif:-")
    for words in (["bisect", "-p", "./lie.toml"], ["tune", "-p", "resize_nearest"], ["reduce", "-p", "./lie.toml"]):
        assert "no format 'xml'" in net.refused(*words, "net.onnx", "--report", "xml:r")
    assert "--dry-run runs nothing" in net.refused(*run, "--dry-run", "--report", "sarif:r")
