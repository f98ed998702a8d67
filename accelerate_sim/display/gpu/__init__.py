"""The table of GPUs on the screen."""
