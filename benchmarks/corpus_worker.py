"""Child processes that judge one model after the other; a crash or a hang is a result, and costs one model.

The parent writes a request as a line of JSON and reads lines back: which stage begins (so that the blame for a crash is
known), then the row. Libraries print what they like: the child's own standard output goes nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

SECONDS = 120.0  # for one model
_MEMORY = 12 << 30  # of address space for a child: a model that wants more is a result, not the end of the machine
_CRASHED = {
    "original": "not runnable",
    "optimize": "crash",
    "judge": "wrong",
}  # what a crash in a stage says of a model


class Worker:
    """One child process, started anew after each crash."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def judge(self, request: Row) -> Row:
        """Return the row of one model: what the child says of it, or how the child ended."""
        child = self._child or self._start()
        assert child.stdin is not None and child.stdout is not None
        stage, late = "original", threading.Event()

        def stop() -> None:
            late.set()
            self._kill(child)

        timer = threading.Timer(self.seconds, stop)
        timer.start()
        try:
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            for line in child.stdout:
                said = json.loads(line)
                if "stage" not in said:
                    return {**request, **said}
                stage = said["stage"]
        except BrokenPipeError:
            pass  # it died between two models: the same as dying in the first stage
        finally:
            timer.cancel()
        child.wait()
        self._stop()
        how = f"more than {self.seconds:.0f} s" if late.is_set() else _ending(child.returncode)
        status = "timeout" if late.is_set() and stage != "original" else _CRASHED[stage]
        return {**request, "status": status, "reason": f"{stage}: {how}", "after": None}

    def _start(self) -> subprocess.Popen[str]:
        words = [sys.executable, __file__]
        self._child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        return self._child

    @staticmethod
    def _kill(child: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(child.pid, signal.SIGKILL)  # with whatever it started

    def _stop(self) -> None:
        if self._child is None:
            return
        self._kill(self._child)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._child = None


def _ending(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def judged(requests: Sequence[Row], jobs: int, seconds: float = SECONDS) -> Iterator[Row]:
    """Yield the row of each request as it comes, from ``jobs`` workers."""
    waiting: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Row | BaseException] = queue.SimpleQueue()
    for request in requests:
        waiting.put(request)

    def work() -> None:
        try:
            with Worker(seconds) as worker:
                while (request := waiting.get()) is not None:
                    done.put(worker.judge(request))
        except BaseException as error:  # the main thread is waiting for as many rows as there are requests
            done.put(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for thread in threads:
        waiting.put(None)
        thread.start()
    try:
        for _ in requests:
            row = done.get()
            if isinstance(row, BaseException):
                raise row
            yield row
    finally:
        while not waiting.empty():  # the caller had enough
            waiting.get_nowait()
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            thread.join()


# -- in the child


def _serve() -> None:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        for line in requests:
            request = json.loads(line)
            target = Path(folder, "result.onnx")
            row = _row(request, target, answers) if request.get("best_of") is None else _best_peer(request)
            answers.write(json.dumps(row) + "\n")


def _row(request: Row, target: Path, answers: Any) -> Row:
    """Return what becomes of one model: run it, optimize it, judge the result."""
    from corpus_count import count, op_counts
    from corpus_judge import baseline, judge, one_line

    from graphtool.errors import GraphtoolError

    def stage(name: str) -> None:
        answers.write(json.dumps({"stage": name}) + "\n")

    stage("original")
    path = Path(request["path"])
    try:
        before = baseline(path)
    except Exception as error:  # onnx itself cannot read it
        return {"status": "not runnable", "reason": one_line(error), "after": None}
    row: Row = {"before": count(before.model), "after": None, "reason": before.unusable}
    stage("optimize")
    started = time.process_time()
    target.unlink(missing_ok=True)
    try:
        optimize(path, target, bool(request.get("checked")), request.get("tool"))
    except GraphtoolError as error:
        return row | {"status": "refused", "reason": one_line(error)}
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "?"
        return row | {"status": "crash", "reason": f"{type(error).__name__}: {one_line(error)} ({place})"}
    row["seconds"] = round(time.process_time() - started, 3)
    stage("judge")
    import onnx

    try:
        faults = judge(before, target)
        ops = op_counts(onnx.load(target, load_external_data=False))
    except Exception as error:  # no file, or none that onnx reads
        return row | {"status": "wrong", "reason": f"no usable model: {one_line(error)}"}
    row |= {"after": sum(ops.values()), "ops": dict(sorted(ops.items())), "bytes": target.stat().st_size}
    row |= {"removed": dict(sorted((op_counts(before.model) - ops).items()))}
    if faults:
        return row | {"status": "wrong", "reason": "; ".join(faults)}
    if before.unusable:
        return row | {"status": "not runnable"}
    return row | {"status": "random" if before.random else "right"}


def optimize(path: Path, target: Path, checked: bool = False, tool: str | None = None) -> None:
    """Write the optimized model: what ``graphtool optimize`` does, with its own judge off unless ``checked``.

    ``tool`` is one of :mod:`peers` in its place.
    """
    from graphtool import api

    if tool is None:
        api.run(api.load(path), "optimize", checked=checked).graph.save(target)
    else:
        import onnx
        from peers import TOOLS

        onnx.save(TOOLS[tool](onnx.load(path)), target)


def _best_peer(request: Row) -> Row:
    """Return the first peer whose result has ``best_of`` nodes, with its operators."""
    import onnx
    from corpus_count import op_counts
    from peers import TOOLS, installed

    for name, tool in TOOLS.items():
        if not installed(name):
            continue
        try:
            ops = op_counts(tool(onnx.load(request["path"])))
        except Exception:  # a peer that refuses is not the one that was best
            continue
        if sum(ops.values()) == request["best_of"]:
            return {"tool": name, "ops": ops}
    return {"tool": None}


if __name__ == "__main__":
    _serve()
