"""The installed command in a real process: what only shows up there."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx.parser
import pytest
from clirun import HEADER, LIE, NET, Cli, child

from graphtool import __version__
from graphtool.guard.watch import family

HEAVY = ("onnx", "numpy", "onnxruntime", "onnxsim")
COMMANDS = [
    "", "run", "optimize", "inspect", "diff", "compare", "golden", "golden record", "golden update", "golden check",
    "golden list", "passes", "passes list", "passes show", "passes test", "check", "rules", "rules list", "rules show",
    "rules test", "rules docs", "atc", "atc emit", "zoo", "zoo icnet",
]  # fmt: skip
LONG = ",".join(["remove_identity"] * 5_000)  # on CHAIN it takes many seconds
CHAIN = "g (float[2] v0) => (float[2] v2000) {" + " ".join(f"v{n + 1} = Neg(v{n})" for n in range(2000)) + "}"


@pytest.fixture
def net(cli: Cli) -> Cli:
    cli.save("net.onnx")
    return cli


def test_the_command_is_installed(cli: Cli) -> None:
    ended = child(["graphtool", "--version"], cli.folder)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"graphtool {__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """-h and --help, the whole text in 80 columns, no sentence cut off in the list of commands."""
    monkeypatch.setenv("COLUMNS", "80")
    text = cli.ok(*command.split(), "-h")
    assert text == cli.ok(*command.split(), "--help")
    assert text.startswith(f"Usage: {f'graphtool {command}'.strip()} ")
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.replace("[ARGS]...", "")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["golden", "check", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(cli: Cli, words: list[str]) -> None:
    code = (
        "import sys\n"
        "from graphtool.cli.main import main\n"
        "sys.argv = ['graphtool', *sys.argv[1:]]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    ended = child([sys.executable, "-c", code, *words], cli.folder)
    assert (ended.returncode, ended.stderr) == (0, "[]\n")


@pytest.mark.parametrize("own", [{}, {"OPENBLAS_THREAD_TIMEOUT": "20"}], ids=["ours", "the user's"])
def test_threads_of_openblas_do_not_spin(cli: Cli, own: dict[str, str]) -> None:
    code = (
        "import os, sys\n"
        "from graphtool.cli.main import command\n"
        "sys.argv = ['graphtool', '--version']\n"
        "try:\n"
        "    command()\n"
        "finally:\n"
        "    print(os.environ['OPENBLAS_THREAD_TIMEOUT'], file=sys.stderr)\n"
    )
    ended = child([sys.executable, "-c", code], cli.folder, **own)
    assert (ended.returncode, ended.stderr) == (0, f"{own.get('OPENBLAS_THREAD_TIMEOUT', '14')}\n")


def test_completion(cli: Cli) -> None:
    ended = child(
        ["graphtool", "--show-completion", "bash"], cli.folder, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert ended.returncode == 0, ended.stderr
    assert "complete -o default -F _graphtool_completion graphtool" in ended.stdout
    subprocess.run(["bash", "-n", "-c", ended.stdout], check=True)
    words = {"COMP_WORDS": "graphtool op", "COMP_CWORD": "1", "_GRAPHTOOL_COMPLETE": "complete_bash"}
    ended = child(["graphtool"], cli.folder, **words)
    assert ended.stdout.split() == ["optimize"]


def test_the_printed_command_reproduces_a_broken_promise(net: Cli) -> None:
    """It is taken from the report and run by a shell in the same folder: exit code 1, and the same pass named."""
    net.write("lie.toml", LIE)
    net.save(
        "my net's.onnx",
        "g (float[8,3] t, int64[5] i) => (float[5,3] y) { u = Identity(t) a = Gather(u, i) y = Relu(a) }",
    )
    pipeline = "rename:from=i+t:to=t+i,inputs_int32,remove_identity,./lie.toml"
    ended = child(["graphtool", "run", "-p", pipeline, "my net's.onnx"], net.folder)
    assert ended.returncode == 1 and ended.stderr.startswith("graphtool: lie broke its promise 'exact': output 'y': ")
    command = next(line for line in ended.stdout.splitlines() if line.startswith("reproduce: "))
    again = child(["bash", "-c", command.removeprefix("reproduce: ")], net.folder)
    assert again.returncode == 1
    assert again.stderr == ended.stderr


def test_a_broken_budget_is_reproduced(net: Cli) -> None:
    ended = net("run", "net.onnx", "-p", "resize_nearest:nearest_mode=ceil", "--min", "y:cosine=0.99999")
    command = ended.out.partition("reproduce: ")[2].splitlines()[0]
    again = child(["bash", "-c", command], net.folder)
    assert (ended.code, again.returncode) == (1, 1)
    assert again.stderr == ended.err


def shift(op: str, by: float, parity: str) -> str:
    """A pass that puts an Add of a constant in place of an op."""
    return (
        f'summary = "s"\nwhy = "w"\nparity = "{parity}"\n[[rewrite]]\nmatch = "y = {op}(x)"\n'
        f'let = {{ c = "like({by}, x)" }}\nreplace = "y = Add(x, c)"\n'
    )


def reproduced(net: Cli, *words: str) -> tuple[str, str]:
    """Run words that break a promise, then the command that is printed; return what both say on stderr."""
    ended = net("run", "m.onnx", *words)
    assert ended.code == 1, ended
    command = ended.out.partition("reproduce: ")[2].splitlines()[0]
    again = child(["bash", "-c", command], net.folder)
    assert again.returncode == 1, again
    return ended.err, again.stderr


@pytest.mark.parametrize(
    ("parity", "by", "budget"), [("lossy", 0.6, ("--max", "max_abs=1")), ("close", 4e-6, ())], ids=["lossy", "close"]
)
def test_what_adds_up_is_reproduced_from_where_it_is_measured(
    net: Cli, parity: str, by: float, budget: tuple[str, ...]
) -> None:
    """Each pass alone is within its bound, the two together are not: lossy since the original, close in a segment."""
    net.save("m.onnx", "g (float[4] x) => (float[4] y) { a = Sigmoid(x) i = Identity(a) d = Dropout(i) y = Relu(d) }")
    net.write("one.toml", shift("Identity", by, parity))
    net.write("two.toml", shift("Relu", by, parity))
    net.write("none.toml", LIE.replace("Relu", "Dropout").replace("Abs(x)", "x"))  # exact, and keeps it
    for alone in ("./one.toml", "./two.toml"):
        assert net("run", "m.onnx", "-p", alone, "-o", "r.onnx", *budget).code == 0, alone
    said, again = reproduced(net, "-p", "./one.toml,./none.toml,./two.toml", *budget)
    assert said == again and said.startswith("graphtool: two ")


@pytest.mark.parametrize("name", ["-dash.onnx", "a=b.onnx", "it's $HOME; x.onnx", "bell\x07.onnx", "größe.onnx"])
def test_whatever_the_model_is_called(net: Cli, name: str) -> None:
    net.write("lie.toml", LIE)
    net.save(name, "g (float[4] a) => (float[4] y) { y = Relu(a) }")
    ended = net("run", f"./{name}", "-p", "./lie.toml")
    command = ended.out.partition("reproduce: ")[2].splitlines()[0]
    again = child(["bash", "-c", command], net.folder)
    assert (ended.code, again.returncode) == (1, 1) and again.stderr == ended.err


def test_a_structural_fault_is_reproduced_without_a_run(net: Cli) -> None:
    """The pass makes an op that there is not; --no-check leaves only the checks of the graph."""
    net.write("odd.toml", LIE.replace("Abs(x)", "Odd(x)"))
    net.save("m.onnx", "g (float[2] x) => (float[2] y) { y = Relu(x) }")
    ended = net("run", "m.onnx", "-p", "./odd.toml", "--no-check")
    assert ended.code == 1 and "odd broke its promise 'exact'" in ended.err, ended
    command = ended.out.partition("reproduce: ")[2].splitlines()[0]
    assert command.endswith("--no-check")
    assert child(["bash", "-c", command], net.folder).stderr == ended.err


def maps_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended
        return ""


def test_an_interrupt_leaves_no_partial_files(net: Cli) -> None:
    net.save("chain.onnx", CHAIN)
    before = net.listing()
    command = [sys.executable, "-m", "graphtool.cli.main", "run", "-p", LONG, "chain.onnx"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not any("onnxruntime" in maps_of(pid) for pid in family(process.pid)):
        assert process.poll() is None, "it must still be running"
        time.sleep(0.01)
    time.sleep(0.7)
    assert process.poll() is None, "it must still be running"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == "" and err.splitlines()[-1] == "graphtool: interrupted" and "Traceback" not in err
    assert net.listing() == before


def test_a_pipe_that_closes_early(net: Cli) -> None:
    ended = child(["bash", "-o", "pipefail", "-c", "graphtool passes show resize_nearest | head -1"], net.folder)
    assert ended.stdout.startswith("resize_nearest: ") and ended.stderr == ""


def test_progress_is_on_stderr_and_only_on_a_terminal(net: Cli) -> None:
    """With a terminal as stderr and a pipe as stdout, stdout stays pure JSON."""
    words = ["graphtool", "run", "-p", "resize_nearest", "net.onnx", "--json"]
    assert child(words, net.folder).stderr == ""
    master, slave = pty.openpty()
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "xterm"}
    process = subprocess.Popen(words, cwd=net.folder, stdout=subprocess.PIPE, stderr=slave, env=env)
    os.close(slave)
    assert process.stdout is not None
    shown = b""
    while select.select([master], [], [], 60)[0]:
        try:
            shown += os.read(master, 4096)
        except OSError:  # the terminal's other end is closed
            break
    os.close(master)
    assert json.loads(process.stdout.read())["ok"] is True
    assert process.wait() == 0
    process.stdout.close()
    assert b"writing the result" in shown


def test_an_ascii_terminal(cli: Cli) -> None:
    model = onnx.parser.parse_model(HEADER + NET)
    model.graph.node[1].name = "größer/放大"
    cli.write("größer.onnx", model.SerializeToString())
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for words in (["run", "-p", "resize_nearest"], ["run", "-p", "prune_outputs:keep=groß"]):
        ended = child(["graphtool", *words, "größer.onnx"], cli.folder, **ascii_only)
        assert ended.stdout.isascii() and "Traceback" not in ended.stderr, ended
    assert (
        r"gr\xf6\xdfer/\u653e\u5927" in child(["graphtool", "inspect", "größer.onnx"], cli.folder, **ascii_only).stdout
    )


def test_without_a_home_or_state_folder(net: Cli) -> None:
    """The record of written files cannot be kept: the result is written, and the next run asks for a name."""
    words = ["graphtool", "run", "-p", "resize_nearest", "net.onnx"]
    assert child(words, net.folder, XDG_STATE_HOME="/proc/none").returncode == 0
    again = child(words, net.folder, XDG_STATE_HOME="/proc/none")
    assert again.returncode == 2 and "graphtool did not write it; name the result with -o" in again.stderr


def test_a_model_that_is_a_link(net: Cli) -> None:
    (net.folder / "models").mkdir()
    shutil.move(net.folder / "net.onnx", net.folder / "models/v7.onnx")
    (net.folder / "net.onnx").symlink_to("models/v7.onnx")
    assert "wrote net.graphtool.onnx" in net.ok("run", "-p", "resize_nearest", "net.onnx")
