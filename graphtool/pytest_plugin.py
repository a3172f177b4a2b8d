"""``pytest --golden DIR``: golden records as tests. Floor 8.

pytest loads this module in every run of every project that has graphtool installed, so it imports nothing until
``--golden`` is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_OUTPUTS = "outputs.toml"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; all are read again by each worker of pytest-xdist."""
    group = parser.getgroup("graphtool", "golden records of graphtool")
    group.addoption("--golden", action="append", metavar="DIR", help="check the golden records in DIR, a test for each")
    group.addoption(
        "--golden-allow-missing", action="store_true", help="skip a record whose model is not here; else it fails"
    )
    group.addoption(
        "--golden-allow-commands", action="store_true", help="run a record's command that is not graphtool's own"
    )
    group.addoption(
        "--golden-time-limit", type=float, default=3600, metavar="SECONDS", help="for each record (default: 3600)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the folders of ``--golden`` beside what pytest was asked to collect."""
    config.addinivalue_line("markers", "golden: a golden record of graphtool")
    here = config.invocation_params.dir
    known = {str((here / argument.partition("::")[0]).resolve()) for argument in config.args}
    for folder in _folders(config):
        if not any(folder.glob(f"*/{_OUTPUTS}")):
            raise pytest.UsageError(f"--golden {folder}: there are no golden records")
        if str(folder) not in known:
            config.args.append(str(folder))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the records of the folders that were named."""
    if file_path.name == _OUTPUTS and file_path.parent.parent.resolve() in _folders(parent.config):
        found: pytest.Collector = GoldenFile.from_parent(parent, path=file_path)
        return found
    return None


def _folders(config: pytest.Config) -> list[Path]:
    return [(config.invocation_params.dir / word).resolve() for word in config.getoption("golden") or ()]


class GoldenFile(pytest.File):
    """A record's outputs.toml: one test."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the test."""
        yield GoldenItem.from_parent(self, name=self.path.parent.name)


class GoldenError(Exception):
    """A record does not hold; the message is what ``graphtool golden check`` says."""


class GoldenItem(pytest.Item):
    """A record, checked in a process of its own."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.add_marker("golden")

    def runtest(self) -> None:
        """Check the record; skip where its model is missing and may be."""
        from graphtool.golden.checking import Options
        from graphtool.golden.children import check_one

        option = self.config.getoption
        options = Options(option("golden_allow_missing"), option("golden_allow_commands"))
        entry = check_one(self.name, self.path.parent.parent, options, option("golden_time_limit"))
        if entry["status"] == "skipped":
            pytest.skip(entry["reason"])
        if not entry["ok"]:
            # the command's options have longer names here
            raise GoldenError("\n".join((*entry["faults"], *entry["lines"])).replace("--allow-", "--golden-allow-"))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the message of the command; a traceback only for what is a fault of this module."""
        if isinstance(excinfo.value, GoldenError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where the record is, and what it is called in a report."""
        return self.path, None, f"golden {self.name}"
