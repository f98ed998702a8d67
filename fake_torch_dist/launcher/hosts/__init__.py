"""Jobs of several nodes that have a command each: one hosts the job, the others join it."""
