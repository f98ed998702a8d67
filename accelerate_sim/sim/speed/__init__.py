"""The time of a step: kernels, links and training software."""
