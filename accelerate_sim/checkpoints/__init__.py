"""Files of a run in its output directory, and the search for the checkpoint to resume."""
