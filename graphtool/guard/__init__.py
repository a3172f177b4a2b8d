"""Work on a stranger's model, in a process that may die: limits, a supervisor, and what it says. Floor 0.

The command line forks before anything heavy is imported (:mod:`graphtool.guard.command`); the child does the work and
tells phase by phase what it is at (:mod:`graphtool.guard.phases`); the parent watches memory and time
(:mod:`graphtool.guard.watch`) and turns a crash, a hang or an exhaustion into one line. A :class:`Worker` is the same
for single calls. Nothing here imports more than the standard library.
"""

from graphtool.guard.limits import Limits
from graphtool.guard.phases import about, allow, begin, phase, temporary, where
from graphtool.guard.worker import Worker, call

__all__ = ["Limits", "Worker", "about", "allow", "begin", "call", "phase", "temporary", "where"]
