"""The wording of log lines, one module per style."""
