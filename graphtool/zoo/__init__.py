"""Reference networks with seeded weights. Floor 6."""
