"""Terminals: descriptors, escape sequences, lines that are edited, and live rows that are redrawn."""
