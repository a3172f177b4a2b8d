"""Does the graph still compute the same? Feeds, sessions, figures, truth and the judge. Floor 3."""
