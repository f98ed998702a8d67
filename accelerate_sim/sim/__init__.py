"""The physics: pure functions of (run, rank or ranks, step). No clock, no printing, no state but caches."""
