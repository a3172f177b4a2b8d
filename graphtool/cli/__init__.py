"""The command line: one module a command, no logic. Heavy imports are inside functions, so help is quick. Floor 8."""

import gc

# Graphs, and the imports before them, are many small objects and few circles: looking for those cost a tenth of a run.
gc.set_threshold(200_000, 20, 20)
