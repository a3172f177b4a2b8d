"""Which pass and match breaks a pipeline, how many matches a budget bears, the smallest failing model. Floor 5."""
