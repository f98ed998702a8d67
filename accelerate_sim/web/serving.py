"""Serves a built page on this machine alone."""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from accelerate_sim.web.building import MARK
from accelerate_sim.web.downloads import BuildError

HOST = "127.0.0.1"
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
"""Types that a page needs to be right, independent of the system's own table."""


class PageHandler(SimpleHTTPRequestHandler):
    """Answers with the files of a page, and logs nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


class PageServer(ThreadingHTTPServer):
    """A server that says nothing about visitors who leave before they have all."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors, but for broken connections."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def server_of(page: Path, port: int) -> PageServer:
    """A server of a built page on a port of this machine; 0: any that is free. Raises BuildError."""
    if not (page / MARK).exists():
        raise BuildError(f"{page} is no built page. Build it first: python -m accelerate_sim.web build {page}")
    try:
        return PageServer((HOST, port), partial(PageHandler, directory=str(page)))
    except OSError as error:
        reason = f"Port {port} of {HOST} can't be used: {error.strerror}"
        raise BuildError(f"{reason}. Choose another one with --port.") from None


def address(server: PageServer) -> str:
    """The address of the page."""
    return f"http://{HOST}:{server.server_address[1]}/"
