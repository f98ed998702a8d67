"""The memory of a GPU: weights, optimizer, activations, and which layouts fit."""
