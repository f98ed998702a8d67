"""Compare the speed and memory model with measured runs, and fit its constants to them."""
