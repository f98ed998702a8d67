"""Checks of a config that involve more than one key."""
