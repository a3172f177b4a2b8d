"""Around the pass language: explain, new, docs and the schema."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from clirun import Cli, fit_for_a_terminal

from graphtool.cases import difference, model_of, run_entry
from graphtool.cases_child import run_guarded
from graphtool.cli.passes_new import Kind
from graphtool.data import data_dir
from graphtool.errors import PassError
from graphtool.explain import explain, reasons
from graphtool.report.pages import bodies_of, pages, stale
from graphtool.rewrite import Catalog, parse_pipeline
from graphtool.rewrite.passfile import parse_pass
from graphtool.rewrite.schema import schema
from graphtool.rewrite.template import KINDS, template

ROOT = Path(__file__).resolve().parents[1]
PASSES = sorted(data_dir("passes").glob("*.toml"))

# -- explain

NET = """g (float[2,3] x, float[3] v) => (float[2,3] y, float[3] z, float[2,3] u, float[3] t) {
  [neg1] a = Neg(x)  [relu1] y = Relu(a)
  [neg2] b = Neg(v)  [relu2] z = Relu(b)
  [relu3] u = Relu(x)
  [neg4] d = Neg(z)  [relu4] t = Relu(d)
}"""
DEAF = """summary = "Abs in place of Relu"
why = "a test"
parity = "lossy"
[[rewrite]]
match = "a = Neg(x) y = Relu(a)"
where = ["rank(x) == 2"]
replace = "y = Abs(x)"
[[rewrite]]
opset = ">=18"
match = "y = Tanh(x)"
replace = "y = Abs(x)"
"""


@pytest.fixture
def net(cli: Cli) -> Cli:
    cli.save("net.onnx", NET)
    cli.write("deaf.toml", DEAF)
    return cli


def test_every_near_miss_with_its_reason_in_the_order_of_the_graph(net: Cli) -> None:
    found = net("passes", "explain", "./deaf.toml", "net.onnx", "--json").json()
    (look,) = found["stages"][0]["passes"]
    assert [item["where"] for item in look["matches"]] == ["relu1"]
    assert [(item["where"], item["op"], item["body"]) for item in look["misses"]] == [
        ("relu2", "Relu", "rewrite[0]"),
        ("relu3", "Relu", "rewrite[0]"),
        ("relu4", "Relu", "rewrite[0]"),
    ]
    said = [item["reason"] for item in look["misses"]]
    assert said[0] == said[2] == "where[0] does not hold: rank(x) == 2" and "Neg" in said[1]
    assert look["idle"] == ["rewrite[1] is for other opsets: it needs opset >=18; the model has 13"]


def test_reasons_are_grouped_and_with_all_each_node_is_named(net: Cli) -> None:
    text = net.ok("passes", "explain", "./deaf.toml", "net.onnx")
    assert "  not at 2 nodes: rewrite[0]: where[0] does not hold: rank(x) == 2\n    relu2, relu4\n" in text
    text = net.ok("passes", "explain", "./deaf.toml", "net.onnx", "--all")
    assert "  not at relu4 (Relu): rewrite[0]: where[0] does not hold: rank(x) == 2 (x float32[" in text
    assert text.count("not at ") == 3 and fit_for_a_terminal(text)


def test_nothing_is_written(net: Cli) -> None:
    before = net.listing()
    net.ok("passes", "explain", "./deaf.toml", "net.onnx")
    assert net.listing() == before


def test_a_sequence_pass_by_pass() -> None:
    text = """g (float[2,3] x) => (float[2,3] y, float[2,3] o) {
      [one] i = Identity(x)  [two] a = Transpose<perm=[1,0]>(i)  [three] y = Transpose<perm=[1,0]>(a)
      [four] o = Identity(x) }"""
    catalog = Catalog()
    (found,) = explain(model_of(text, 17), parse_pipeline("optimize", catalog), catalog)
    looks = {look.spec.name: look for look in found.looks}
    assert len(looks) == len(found.looks) > 10, "each simple pass once, however often it was applied"
    assert [match.where for match in looks["remove_identity"].matches] == ["one"]
    assert {node for reason in reasons(looks["remove_identity"]) for node in reason.nodes} >= {"four"}


def test_parameters_and_several_passes(net: Cli) -> None:
    words = "./deaf.toml,prune_outputs:keep=y,remove_unused"
    found = net("passes", "explain", words, "net.onnx", "--json").json()
    assert [stage["text"] for stage in found["stages"]] == ["./deaf.toml", "prune_outputs:keep=y", "remove_unused"]
    assert found["stages"][1]["passes"][0]["matches"], "it sees the result of the one before"


def test_what_a_pass_requires(net: Cli) -> None:
    net.write("late.toml", DEAF.replace("parity", 'requires = { opset = ">=20" }\nparity'))
    text = net.ok("passes", "explain", "./late.toml", "net.onnx")
    assert text == "./late.toml\n  not for this model: it needs opset >=20; the model has 13\n"


def test_a_native_and_a_model_without_a_candidate(net: Cli) -> None:
    assert "no node comes near" in net.ok("passes", "explain", "remove_unused", "net.onnx")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["remove_identiy", "net.onnx"], "unknown pass 'remove_identiy'; did you mean 'remove_identity'?"),
        (["remove_identity:a=1", "net.onnx"], "remove_identity has no parameter 'a'"),
        (["remove_identity", "nt.onnx"], "no file 'nt.onnx'; did you mean 'net.onnx'?"),
    ],
)
def test_explain_refuses_in_one_line(net: Cli, words: list[str], said: str) -> None:
    assert said in net.refused("passes", "explain", *words)


# -- new


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_passes_its_own_cases(cli: Cli, kind: str) -> None:
    """Even strictly: each of its conditions is needed by a case."""
    text = cli.ok("passes", "new", f"my_{kind}", f"--{kind}")
    assert text.startswith(f"wrote passes/my_{kind}.toml\n")
    (entry,) = [entry for entry in Catalog().entries if not entry.shipped]
    assert [result.fault for result in run_entry(Catalog(), entry, strict=True)] in ([""] * 2, [""] * 3)
    written = (cli.folder / f"passes/my_{kind}.toml").read_text()
    assert written.count("#") > 10 and jsonschema.Draft7Validator(schema()).is_valid(tomllib.loads(written))
    assert max(map(len, written.splitlines())) <= 120


def test_the_kinds_are_those_of_the_command(cli: Cli) -> None:
    assert tuple(Kind) == KINDS
    cli.ok("passes", "new", "mine")
    assert (cli.folder / "passes/mine.toml").read_text() == template("mine", "rewrite")


def test_a_template_in_another_folder_says_how_to_name_it(cli: Cli) -> None:
    text = cli.ok("passes", "new", "mine", "--dir", "some/where")
    assert text.splitlines()[1:] == [
        "  graphtool passes test some/where",
        "  graphtool passes explain some/where/mine.toml MODEL.onnx",
    ]
    assert cli.ok("passes", "test", "some/where").endswith("3 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Relu6"], "a pass is named in lower case with underscores, such as fuse_gelu, not 'Relu6'"),
        (["../x"], "not '../x'"),
        (["optimize"], "'optimize' is a shipped pass; give yours another name  (graphtool passes list)"),
        (["there"], "'passes/there.toml' is there already; nothing was written"),
        (["dangling"], "'passes/dangling.toml' is there already; nothing was written"),
        (["x", "--edit", "--native"], "--edit and --native exclude each other: a pass has one kind of body"),
        (["x", "--dir", "passes/there.toml"], "cannot make folder 'passes/there.toml': File exists"),
    ],
)
def test_new_refuses_in_one_line(cli: Cli, words: list[str], said: str) -> None:
    (cli.folder / "passes").mkdir()
    cli.write("passes/there.toml", "mine")
    (cli.folder / "passes/dangling.toml").symlink_to("nowhere")
    assert said in cli.refused("passes", "new", *words)


# -- docs


def test_the_pages_in_the_repository_are_those_of_the_pass_files() -> None:
    catalog = Catalog([data_dir("passes")])
    wanted = pages([catalog.get(name) for name in catalog.names], catalog)
    assert stale(ROOT / "docs/passes", wanted) == [], "run make docs"


def test_each_pass_has_a_page_and_is_in_the_index_once() -> None:
    catalog = Catalog([data_dir("passes")])
    found = pages([catalog.get(name) for name in catalog.names], catalog)
    assert set(found) == {"index.md", "functions.md", *(f"{name}.md" for name in catalog.names)}
    for name in catalog.names:
        assert found["index.md"].count(f"[{name}]({name}.md)") == 1, name
        spec = catalog.get(name)
        assert found[f"{name}.md"].count("\n### ") == len(spec.cases)
    for page in found.values():
        for target in re.findall(r"\]\(([^)]+\.md)\)", page):
            assert target in found or target == "../pass_language.md", target


def test_docs_writes_what_differs_and_removes_what_is_gone(cli: Cli) -> None:
    cli.ok("passes", "new", "one")
    cli.ok("passes", "new", "two", "--edit")
    assert cli.ok("passes", "docs") == "docs/passes: 4 pages, 4 written, 0 removed\n"
    first = cli.listing()
    assert cli.ok("passes", "docs") == "docs/passes: 4 pages, 0 written, 0 removed\n" and cli.listing() == first
    assert cli("passes", "docs", "--check").code == 0
    page = (cli.folder / "docs/passes/one.md").read_text()
    assert page.startswith("<!-- generated from passes/one.toml by graphtool passes docs -->\n# one\n")
    assert "match   = 'a = Relu(x)  y = Relu(a)'" in page and "### two become one" in page
    (cli.folder / "passes/two.toml").unlink()
    cli.write("docs/passes/notes.md", "my own")
    cli.write("docs/passes/one.md", page.replace("become", "becomes"))
    ended = cli("passes", "docs", "--check")
    assert ended.code == 1 and ended.out.splitlines() == [
        "docs/passes/index.md is not what the pass files say",
        "docs/passes/one.md is not what the pass files say",
        "docs/passes/two.md is of a pass that is gone",
        "docs/passes: 3 differ",
    ]
    assert cli.ok("passes", "docs") == "docs/passes: 3 pages, 2 written, 1 removed\n"
    assert {path.name for path in (cli.folder / "docs/passes").iterdir()} == {
        "index.md", "functions.md", "one.md", "notes.md",
    }  # fmt: skip


def test_docs_overwrites_no_file_of_yours(cli: Cli) -> None:
    cli.ok("passes", "new", "one")
    (cli.folder / "docs/passes").mkdir(parents=True)
    cli.write("docs/passes/one.md", "# my own notes")
    assert cli.refused("passes", "docs") == "'docs/passes/one.md' was not generated; move it away"


def test_docs_of_a_broken_file(cli: Cli) -> None:
    (cli.folder / "passes").mkdir()
    cli.write("passes/one.toml", "x = 1")
    assert cli.refused("passes", "docs").startswith("passes/one.toml: x: unknown key")


def test_bodies_are_shown_as_they_are_written() -> None:
    text = '''summary = "[[edit]]"
why = """
[[rewrite]]
"""
# of the params
[params.a]
type = "int"

# one comment
# and another
[[rewrite]] # here
match = \'\'\'
[named] y = Relu(x)
[[case]]
\'\'\'
replace = "y = Neg(x) # no comment"
let = { a = 'x # y', b = """c""" }

[[region.member]]
op = "Cast"
[region.member.set]
to = "1"

[[case]]
name = "x"
'''
    wanted = text[text.index("# one comment") : text.index("\n\n[[case]]\nname")]
    assert bodies_of(text) == wanted


# -- the schema


def known_keys(table: dict[str, Any]) -> set[str]:
    """Return the keys that the loader knows where it meets the unknown key '~' in a table."""
    with pytest.raises(PassError) as error:
        parse_pass(table, Path("passes/x.toml"), "passes/x.toml")
    said = str(error.value)
    assert "unknown key; known here: " in said, said
    return set(said.partition("known here: ")[2].split(", "))


HEAD = {"summary": "s", "why": "w", "parity": "exact"}
EDIT = {"select": {"op": "Relu"}, "set": {"a": 1}}
REGION = {
    "values": "True", "enter": "a = Neg(v)", "leave": "v = Neg(a)", "member": [{"op": "Relu"}],
}  # fmt: skip
PLACES: list[tuple[str, dict[str, Any]]] = [
    ("", {"~": 1}),
    ("requires", {"native": "remove_unused", "requires": {"~": 1}}),
    ("params", {"native": "remove_unused", "params": {"a": {"~": 1}}}),
    ("edit", {"edit": [{"~": 1}]}),
    ("edit.select", {"edit": [{**EDIT, "select": {"~": 1}}]}),
    ("rewrite", {"rewrite": [{"~": 1}]}),
    ("region", {"region": [{"~": 1}]}),
    ("region.member", {"region": [{**REGION, "member": [{"~": 1}]}]}),
    ("boundary", {"boundary": [{"~": 1}]}),
    ("boundary.when", {"boundary": [{"at": "inputs", "cast": "int32", "when": {"~": 1}}]}),
    ("semantics", {"native": "remove_unused", "semantics": [{"~": 1}]}),
    ("case", {"native": "remove_unused", "case": [{"~": 1}]}),
]


@pytest.mark.parametrize(("place", "table"), PLACES, ids=[place or "top" for place, _ in PLACES])
def test_the_schema_has_the_keys_that_the_loader_knows(place: str, table: dict[str, Any]) -> None:
    found: dict[str, Any] = schema()
    for word in place.split(".") if place else ():
        found = found["properties"][word]
        found = found["anyOf"][0]["items"] if "anyOf" in found else found
    found = found["additionalProperties"] if place == "params" else found
    assert set(found["properties"]) == known_keys(HEAD | table)
    for key, inner in found["properties"].items():
        assert inner.get("description"), f"{place}.{key} has no description"


@pytest.mark.parametrize("path", PASSES, ids=lambda path: path.stem)
def test_the_schema_accepts_every_shipped_pass(path: Path) -> None:
    faults = [
        error.message for error in jsonschema.Draft7Validator(schema()).iter_errors(tomllib.loads(path.read_text()))
    ]
    assert faults == []


@pytest.mark.parametrize(
    "change",
    [
        {"parity": "exakt"},
        {"sumary": "x"},
        {"summary": ""},
        {"requires": {"opset": "11"}},
        {"sequence": ["a"]},
        {"rewrite": [{"match": "y = Relu(x)"}]},
        {"rewrite": [{"match": 1, "replace": "y = x"}]},
        {"case": [{"name": "n", "before": "g", "after": "h", "opset": 0}]},
        {"params": {"Big": {"type": "int", "default": 0, "help": "h"}}},
        {"params": {"a": {"type": "integer", "default": 0, "help": "h"}}},
        {"interface": "shape"},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_loader_refuses(tmp_path: Path, change: dict[str, Any]) -> None:
    good = tomllib.loads((data_dir("passes") / "remove_identity.toml").read_text())
    validator = jsonschema.Draft7Validator(schema())
    assert validator.is_valid(good) and not validator.is_valid(good | change)
    with pytest.raises(PassError):
        parse_pass(good | change, Path("passes/x.toml"), "passes/x.toml")


def test_the_schema_in_the_repository_is_the_one_of_the_code(cli: Cli) -> None:
    wanted = json.loads((ROOT / "docs/pass.schema.json").read_text())
    assert wanted == schema(), "run make docs"
    jsonschema.Draft7Validator.check_schema(wanted)
    assert json.loads(cli.ok("passes", "schema")) == wanted
    cli.ok("passes", "schema", "-o", "s.json")
    assert (cli.folder / "s.json").read_text() == (ROOT / "docs/pass.schema.json").read_text()


# -- all of it


@pytest.mark.parametrize("command", ["explain", "new", "docs", "schema"])
def test_help_fits(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = cli.ok("passes", command, "--help")
    assert text.startswith(f"Usage: graphtool passes {command} ") and max(map(len, text.splitlines())) <= 80


ENDLESS = """
[[case]]
name = "a trillion rounds"
before = '''g (float[2] x) => (float[2] l) <int64 trips = {1000000000000}, bool cond = {1}> {
  i = Identity(x)  l = Loop(trips, cond, i) <body = body (int64 k, bool ci, float[2] c) => (bool co, float[2] o) {
    co = Identity(ci)  o = Neg(c) }> }'''
