"""Makes records from the physics of a run, adds them up, and hands them to the console and the trackers."""
