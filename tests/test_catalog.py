"""Which passes can be named: those that ship, a project's own, files by path; and what happens to equal names."""

from __future__ import annotations

import os
from pathlib import Path

import onnx.parser
import pytest
from clirun import HEADER, Cli

from graphtool.data import data_dir
from graphtool.errors import PassError
from graphtool.rewrite import Catalog, parse_pipeline

NEGATE = """summary = "Neg in place of Relu"
why = "a test"
parity = "lossy"
[[rewrite]]
match = "y = Relu(x)"
replace = "y = Neg(x)"
"""
IN_ORDER = 'summary = "In order"\nwhy = "a test"\nparity = "lossy"\nsequence = [{}]\n'
MEANING = """
[[semantics]]
match = "y = Twice(x)"
replace = "y = {op}(x, x)"
"""
RELU = "g (float[4] x) => (float[4] y) { [relu] y = Relu(x) }"


def shipped() -> list[str]:
    return Catalog([data_dir("passes")]).names


@pytest.fixture
def project(cli: Cli) -> Cli:
    """A folder with passes of its own and a model."""
    (cli.folder / "passes").mkdir()
    cli.write("passes/negate.toml", NEGATE)
    cli.write("passes/both.toml", IN_ORDER.format('"negate", "remove_identity"'))
    cli.save("m.onnx", RELU)
    return cli


def test_a_projects_passes_can_be_named(project: Cli) -> None:
    assert set(Catalog().names) == {*shipped(), "negate", "both"}
    out = project.ok("run", "-p", "both", "m.onnx", "--no-check")
    assert "matched relu" in out
    assert project.ok("passes", "show", "negate").startswith("negate: Neg in place of Relu")


def test_the_list_says_where_each_is_from(project: Cli) -> None:
    found = {item["name"]: item for item in project("passes", "list", "--json").json()["passes"]}
    assert found["negate"]["origin"] == "passes/negate.toml" and found["optimize"]["origin"] == "shipped"
    rows = project.ok("passes", "list").splitlines()
    assert rows[0].split() == ["pass", "promise", "from", "summary"]
    assert ["negate", "lossy", "passes/negate.toml", "Neg", "in"] in [row.split()[:5] for row in rows]
    assert all("\x1b" not in row for row in rows)


def test_without_a_project_there_is_no_such_column(cli: Cli) -> None:
    assert cli.ok("passes", "list").splitlines()[0].split() == ["pass", "promise", "summary"]


def test_a_misspelt_name_may_be_one_of_the_project(project: Cli) -> None:
    assert project.refused("passes", "show", "negatt") == (
        "unknown pass 'negatt'; did you mean 'negate'?  (graphtool passes list)"
    )


# -- one name twice


def test_a_shared_name_is_an_error_that_says_what_to_say(project: Cli) -> None:
    project.write("passes/remove_identity.toml", NEGATE)
    said = "pass 'remove_identity' is not one file; say shipped/remove_identity or ./passes/remove_identity.toml"
    assert project.refused("run", "-p", "remove_identity", "m.onnx") == said
    assert project.refused("passes", "show", "remove_identity") == said
    assert "Remove Identity" in project.ok("passes", "show", "shipped/remove_identity")
    assert "Neg in place" in project.ok("passes", "show", "./passes/remove_identity.toml")
    assert project.refused("passes", "show", "both").endswith(said), "a project says which one it means"
    assert "remove_identity is there twice" in project.ok("passes", "list")


def test_shipped_sequences_mean_shipped_passes(project: Cli) -> None:
    project.write("passes/remove_identity.toml", NEGATE)
    project.save("i.onnx", "g (float[4] x) => (float[4] y) { [id] i = Identity(x) [relu] y = Relu(i) }")
    project.ok("optimize", "i.onnx", "-o", "o.onnx")
    assert [node.op_type for node in onnx.load(project.folder / "o.onnx").graph.node] == ["Relu"]
    assert "shipped/remove_identity" in Catalog().get("optimize").sequence
    (stage,) = parse_pipeline("shipped/remove_identity", Catalog())
    assert stage.text() == "shipped/remove_identity" and stage.spec.path.parent == data_dir("passes")


def test_an_unknown_shipped_name(project: Cli) -> None:
    assert project.refused("passes", "show", "shipped/negate").startswith("unknown pass 'shipped/negate'")


# -- broken files of a project


