"""The speed and memory model against measured runs: reading them, predicting them, fitting the constants to them."""
