"""The wheel: it holds every module, pass and profile and nothing else, and works where there is no checkout.

Files beside the package are packed by name, which breaks silently: hence the count, and a clean environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.parser
import pytest
from clirun import HEADER, NET

ROOT = Path(__file__).resolve().parents[1]
NO_INDEX = re.compile(
    r"NewConnectionError|ConnectTimeout|Name or service not known|Temporary failure in name|ProxyError"
)
PASSES = sorted(path.stem for path in (ROOT / "passes").glob("*.toml"))
PROFILES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "atc_profiles").rglob("*.toml"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The ``bin`` of a fresh environment that has the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [
        folder / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
    ]
    install = subprocess.run([*command, wheel], cwd=folder, capture_output=True, text=True, check=False)
    if install.returncode and NO_INDEX.search(install.stderr):
        pytest.skip(f"pip reaches no package index: {install.stderr.strip().splitlines()[-1]}")
    assert install.returncode == 0, install.stderr
    yield folder / "bin"
    shutil.rmtree(folder)  # hundreds of megabytes, which pytest would keep for three sessions


def outside(words: list[str], bin_: Path, folder: Path) -> str:
    """Run a command of the clean environment in a folder of its own; return what it says."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env |= {"PATH": f"{bin_}:/usr/bin:/bin", "XDG_STATE_HOME": str(folder / "state")}
    ended = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return ended.stdout


def test_the_wheel_holds_what_it_must_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        meta = {name.partition(".dist-info/")[2] for name in archive.namelist() if ".dist-info/" in name}
        entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "graphtool = graphtool.__main__:main" in archive.read(entry).decode()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "graphtool").rglob("*.py")}
    data = {f"graphtool/_data/passes/{name}.toml" for name in PASSES}
    data |= {f"graphtool/_data/{name}" for name in PROFILES}
    assert len(PASSES) >= 18 and len(PROFILES) >= 2 and len(modules) >= 100
    assert names == modules | data | {"graphtool/py.typed"}
    assert meta == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_wheel_works_in_a_clean_environment(installed: Path, tmp_path: Path) -> None:
    found = json.loads(outside(["graphtool", "passes", "list", "--json"], installed, tmp_path))
    assert [item["name"] for item in found["passes"]] == PASSES
    where = outside(["python", "-c", "import graphtool; print(graphtool.__file__)"], installed, tmp_path)
    assert str(ROOT) not in where, "it must be the wheel that runs, not the checkout"
    onnx.save(onnx.parser.parse_model(HEADER + NET), tmp_path / "net.onnx")
    passes = "resize_nearest,prune_outputs,onnxsim"
    out = outside(["graphtool", "run", "-p", passes, "--profile", "ascend310", "net.onnx"], installed, tmp_path)
    assert "wrote net.graphtool.onnx" in out and "atc --framework=5 --model=net.graphtool.onnx" in out
    assert [value.name for value in onnx.load(tmp_path / "net.graphtool.onnx").graph.output] == ["y"]
    api = "import graphtool; print(len(graphtool.run(graphtool.load('net.onnx'), 'prune_outputs').steps))"
    assert outside(["python", "-c", api], installed, tmp_path) == "1\n"


def test_every_pass_holds_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert outside(["graphtool", "passes", "test"], installed, tmp_path).rstrip().endswith("passed, 0 failed")
