"""What a target refuses, slows down or computes otherwise, found in a graph before its compiler runs. Floor 6."""
