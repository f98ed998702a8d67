"""The text of `--plan`."""
