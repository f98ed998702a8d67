"""MASTER_ADDR and MASTER_PORT of a job. The port is reserved for rank 0 of a torch script, which listens there."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.commandline.choices import host_and_port
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.sockets import listen_for_job

if TYPE_CHECKING:
    from fake_torch_dist.launcher.hosts.endpoint import Endpoint


class MasterPort:
    """Address and port for the ranks; the port is certain from ``reserve`` on."""

    def __init__(self, config: LaunchConfig, endpoint: Endpoint | None) -> None:
        self.addr = "localhost"
        self.port = 0
        if config.rdzv_backend == "static":
            self.addr, self.port = host_and_port(config.rdzv_endpoint)
        elif endpoint and not endpoint.is_loopback:
            self.addr = config.local_addr or endpoint.host
        self._reserved: socket.socket | None = None

    def reserve(self) -> None:
        """Reserve the port, a free one if none was given. Raises DistNetworkError if another process has it.

        A bound socket that does not listen lets one with SO_REUSEADDR listen, and keeps the port from all others.
        """
        if self._reserved:
            return
        if self.port:
            listen_for_job(self.addr, self.port, job_token()).close()
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(("", self.port))
        except OSError as error:
            reserved.close()
            raise DistNetworkError(
                f"port {self.port} can't be kept for rank 0: {os.strerror(error.errno or 0)}"
            ) from error
        self._reserved, self.port = reserved, reserved.getsockname()[1]

    def release(self) -> None:
        """Give the port up."""
        if self._reserved:
            self._reserved.close()
            self._reserved = None
