"""Runs in which faults happen: their attempts, what a strike does here or really, and the ground truth."""
