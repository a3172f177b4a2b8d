"""The onnxruntime that decides what a graph computes: its session options. Floor 0.

The judge runs with them, and constants are folded with them: a value computed once must equal the value computed in
each run, bit for bit.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import onnxruntime as ort

from graphtool.errors import UsageError, quoted

Level = Literal["off", "all"]
THREADS = "GRAPHTOOL_THREADS"  # the environment variable for threads inside an operator

ort.set_default_logger_severity(4)  # some kernels log past the session's own level


def _threads() -> int:
    text = os.environ.get(THREADS, "") or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= 1024):
        raise UsageError(f"{THREADS} is {quoted(text)}: it must be a number of threads")
    return int(text)


def options(level: Level = "off", threads: int | None = None) -> Any:
    """Return new ``SessionOptions``: ``level`` of graph optimization, ``threads`` inside an operator (None: those of
    the environment variable GRAPHTOOL_THREADS, else all).

    Packing of weights is off: a MatMul with a packed constant differs in the last bits from a MatMul with the same
    matrix computed.
    """
    chosen = ort.SessionOptions()
    chosen.log_severity_level = 4  # onnxruntime logs to the terminal what it also raises
    levels = ort.GraphOptimizationLevel
    chosen.graph_optimization_level = levels.ORT_DISABLE_ALL if level == "off" else levels.ORT_ENABLE_ALL
    chosen.intra_op_num_threads = threads or _threads()
    chosen.inter_op_num_threads = 1
    # without the arena memory goes back when a session or an output goes: two runs of ICNet at 1024x2048 kept alive
    # peak at 0.85 GB instead of 1.3, in the same time
    chosen.enable_cpu_mem_arena = chosen.enable_mem_pattern = False
    # threads of a session that waits would otherwise spin, and the next session's run would pay for it
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.add_session_config_entry("session.disable_prepacking", "1")
    return chosen
