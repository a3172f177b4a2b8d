"""Lines and tables on stdout: plain text for a pipe, rich's on a terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest

from graphtool.report.printing import line, table


def test_a_pipe_gets_a_row_a_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    table(("name", "n", "note"), [("a" * 200, "7", ("fine", "green")), ("b", "12", "")], right=("n",))
    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "name" + " " * 196 + "   n  note"
    assert first == "a" * 200 + "   7  fine"
    assert second == "b" + " " * 199 + "  12"


def test_columns_line_up_behind_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    table(("名", "n"), [("模型", "1"), ("abc", "2")])
    assert capsys.readouterr().out == "名    n\n模型  1\nabc   2\n"


def test_no_text_reaches_a_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    line("a\x1b[31mb", "red")
    table(("a",), [("\x1b[2J",), (("\x07", "red"),)])
    assert not set("\x1b\x07") & set(capsys.readouterr().out)


def test_colours_where_they_are_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    line("broken", "red")
    table(("pass",), [(("broken", "red"),)])
    assert capsys.readouterr().out.count("\x1b[31mbroken") == 2


def test_a_pipe_does_not_pay_for_rich() -> None:
    script = (
        "import sys; from graphtool.report.console import print_passes; from graphtool.rewrite import Catalog; "
        "print_passes([Catalog().get('fuse_gelu')]); print('rich' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False", ended
