"""Builds records from the physics of a run, sums them up, and shows them on the console."""
