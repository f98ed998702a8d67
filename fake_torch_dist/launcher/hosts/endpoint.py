"""The endpoint at which the nodes of a job meet when each has its own command, and the time they wait there."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.commandline.choices import host_and_port
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.environment_names import TOKEN
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.resolving import addresses
from fake_torch_dist.stores.sockets import LOST_HOST_S, keep_alive, listen

TRUE = ("1", "true", "t", "yes", "y")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Host and port of the static rendezvous or of c10d, and the options of the rendezvous."""

    host: str
    port: int
    is_static: bool
    node_rank: int
    """-1: the host assigns ranks in the order of arrival."""
    is_host: bool | None
    """This node hosts the job; None: it does if nothing listens at the endpoint yet."""
    wait_s: float
    """Time to wait for the nodes that the job needs."""
    wait_option: str
    """Option that sets ``wait_s``, for messages."""
    last_call_s: float
    """Time to wait for more nodes than the job needs."""

    @classmethod
    def of(cls, config: LaunchConfig) -> Endpoint:
        """Return the endpoint of a launch. Raises ValueError, with the way out, if nodes cannot meet there."""
        host, port = host_and_port(config.rdzv_endpoint)
        conf, is_static = config.rdzv_conf, config.rdzv_backend == "static"
        if port == 0:
            raise ValueError(f"nobody finds port 0 of {host}: give all {config.max_nodes} nodes the same port")
        option, default_s = ("timeout", 900) if is_static else ("join_timeout", 600)
        node_rank = (config.node_rank or 0) if is_static else -1
        endpoint = cls(
            host,
            port,
            is_static,
            node_rank,
            node_rank == 0 if is_static else _is_host(conf),
            wait_s=max(0, int(conf.get(option, default_s))),
            wait_option=f"--rdzv-conf {option}",
            last_call_s=max(0, int(conf.get("last_call_timeout", 30))),
        )
        if not job_token() and not endpoint.is_loopback:
            raise ValueError(
                f"{TOKEN} is not set, and {endpoint} can be reached from other hosts: ranks execute what "
                "they get from each other (pickle), so set it to the same secret on all nodes"
            )
        return endpoint

    @property
    def is_loopback(self) -> bool:
        """True if only this host reaches it. A name that cannot be resolved may become another host's."""
        with suppress(OSError):
            found = [ipaddress.ip_address(address[0].partition("%")[0]) for _, address in self.addresses()]
            return all(address.is_loopback for address in found)
        return False

    @property
    def hint(self) -> str:
        """Reason why other hosts may not reach it, in parentheses; empty if they can."""
        if self.host == "localhost" or not self.is_loopback or self.host[0] in "0123456789:":
            return ""
        return f" ({self.host} is {self.addresses()[0][1][0]} here, where no other host gets to: give an address)"

    def listen(self) -> socket.socket | None:
        """Return a listening socket if this node hosts the job, None if it joins it.

        Raises DistNetworkError if it has to host, and the port cannot be had.
        """
        if self.is_host is False:
            return None
        try:
            return listen(self.host, self.port)
        except DistNetworkError as error:
            if self.is_host is None and _is_elsewhere(error.__cause__):
                return None
            raise

    def addresses(self) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        """Return the host's addresses. Raises OSError if its name cannot be resolved."""
        return addresses(self.host, self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_host(conf: Mapping[str, str]) -> bool | None:
    return conf["is_host"].lower() in TRUE if "is_host" in conf else None


def set_socket_options(connection: socket.socket) -> None:
    """Send short messages at once, and notice the loss of the other host, also while something is being sent."""
    keep_alive(connection)
    with suppress(AttributeError, OSError):  # Linux
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * LOST_HOST_S)


def _is_elsewhere(failure: BaseException | None) -> bool:
    """Return whether listening failed because another process, or another host, has the address."""
    return isinstance(failure, socket.gaierror) or (
        isinstance(failure, OSError) and failure.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
    )
