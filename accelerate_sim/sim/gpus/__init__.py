"""Temperature, power, clock, utilization and identity of each GPU."""
