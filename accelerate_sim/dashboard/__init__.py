"""Draws a run on the whole screen of a terminal, with rich; nothing here computes a figure of the run."""
