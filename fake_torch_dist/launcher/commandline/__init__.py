"""The command line of ``fake-torchrun``: flags, checks, and the configuration of a launch."""
