"""Ports for tests that have to name one before anybody listens there."""

from __future__ import annotations

import secrets
import socket

BELOW_WHAT_IS_GIVEN_AWAY = range(15_000, 32_000)
"""No kernel gives these to those who ask for any port, so whoever starts meanwhile does not get the one we name."""


def free_port() -> int:
    """A port that nobody listens on, and that nobody gets by chance."""
    for _ in range(1000):
        port = secrets.choice(BELOW_WHAT_IS_GIVEN_AWAY)  # ``random`` may be seeded alike in several processes
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