after = "g (float[2] x) => (float[2] y) { y = Neg(x) }"
"""


def test_a_case_says_nothing_of_the_order_of_nodes() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) {{ {} }}"
    one, two, other = (
        model_of(text.format(nodes), 17)
        for nodes in (
            "a = Neg(x) b = Exp(x) y = Add(a, b) z = Abs(a)",
            "b = Exp(x) c = Neg(x) z = Abs(c) y = Add(c, b)",
            "b = Exp(x) c = Neg(x) z = Abs(b) y = Add(c, b)",
        )
    )
    assert difference(one, two) == "" and "Abs" in difference(one, other)


def test_a_case_that_does_not_end_is_a_fault_of_its_file(tmp_path: Path) -> None:
    """And the files behind it are tested."""
    text = (data_dir("passes") / "remove_identity.toml").read_text()
    (tmp_path / "endless.toml").write_text(text[: text.index("[[case]]")] + ENDLESS + text[text.index("[[case]]") :])
    (tmp_path / "fine.toml").write_text(text)
    told: list[str] = []
    found = list(run_guarded(str(tmp_path), False, told.append, seconds=4))
    assert told == ["pass endless", "pass fine"]
    faults = [(result.spec, result.case, result.fault) for result in found if result.fault]
    assert faults == [("endless", "a trillion rounds", "it was stopped after 4 seconds")]
    assert sum(result.spec == "fine" for result in found) == text.count("[[case]]")


def test_two_passes_of_one_name_are_tested_apart(cli: Cli) -> None:
    """In a folder that is tested, the files in it are meant, whatever ships."""
    (cli.folder / "mine").mkdir()
    shutil.copy(data_dir("passes") / "remove_identity.toml", cli.folder / "mine")
    text = (cli.folder / "mine/remove_identity.toml").read_text()
    good = cli.ok("passes", "test", "mine")
    assert re.fullmatch(r"\d+ passed, 0 failed\n", good)
    cli.write("mine/remove_identity.toml", text.replace('"y = x"', '"y = Relu(x)"').replace("'y = x'", "'y = Relu(x)'"))
    assert cli("passes", "test", "mine").code == 1


def test_what_is_tested_is_a_folder_a_file_or_a_name(cli: Cli) -> None:
    cli.ok("passes", "new", "one")
    cli.ok("passes", "new", "other")
    cli.write("passes/broken.toml", "summary = 1")
    shutil.copy(data_dir("passes") / "remove_identity.toml", cli.folder / "passes")
    count = (data_dir("passes") / "remove_identity.toml").read_text().count("[[case]]")
    for what in ("one", "passes/one.toml", "./passes/other.toml"):
        assert cli.ok("passes", "test", what) == "3 passed, 0 failed\n"
    assert cli.ok("passes", "test", "shipped/remove_identity") == f"{count} passed, 0 failed\n"
    assert cli.ok("passes", "test", "remove_identity") == f"{2 * count} passed, 0 failed\n"
    assert "no pass files (*.toml) in '.'" in cli("passes", "test", "").err, "an empty word is the folder, not nothing"
    assert "did you mean 'one'?" in cli("passes", "test", "onne").err
    assert "no pass file 'passes/gone.toml'" in cli("passes", "test", "passes/gone.toml").err
    assert "broken.toml: " in cli("passes", "test", "passes").out


def test_an_operator_that_nobody_has_is_said_where_one_is_named_nearly_so(cli: Cli) -> None:
    body = """
        summary = "A pass with a slip in it"
        why = "People type."
        parity = "exact"
        {}
    """
    cli.write("rule.toml", body.format("[[rewrite]]\nmatch = 'a = Rellu(x)  y = MyOwn(a)'\nreplace = 'y = x'"))
    cli.write("edit.toml", body.format("[[edit]]\nselect = { op = 'Rezise' }\nset = { mode = 'nearest' }"))
    cli.save("m.onnx", "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    slip = "no operator is named 'Rellu'; did you mean 'Relu'?"
    assert f"nothing to do: {slip}" in cli.ok("run", "--passes", "./rule.toml", "m.onnx", "-o", "o.onnx")
    told = cli.ok("passes", "explain", "./rule.toml", "m.onnx")
    assert slip in told
    assert "MyOwn" not in told
    assert "did you mean 'Resize'?" in cli.ok("passes", "explain", "./edit.toml", "m.onnx")
    # an operator of somebody's own that the model has is no slip, whatever it is like
    cli.save("own.onnx", "g (float[2] x) => (float[2] y) { y = Rellu(x) }")
    assert slip not in cli.ok("passes", "explain", "./rule.toml", "own.onnx")
