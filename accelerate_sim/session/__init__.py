"""The life of one process that plays runs, from its options to its exit code."""
