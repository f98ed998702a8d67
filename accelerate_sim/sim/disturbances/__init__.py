"""Everything that makes one step differ from the next: noise of step times, incidents, and faults."""
