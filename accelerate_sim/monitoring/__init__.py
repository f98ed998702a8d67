"""Shows the GPUs of a running job to other programs."""
