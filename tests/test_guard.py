"""Commands and calls that crash, hang or take too much: one line, exit code 2, nothing left behind. Real processes."""

from __future__ import annotations

import math
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clirun import RELU, Cli

from graphtool.errors import ModelError, UsageError
from graphtool.graph import Graph
from graphtool.guard import Limits, Worker, call, phases
from graphtool.guard.limits import available, seconds_of, size_of
from graphtool.guard.watch import family
from graphtool.guard.worker import GuardError

FOREVER = """g (float[2] x) => (float[2] y) {
  n = Constant <value = int64 {9223372036854775807}> ()
  t = Constant <value = bool {1}> ()
  [forever] y = Loop (n, t, x) <body = b (int64 i, bool c, float[2] a) => (bool d, float[2] o)
    { d = Identity(c) o = Add(a, a) }>
}"""
GROWING = FOREVER.replace("float[2] a", "float[N] a").replace("float[2] o", "float[M] o").replace(
    "Add(a, a)", "Concat <axis = 0> (a, a)"
)  # fmt: skip
RUN = ("run", "-p", "remove_identity", "m.onnx")


class Started:
    """A command started in a folder, with a folder of its own for temporary files."""

    def __init__(self, cli: Cli, *words: str) -> None:
        self.temporary = cli.folder.parent / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.before = cli.listing()
        self.cli = cli
        self.process = subprocess.Popen(
            [sys.executable, "-m", "graphtool.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )

    def worker(self, phase: str = "onnxruntime") -> int:
        """Return the child that works, once it has loaded onnxruntime."""
        while True:
            for pid in family(self.process.pid)[1:]:
                if "onnxruntime" in Path(f"/proc/{pid}/maps").read_text():
                    return pid
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)

    def ends(self) -> tuple[int, str]:
        """Return exit code and stderr; nothing was written, and no temporary file or process is left."""
        out, err = self.process.communicate(timeout=300)
        assert out == "" and self.cli.listing() == self.before
        assert list(self.temporary.iterdir()) == []
        return self.process.returncode, err


def ended(pid: int) -> bool:
    """Wait until a process is gone, or only waits to be noticed."""
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("model", "words", "says"),
    [
        (FOREVER, ["--time-limit", "4"], ["running the original", "in it Loop 'forever'", "was stopped after 4 sec"]),
        (GROWING, ["--memory-limit=400M"], ["running the original", "more than 400 MiB of memory", "--memory-limit"]),
    ],
    ids=["time", "memory"],
)
def test_a_model_that_takes_too_much(cli: Cli, model: str, words: list[str], says: list[str]) -> None:
    cli.save("m.onnx", model)
    code, err = Started(cli, *RUN, *words).ends()
    assert code == 2 and err.startswith("graphtool: 'm.onnx': ") and err.count("\n") == 1
    assert all(word in err for word in says), err


@pytest.mark.parametrize(
    ("number", "says"),
    [(signal.SIGSEGV, "crashed (SIGSEGV)"), (signal.SIGKILL, "most likely because the machine ran out of memory")],
)
def test_a_crash(cli: Cli, number: int, says: str) -> None:
    cli.save("m.onnx", FOREVER)
    started = Started(cli, *RUN)
    os.kill(started.worker(), number)
    code, err = started.ends()
    assert code == 2 and err.startswith("graphtool: ") and err.count("\n") == 1
    assert says in err


