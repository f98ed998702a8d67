"""The GPUs of a running job as other programs see them."""