@pytest.mark.parametrize("name", ["broken.toml", "No Good Name.toml"])
def test_a_broken_file_stands_in_the_way_of_nothing_else(project: Cli, name: str) -> None:
    project.write(f"passes/{name}", "semantics = ")
    assert project("run", "-p", "negate", "m.onnx").code == 0
    ended = project("passes", "list")
    assert ended.code == 0 and ended.out.count(f"broken: passes/{name}: ") == 1
    listed = {item["name"]: item for item in project("passes", "list", "--json").json()["passes"]}
    assert listed[Path(name).stem]["error"].startswith(f"passes/{name}: ")
    assert project.refused("passes", "show", Path(name).stem).startswith(f"passes/{name}: ")
    ended = project("passes", "test", "passes")  # the others are tested all the same
    assert ended.code == 1 and f": passes/{name}: " in ended.out
    assert project.refused("passes", "test", f"passes/{name}").startswith(f"passes/{name}: ")


def test_what_is_no_file_does_not_hang(project: Cli) -> None:
    os.mkfifo(project.folder / "passes/pipe.toml")
    (project.folder / "passes/folder.toml").mkdir()
    (project.folder / "passes/gone.toml").symlink_to("nowhere")
    (project.folder / "passes/round.toml").symlink_to("round.toml")
    assert Catalog().semantics()
    said = [str(found) for entry, found in Catalog().listing() if entry.name in ("pipe", "folder", "gone", "round")]
    assert said == [
        "passes/folder.toml: not a regular file",
        "passes/gone.toml: cannot be read: No such file or directory",
        "passes/pipe.toml: not a regular file",
        "passes/round.toml: cannot be read: Too many levels of symbolic links",
    ]


def test_a_checkout_of_graphtool_is_no_project(cli: Cli) -> None:
    """Its passes folder may be another version's: every name would be there twice."""
    for name in ("passes/optimize.toml", "graphtool/rewrite/catalog.py", "pyproject.toml"):
        (cli.folder / name).parent.mkdir(parents=True, exist_ok=True)
        cli.write(name, NEGATE)
    assert Catalog().names == shipped() and Catalog().get("optimize").sequence


def test_the_shipped_folder_is_not_its_own_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data_dir("passes").parent)
    assert Catalog().names == shipped()


# -- meanings of ops


def test_meanings_are_looked_for_only_where_the_word_is(tmp_path: Path) -> None:
    """A file without it is not even read as TOML."""
    (tmp_path / "none.toml").write_text("this is = not TOML")
    (tmp_path / "twice.toml").write_text(NEGATE + MEANING.format(op="Add"))
    assert list(Catalog([tmp_path]).semantics()) == [("Twice", "")]


def test_what_onnxruntime_computes_itself_has_no_other_meaning(project: Cli) -> None:
    """Else a file could call any operator by the name of another, and be exact."""
    gelu = "com.microsoft.QuickGelu"
    meaning = f"[[semantics]]\nmatch = 'y = {gelu}(x)'\nreplace = 'y = Relu(x)'\n"
    rewrite = f"[[rewrite]]\nmatch = 'y = Relu(x)'\nreplace = 'y = {gelu}(x)'\n"
    project.write("lie.toml", f'summary = "s"\nwhy = "w"\nparity = "exact"\n{rewrite}{meaning}')
    project.save("m.onnx", "g (float[2,5] x) => (float[2,5] y) { y = Relu(x) }")
    ended = project("run", "-p", "./lie.toml", "m.onnx")
    assert ended.code == 1 and "lie broke its promise 'exact'" in ended.err
    project.write("lie.toml", (project.folder / "lie.toml").read_text().replace("QuickGelu", "NoSuchGelu"))
    assert "onnxruntime has no NoSuchGelu" in project.ok("run", "-p", "./lie.toml", "m.onnx")


def test_meanings_by_rank(project: Cli) -> None:
    """A shipped meaning stands, then that of a file named by path, then the project's."""

    def op(catalog: Catalog, name: str) -> str:
        return catalog.semantics()[name, ""].rule.replacement.nodes[0].op_type

    project.write("passes/twice.toml", NEGATE + MEANING.format(op="Mul"))
    own = MEANING.format(op="Add")
    project.write("mine.toml", NEGATE + own + own.replace("Twice", "AdaptiveAvgPool2d"))
    catalog = Catalog()
    before = op(catalog, "AdaptiveAvgPool2d")
    assert op(catalog, "Twice") == "Mul"
    catalog.get("./mine.toml")
    assert op(catalog, "Twice") == "Add" and op(catalog, "AdaptiveAvgPool2d") == before != "Add"