def test_an_interrupt_while_native_code_runs(cli: Cli) -> None:
    """Python hears of it only when onnxruntime comes back, which it never does: the child is given up."""
    cli.save("m.onnx", FOREVER)
    started = Started(cli, *RUN)
    pid = started.worker()
    time.sleep(2)
    started.process.send_signal(signal.SIGINT)
    assert started.ends() == (130, "graphtool: interrupted\n")
    assert ended(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on(cli: Cli, number: int) -> None:
    cli.save("m.onnx", FOREVER)
    started = Started(cli, *RUN)
    pid = started.worker()
    started.process.send_signal(number)
    assert started.ends() == (-number, "")
    assert ended(pid)


def test_the_child_does_not_outlive_the_command(cli: Cli) -> None:
    cli.save("m.onnx", FOREVER)
    started = Started(cli, *RUN)
    pid = started.worker()
    started.process.kill()
    assert ended(pid)
    started.process.communicate()


def test_whoever_reads_slowly_is_waited_for(cli: Cli) -> None:
    """As behind ``less``: what is printed does not fit into the pipe, and nobody reads for longer than the limit."""
    cli.save("m.onnx", "g (float[1] v0) => (float[1] v0) { [" + "x" * 200_000 + "] a = Relu(v0) }")
    words = [sys.executable, "-m", "graphtool.cli.main", "--time-limit", "5", "diff", "m.onnx", "n.onnx", "--json"]
    cli.save("n.onnx", "g (float[1] v0) => (float[1] v0) { [" + "y" * 200_000 + "] a = Relu(v0) }")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        head = process.stdout.read(1)
        time.sleep(7)
        assert head + process.stdout.read() and process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("words", [["--time-limit", "soon"], ["--memory-limit", "8X"], ["--memory-limit", "1K"]])
def test_limits_that_are_none(cli: Cli, words: list[str]) -> None:
    cli.save("m.onnx", RELU)
    assert cli.refused("inspect", "m.onnx", *words).startswith(f"{words[0]} {words[1]}: ")
    assert cli.refused(*words, "inspect", "m.onnx").startswith(f"{words[0]} {words[1]}: ")


def test_limits_in_words() -> None:
    assert [size_of(text, "") for text in ("0", "500M", "8g", "1.5GiB", "100000000")] == [
        0, 500 * 2**20, 8 * 2**30, 3 * 2**29, 10**8,
    ]  # fmt: skip
    assert [seconds_of(text, "") for text in ("0", "90", "2.5s")] == [0, 90, 2.5]
    for text in ("", "-1", "1e9", "nan", "9" * 30):
        with pytest.raises(UsageError):
            seconds_of(text, "x")
        with pytest.raises(UsageError):
            size_of(text, "x")
    assert 2**26 < available() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_wrong_limit_in_the_environment(cli: Cli) -> None:
    cli.save("m.onnx", RELU)
    words = [sys.executable, "-m", "graphtool.cli.main", "inspect", "m.onnx"]
    run = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "GRAPHTOOL_TIME_LIMIT": "x"}
    )
    assert (run.returncode, run.stderr[:36]) == (2, "graphtool: GRAPHTOOL_TIME_LIMIT x: e")


# -- phases


def test_an_error_knows_its_phase() -> None:
    phases.begin("pass p")
    with pytest.raises(MemoryError) as caught, phases.phase("outer"), phases.phase("inner"):
        raise MemoryError
    assert phases.where(caught.value) == "pass p (inner)"
    assert phases.where() == "pass p"
    phases.begin("")


# -- workers


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(Limits(memory=2**30, seconds=3)) as one:
        yield one


def test_a_worker_answers(worker: Worker) -> None:
    assert [worker.call(math.factorial, n) for n in (3, 4)] == [6, 24]
    first = worker.call(os.getpid)
    assert first == worker.call(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        worker.call(operator.truediv, 1, 0)
    with pytest.raises(ModelError, match=r"no file 'gone\.onnx'"):
        worker.call(Graph.load, "gone.onnx")
    with pytest.raises(MemoryError):
        worker.call(bytes, 3 << 30)
    assert worker.call(os.getpid) == first


def test_a_function_of_the_script_itself_is_refused_in_words(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from graphtool import guard\ndef double(n):\n    return 2 * n\nguard.call(double, 2)\n")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "UsageError: 'double' is in the script that runs, which a worker does not import" in ended.stderr


def test_a_worker_that_dies_is_replaced(worker: Worker) -> None:
    first = worker.call(os.getpid)
    with pytest.raises(GuardError, match=r"^abort crashed \(SIGABRT\)"):
        worker.call(os.abort)
    with pytest.raises(GuardError, match="ended with exit code 7"):
        worker.call(os._exit, 7)
    with pytest.raises(GuardError, match="was stopped after 3 seconds"):
        worker.call(time.sleep, 100)
    assert worker.call(os.getpid) != first


def test_a_single_call() -> None:
    assert call(math.factorial, 5) == 120
