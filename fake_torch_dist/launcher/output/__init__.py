"""Merges the output of all ranks into the launcher's own: whole lines with a prefix, bars, and log files."""
