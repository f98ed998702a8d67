"""Reads and writes what a run keeps in its output directory, and finds where to resume."""
