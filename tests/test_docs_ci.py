"""The pages about records, reports and CI: every command in them exists, the CI files parse, and they do the job."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from clirun import RELU, Cli

from graphtool import pytest_plugin
from graphtool.cli.main import app
from graphtool.report.files import FORMATS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("golden.md", "reports.md", "ci.md")


def blocks(page: str, kind: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)


def scripts(found: Any) -> Iterator[str]:
    """Yield the lines that a CI file runs."""
    if isinstance(found, dict):
        for key, value in found.items():
            lines = [value] if isinstance(value, str) else value
            if key in ("run", "script"):
                yield from (line for text in lines for line in text.splitlines())
            else:
                yield from scripts(value)
    elif isinstance(found, list):
        for item in found:
            yield from scripts(item)


def commands(page: str) -> list[str]:
    """Return every line of a page that is a command of graphtool."""
    lines = [line for text in blocks(page, "sh") for line in text.splitlines()]
    lines += [line for text in blocks(page, "yaml") for line in scripts(yaml.safe_load(text))]
    lines += [line.removeprefix("$ ") for text in blocks(page, "") for line in text.splitlines() if line[:2] == "$ "]
    return [line.partition("  #")[0] for line in lines if "graphtool " in line and not line.startswith("pip")]


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    words = words[words.index("graphtool") + 1 :]
    return words[: words.index(">>")] if ">>" in words else words


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists_with_every_option(page: str) -> None:
    found = commands(page)
    assert found
    for line in found:
        command, words = typer.main.get_command(app), words_of(line)
        while hasattr(command, "commands"):
            assert words and words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        for word, after in zip(words, [*words[1:], ""], strict=False):
            assert not word.startswith("-") or word in known, (line, word)
            assert word != "--report" or after.partition(":")[0] in FORMATS, (line, after)


def test_options_of_pytest_exist() -> None:
    text = Path(pytest_plugin.__file__).read_text()
    for option in set(re.findall(r"--golden[a-z-]*", (DOCS / "golden.md").read_text())):
        assert f'"{option}"' in text


def test_the_formats_and_rules_are_those_there_are() -> None:
    text = (DOCS / "reports.md").read_text()
    assert [row for row in re.findall(r"^\| `([\w-]+)` \|", text, re.M) if row in FORMATS] == list(FORMATS)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", (DOCS / page).read_text()):
            assert (DOCS / target).is_file(), (page, target)


def test_the_ci_files_are_whole() -> None:
    github, deploy, gitlab = (yaml.safe_load(text) for text in blocks("ci.md", "yaml"))
    for workflow in (github, deploy):
        assert {"name", "jobs"} < workflow.keys() and True in workflow, "YAML 1.1 reads the key 'on' as true"
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        assert all(("run" in step) != ("uses" in step) for step in steps)
    written = set(re.findall(r"--(?:report \w+:|junit )([\w.]+)", "\n".join(scripts(github))))
    assert written == {"golden.xml", "golden.sarif", "golden.txt", "golden.md"}
    assert gitlab["golden"]["artifacts"]["reports"]["junit"] == "golden.xml"


def test_the_check_of_the_ci_files_runs(cli: Cli) -> None:
    cli.save("m.onnx", RELU)
    cli.ok("golden", "record", "m", "m.onnx")
    for text in blocks("ci.md", "yaml"):
        for line in scripts(yaml.safe_load(text)):
            if line.startswith("graphtool golden check"):
                assert cli(*words_of(line)).code == 0
                for file in re.findall(r"golden\.\w+", line):
                    assert (cli.folder / file).stat().st_size > 0
                    (cli.folder / file).unlink()
