"""A report of a run to look at: one HTML page of its own, with pictures and figures, that loads nothing."""