def test_a_meaning_in_a_file_by_path_is_what_the_judge_runs(project: Cli) -> None:
    project.write("mine.toml", NEGATE.replace("Relu", "Abs").replace("lossy", "exact") + MEANING.format(op="Add"))
    project.save("t.onnx", "g (float[4] x) => (float[4] y) { [relu] a = Relu(x) [twice] y = Twice(a) }")
    ended = project("run", "-p", "./mine.toml,remove_identity", "t.onnx")
    assert ended.code == 0 and "onnxruntime has no Twice" in ended.out, ended


# -- natives of graphtool, called by a file that is not its own


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ("", "takes parameter 'from' of type names, which the pass does not declare"),
        (
            'params.from = { type = "names", default = [], help = "h" }\n'
            'params.to = { type = "string", default = "x", help = "h" }',
            "takes parameter 'to' of type names, not 'x'",
        ),
    ],
    ids=["missing", "of another type"],
)
def test_a_native_is_given_what_it_reads(project: Cli, params: str, reason: str) -> None:
    head = NEGATE[: NEGATE.index("[[")]
    project.write("mine.toml", f'{head}native = "rename"\n{params}\n')
    said = project.refused("run", "-p", "./mine.toml", "m.onnx", "--no-check")
    assert said == f"mine: native pass 'rename' {reason}"


@pytest.mark.parametrize("path", ["x" * 5000, "passes"])
def test_a_file_that_a_native_cannot_read_is_one_line(project: Cli, path: str) -> None:
    said = project.refused("run", "-p", f"concat_models:path={path}", "m.onnx", "--no-check")
    assert said.startswith("concat_models: ") and len(said) < 300


def test_a_number_too_large_for_a_native_is_one_line(project: Cli) -> None:
    project.save("f.onnx", "g (float[2] x) => (float[2] y) <float[2] w = {1,2}> { n = Neg(w) y = Add(x, n) }")
    ended = project("run", "-p", "fold_constants:seconds=9223372036854775807", "f.onnx", "--no-check")
    assert ended.code in (0, 2) and "Traceback" not in ended.err and ended.err.count("\n") <= 1


# -- sequences


def test_a_sequence_that_is_too_much_is_refused(tmp_path: Path) -> None:
    """Twelve lines that would be 2**12 passes; and one of many words."""
    (tmp_path / "a0.toml").write_text(NEGATE)
    for number in range(12):
        (tmp_path / f"a{number + 1}.toml").write_text(IN_ORDER.format(f'"a{number}", "a{number}"'))
    (tmp_path / "long.toml").write_text(IN_ORDER.format(", ".join(['"a0"'] * 2000)))
    catalog = Catalog([tmp_path])
    assert catalog.get("a9").sequence == ("a8", "a8")
    for name in ("a12", "long"):
        with pytest.raises(PassError, match="sequence: more than 1000 passes when written out"):
            catalog.get(name)


def test_sequences_in_sequences_without_end(tmp_path: Path) -> None:
    (tmp_path / "a0.toml").write_text(NEGATE)
    for number in range(400):
        (tmp_path / f"a{number + 1}.toml").write_text(IN_ORDER.format(f'"a{number}"'))
    with pytest.raises(PassError, match="sequences in sequences, more than 16 deep"):
        Catalog([tmp_path]).get("a400")
    assert Catalog([tmp_path]).get("a15").sequence == ("a14",)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(NEGATE)
    catalog = Catalog([tmp_path])
    first = catalog.get("x")
    assert catalog.get("x") is first
    path.write_text(NEGATE.replace("a test", "another test"))
    assert catalog.get("x").why == "another test"


def test_a_text_form_in_another_folder(project: Cli) -> None:
    catalog = Catalog()
    text = ",".join(stage.text() for stage in parse_pipeline("both,./passes/negate.toml", catalog))
    assert text == "both,./passes/negate.toml"


@pytest.mark.parametrize("name", ["x" * 5000, "\0", "a/" * 3000, "\udcff"])
def test_a_path_that_can_be_none(name: str) -> None:
    with pytest.raises(PassError, match="no pass file"):
        Catalog().get(f"{name}.toml")


def test_help_does_not_look_at_passes(project: Cli) -> None:
    project.write("passes/broken.toml", "x")
    assert HEADER and "explain" in project.ok("passes", "--help")
