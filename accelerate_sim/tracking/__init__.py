"""Where a run's records are kept for machines. Each module is one kind of place, imported when it is asked for."""
