"""The files that a run leaves behind, true in name, size and form; their big parts are holes."""
