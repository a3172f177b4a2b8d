"""``pytest --golden DIR``, in a pytest of its own: what is collected, what a failure says, what it costs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from clirun import RELU, Cli, child

HEAVY = ("numpy", "onnx", "onnxruntime", "typer", "rich", "graphtool.golden", "graphtool.graph")


@pytest.fixture
def project(cli: Cli) -> Cli:
    """A project with a test, a record that holds, one that does not, and one without a model."""
    for name in ("good", "moved", "gone"):
        cli.save(f"{name}.onnx", RELU)
        cli.ok("golden", "record", name, f"{name}.onnx")
    cli.save("moved.onnx", RELU.replace("Relu", "Neg"))
    (cli.folder / "gone.onnx").unlink()
    (cli.folder / "tests").mkdir()
    cli.write("tests/test_own.py", "def test_own():\n    pass\n")
    cli.write("pytest.ini", "[pytest]\ntestpaths = tests\naddopts = --strict-markers -p no:cacheprovider\n")
    return cli


def run(project: Cli, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with this plugin, whether or not the environment has heard of it, and with no other."""
    plugin = ["-p", "graphtool.pytest_plugin"]
    return child([sys.executable, "-m", "pytest", *plugin, *words], project.folder, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def test_a_record_is_a_test(project: Cli) -> None:
    ended = run(project, "--golden", "golden", "--golden-allow-missing", "-rs", "-m", "golden")
    assert ended.returncode == 1 and "1 failed, 1 passed, 1 skipped, 1 deselected" in ended.stdout, ended.stdout
    assert "run.txt: another graph, first at line 4, node 'relu'" in ended.stdout
    assert "the model is not there: " in ended.stdout and "gone.onnx" in ended.stdout
    assert "Traceback" not in ended.stdout


def test_what_is_collected(project: Cli) -> None:
    def collected(*words: str) -> list[str]:
        lines = run(project, "--collect-only", "-q", *words).stdout.splitlines()
        return [line for line in lines if "::" in line]

    own = ["tests/test_own.py::test_own"]
    records = [f"golden/{name}/outputs.toml::{name}" for name in ("gone", "good", "moved")]
    assert collected() == own
    assert collected("--golden", "golden") == own + records
    assert collected("--golden", "golden", ".") == records + own, "each once"
    assert collected("golden", "--golden", "golden") == records
    assert collected("golden/good", "--golden", "golden", "-k", "good") == records[1:2]


def test_a_failure_names_the_options_of_pytest(project: Cli) -> None:
    project.ok("golden", "record", "made", "--from-command", "cp good.onnx {model}")
    ended = run(project, "--golden", "golden", "-k", "made")
    assert "; --golden-allow-commands runs it" in ended.stdout, ended.stdout
    assert run(project, "--golden", "golden", "-k", "made", "--golden-allow-commands").returncode == 0


def test_a_folder_without_records_is_an_error(project: Cli) -> None:
    ended = run(project, "--golden", "tests")
    assert ended.returncode == 4 and "there are no golden records" in ended.stderr


def test_pytest_finds_the_plugin() -> None:
    found = {entry.name: entry.value for entry in entry_points(group="pytest11")}
    assert found.get("graphtool") == "graphtool.pytest_plugin", "make .venv/.ready installs the entry point"


def test_without_the_option_nothing_heavy_is_imported(project: Cli) -> None:
    code = f"import sys, graphtool.pytest_plugin; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert child([sys.executable, "-c", code], project.folder).stdout == "[]\n"
    project.write("tests/test_own.py", f"import sys\ndef test():\n    assert not set({HEAVY!r}) & set(sys.modules)\n")
    ended = run(project)
    assert ended.returncode == 0 and "1 passed" in ended.stdout, ended.stdout
