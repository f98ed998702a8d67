"""The launcher behind ``fake-torchrun``: from a command line to ranks that run, print and end together."""
