"""Processes, terminals and readers that several tests use."""
