"""The project's golden records under an older onnxruntime: by hand, since it makes an environment of its own.

GRAPHTOOL_OLDER=1.20.1 pytest -s tests/test_golden_versions.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VERSION = os.environ.get("GRAPHTOOL_OLDER", "")


@pytest.mark.skipif(not VERSION, reason="GRAPHTOOL_OLDER names no onnxruntime; it takes some minutes and the network")
def test_the_records_hold_under_an_older_onnxruntime(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, str(ROOT), f"onnxruntime=={VERSION}"], check=True)
    check = [python, "-m", "graphtool.cli.main", "golden", "check", "--dir", ROOT / "golden", "--json"]
    ended = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended
    records = json.loads(ended.stdout)["records"]
    assert len(records) == 2
    for record in records:
        print(record["name"], [(one["name"], one["error"], one["flips"], one["may_flip"]) for one in record["outputs"]])
        assert record["status"] == "holds"
