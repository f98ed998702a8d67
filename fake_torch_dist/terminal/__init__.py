"""Writing to a terminal: descriptors, escape sequences, and rows that are redrawn."""
