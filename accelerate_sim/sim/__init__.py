"""The physics: pure functions of (run, rank or ranks, step), without clock, output, or state other than caches."""
