"""The command line: one module a command, no logic. Heavy imports are inside functions, so help is quick. Floor 8."""
