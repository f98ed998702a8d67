"""The report of a run: one HTML page with pictures and figures, which loads no other file."""
