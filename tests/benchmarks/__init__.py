"""Benchmarks: run with ``-m slow``."""
