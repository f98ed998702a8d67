"""What belongs to the operating-system process: clock, signals, runtime directory, and its place in the job."""
