"""The endpoint at which the nodes of a job meet when each has its own command, and the time they wait there."""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.commandline.choices import host_and_port
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.environment_names import TOKEN, TOKEN_FILE
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.own_addresses import is_own_name
from fake_torch_dist.stores.resolving import addresses
from fake_torch_dist.stores.sockets import LOST_HOST_S, keep_alive, listen_for_job

NO_NAME: Final = (
    "Correct --rdzv-endpoint, raise {option}, or let the node that is to host the job say so: --rdzv-conf is_host=1"
)
TRUE = ("1", "true", "t", "yes", "y")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
"""Seconds between two look-ups of a name that is not known yet."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Host and port of the static rendezvous or of c10d, and the options of the rendezvous."""

    host: str
    port: int
    is_static: bool
    node_rank: int
    """-1: the host assigns ranks by the names of the nodes' hosts."""
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
                "they get from each other (pickle), so set it to the same secret on all nodes, or "
                f"{TOKEN_FILE} to a file that holds it; the word none is a secret that everybody knows, for networks "
                "that are trusted"
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
        if self.host == "localhost" or not self.is_loopback or self.host[0] in "0123456789:" or job_token():
            return ""
        return f" ({self.host} is {self.addresses()[0][1][0]} here, where no other host gets to: give an address)"

    def listen(self, note: Callable[[str], None]) -> socket.socket | None:
        """Return a listening socket if this node hosts the job, None if it joins it.

        A node that is told to host needs no name. At a c10d endpoint a name that is not known yet, as of a pod that has
        just started, is waited for; ``note`` gets a line about that. Raises DistNetworkError if this node has to host,
        and the port cannot be had, or if the name does not come.
        """
        if self.is_host is False or (self.is_host is None and not self._is_here(note)):
            return None
        try:
            return listen_for_job(self.host, self.port, job_token())
        except DistNetworkError as error:
            if self.is_host is None and _is_taken(error.__cause__):
                return None
            raise

    def _is_here(self, note: Callable[[str], None]) -> bool:
        """True if the endpoint's host is this one; its name is waited for."""
        until_s, pause_s = time.monotonic() + self.wait_s, _FIRST_PAUSE_S
        while not is_own_name(self.host):
            try:
                self.addresses()
                return is_own_name(self.host)  # the name may have come since
            except OSError as error:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    text = f"{self.host} can't be resolved: {error.strerror}. {NO_NAME.format(option=self.wait_option)}"
                    raise DistNetworkError(text) from error
                if pause_s == _FIRST_PAUSE_S:
                    note(f"{self.host} can't be resolved yet ({error.strerror}), which is tried for {self.wait_s:g} s")
            time.sleep(min(pause_s, left_s))  # a name's arrival causes no event
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return True

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


def _is_taken(failure: BaseException | None) -> bool:
    """Return whether listening failed because another process of this host has the address."""
    return isinstance(failure, OSError) and failure.errno == errno.EADDRINUSE
