"""State of the operating-system process: clock, signals, runtime directory, and its rank in the job."""
