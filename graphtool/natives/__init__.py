"""Native passes, one module each with ``apply(graph, params) -> Applied``; a module's name is the pass's. Floor 3."""
