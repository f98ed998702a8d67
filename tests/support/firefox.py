"""Firefox through Marionette, its own protocol: a tab that goes to pages and evaluates JavaScript.

Playwright and Selenium drive builds or drivers of their own; this needs nothing but Firefox itself.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.support.processes import until

START_S = 60.0


class Firefox:
    """A headless Firefox with a new profile in ``folder``, and its only tab."""

    def __init__(self, program: str, folder: Path, width: int = 1280, height: int = 900) -> None:
        profile = folder / "profile"
        profile.mkdir()
        (profile / "user.js").write_text('user_pref("marionette.port", 0);\n')
        self._process = subprocess.Popen(
            [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile), f"--width={width}",
             f"--height={height}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port_file = profile / "MarionetteActivePort"
            until(lambda: port_file.exists() and bool(port_file.read_text()), "Firefox listens", START_S)
            self._socket = socket.create_connection(("127.0.0.1", int(port_file.read_text())), START_S)
            self._socket.settimeout(START_S)
            self._input = self._socket.makefile("rb")
            self._read()
            self._count = 0
            self._call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {}}})
        except BaseException:
            self._end()
            raise

    def goto(self, url: str) -> None:
        """Load a page."""
        self._call("WebDriver:Navigate", {"url": url})

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        script = (
            f"const done = arguments[0]; Promise.resolve({expression}).then((value) => done(JSON.stringify(value)))"
        )
        answer = self._call("WebDriver:ExecuteAsyncScript", {"script": script, "args": [], "sandbox": None})
        return None if answer["value"] is None else json.loads(answer["value"])

    def wait_for(self, expression: str, limit_s: float) -> None:
        """Wait until an expression is true."""
        end_s = time.monotonic() + limit_s
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end_s, f"not true after {limit_s} s: {expression}"
            time.sleep(0.1)

    def close(self) -> None:
        """End Firefox."""
        self._call("Marionette:Quit", {"flags": ["eForceQuit"]})
        self._end()

    def _end(self) -> None:
        for each in ("_input", "_socket"):
            if hasattr(self, each):
                getattr(self, each).close()
        try:
            self._process.wait(START_S / 4)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _call(self, command: str, parameters: dict[str, Any]) -> Any:
        self._count += 1
        message = json.dumps([0, self._count, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def _read(self) -> Any:
        digits = b""
        while (byte := self._input.read(1)) != b":":
            assert byte, "Firefox has closed the connection"
            digits += byte
        return json.loads(self._input.read(int(digits)))
