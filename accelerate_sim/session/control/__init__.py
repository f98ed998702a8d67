"""Control of a session while it runs: ``fake-torchrun ctl`` asks, over a socket that only the same user can open."""
