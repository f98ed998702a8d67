"""Examples of the Python API: each module is a script that prints a few lines, and that a test runs."""
