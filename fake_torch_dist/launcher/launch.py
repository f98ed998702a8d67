"""Launches a job: prepares what all ranks share, serves the store, and runs the job to its end.

With several emulated nodes this one command runs all of them. Otherwise it runs one node: the only one of its job, the
one that hosts it, or one that joins it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NoReturn

from fake_torch_dist.errors import DistNetworkError
from fake_torch_dist.launcher.channel import Channel
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.hosts.master_port import MasterPort
from fake_torch_dist.launcher.job import JobSupervisor
from fake_torch_dist.launcher.local_node import AgentChannel, LocalNode, kill_orphans
from fake_torch_dist.launcher.logs import LogDirectoryError, LogTree
from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.launcher.protocol.agent_messages import FROM_AGENT, TO_AGENT
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.reports.log_messages import NPROC_PER_NODE, OMP_NUM_THREADS, LauncherLog, level_named
from fake_torch_dist.launcher.worker_group import WorkerGroup
from fake_torch_dist.launcher.workers import descriptors, linux_processes, signal_mask
from fake_torch_dist.launcher.workers.agent import Agent
from fake_torch_dist.launcher.workers.debugger import fork
from fake_torch_dist.launcher.workers.emulated_host import set_hostname
from fake_torch_dist.launcher.workers.worker import Command, work_of
from fake_torch_dist.stores.authentication import job_token
from fake_torch_dist.stores.server import NO_RESTART, StoreServer
from fake_torch_dist.stores.sockets import listen, listen_for_job
from fake_torch_dist.terminal.descriptor import printable

if TYPE_CHECKING:
    from fake_torch_dist.launcher.hosts.admission import Admission
    from fake_torch_dist.launcher.hosts.endpoint import Endpoint

LOOPBACK: Final = "127.0.0.1"


def launch(config: LaunchConfig) -> int:
    """Run the job to its end. Returns the exit code: 0, or 1."""
    try:
        log = LauncherLog(descriptors.write_stderr, level=level_named(os.environ.get("LOGLEVEL")))
        log.emit(NPROC_PER_NODE, nproc_per_node=config.nproc_per_node)
        _limit_threads(config, log)
        descriptors.allow_many()
        return _Launch(config).run()
    except (ValueError, LogDirectoryError, DistNetworkError) as error:
        descriptors.write_stderr(f"fake-torchrun: error: {printable(error)}\n")
        return 1


def _limit_threads(config: LaunchConfig, log: LauncherLog) -> None:
    """Let each of several ranks use one thread, as torchrun does, since they share the processors."""
    if "OMP_NUM_THREADS" not in os.environ and config.nproc_per_node * config.ranks_per_process > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
        log.emit(OMP_NUM_THREADS, threads=1)


class _Launch:
    """Owns what a launch has once: the script, the store, the log files, the nodes."""

    def __init__(self, config: LaunchConfig) -> None:
        self._config = config
        self._loop = EventLoop()
        self._token = os.fsdecode(job_token()) or os.urandom(32).hex()
        self._names = [f"node{index}" for index in range(config.max_nodes)] if config.emulated else [""]
        meets = config.max_nodes > 1 and not config.emulated
        self._endpoint = _endpoint_of(config) if meets else None
        self._listener = self._endpoint and self._endpoint.listen(_note)
        self._admission: Admission | None = None
        self._master = MasterPort(config, self._endpoint)
        if self._endpoint is None:
            self._master.reserve()
        self._work = work_of(config)
        self._inherited = set(sys.modules)

    def run(self) -> int:
        linux_processes.set_child_subreaper()
        nodes = [LocalNode(index, name, self._connect) for index, name in enumerate(self._names)]
        self._reap_orphans_of(nodes)
        self._tree = tree = LogTree.create(
            self._config.log_dir, self._config.run_id, nodes=self._names if self._config.emulated else (),
            files_wanted=_wants_files(self._config), files_needed=_needs_files(self._config),
        )  # fmt: skip
        try:
            self._group = group = WorkerGroup(self._config, self._loop, nodes, tree, os.environ)
            if not isinstance(self._work, Command):
                self._work.freeze()
            if self._endpoint and not self._listener:
                return self._join(self._endpoint, group)
            return self._host(group)
        finally:
            for node in nodes:
                node.end()
            kill_orphans(nodes)
            tree.remove()
            self._master.release()

    def _reap_orphans_of(self, nodes: Sequence[LocalNode]) -> None:
        """Reap inherited processes as they end; ``nodes`` reap their agents."""

        def reap(_: int) -> None:
            linux_processes.reap_all_but({node.pid for node in nodes})

        self._loop.on_signals([signal.SIGCHLD], reap)
        reap(signal.SIGCHLD)  # those that ended before the handler was there

    def _host(self, group: WorkerGroup) -> int:
        """Run the node that hosts the job, or all nodes."""
        if self._endpoint and self._listener:
            from fake_torch_dist.launcher.hosts.admission import Admission  # only jobs of several hosts need it

            self._admission = Admission(self._config, self._loop, self._endpoint, self._listener, job_token())
        listener = listen_for_job(self._endpoint.host, 0, job_token()) if self._endpoint else listen(LOOPBACK, 0)
        with StoreServer(listener, self._token.encode()) as store:
            self._loop.on_readable(store.fileno(), store.on_readable)
            self._store_port, self._empty_store = store.port, store.forget_all
            self._host_name = group.host
            return JobSupervisor(
                self._config, self._loop, group, self._assignments, lambda: not store.has(NO_RESTART), self._admission
            ).run()

    def _join(self, endpoint: Endpoint, group: WorkerGroup) -> int:
        from fake_torch_dist.launcher.hosts.follower_node import FollowerNode  # only jobs of several hosts need these
        from fake_torch_dist.launcher.hosts.join import JoinClient
        from fake_torch_dist.launcher.protocol.host_messages import JoinRequest

        request = JoinRequest(
            backend=self._config.rdzv_backend, run_id=self._config.run_id, min_nodes=self._config.min_nodes,
            max_nodes=self._config.max_nodes, node_rank=endpoint.node_rank, host=group.host, pid=os.getpid(),
            nproc_per_node=self._config.nproc_per_node,
        )  # fmt: skip
        client = JoinClient(self._loop, endpoint, job_token(), request)
        return FollowerNode(self._config, endpoint, group, client).run()

    def _assignments(self, attempt: int, restarts: int, sizes: Sequence[int]) -> list[NodeAssignment]:
        """Return the assignments of nodes with these numbers of ranks."""
        self._master.reserve()
        if attempt:
            self._empty_store()
        firsts = list(accumulate(sizes, initial=0))
        host = self._admission.host if self._admission else LOOPBACK
        names = self._admission.names_of_hosts(self._host_name) if self._admission else ""
        return [
            NodeAssignment(
                attempt=attempt,
                restarts=restarts,
                group_rank=index,
                num_nodes=len(sizes),
                first_rank=first_rank,
                world_size=firsts[-1],
                master_addr=self._master.addr,
                master_port=self._master.port,
                run_id=self._config.run_id,
                store=f"{host}:{self._store_port}",
                token=self._token,
                node=self._names[index] if self._config.emulated else "",
                hosts=names,
            )
            for index, first_rank in enumerate(firsts[:-1])
        ]

    # -- agents -------------------------------------------------------------------------------------------------------

    def _connect(self, node: LocalNode) -> tuple[int, AgentChannel]:
        """Fork the agent of a node; return its pid and the channel to it."""
        ours, theirs = socket.socketpair()
        launcher = os.getpid()
        signal_mask.block(self._config.signals)
        try:
            pid = fork()
            if pid == 0:
                self._run_agent(node, theirs, launcher)
        finally:
            signal_mask.restore()
        theirs.close()
        return pid, Channel(self._loop, ours, FROM_AGENT, node.on_message, node.on_agent_gone)

    def _run_agent(self, node: LocalNode, sock: socket.socket, launcher: int) -> NoReturn:
        """Run the agent in the forked process. The launcher's descriptors are closed by number; its objects stay."""
        try:
            os.setsid()
            linux_processes.set_parent_death_signal(
                launcher, signal.SIGCONT
            )  # continues a stopped agent, which then ends
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals():
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            descriptors.close_all_but(sock.fileno())
            linux_processes.set_process_name(node.name or "agent")
            if self._config.emulated:
                set_hostname(node.name, self._names)
            loop = EventLoop()
            agent = Agent(self._config, loop, self._work, self._inherited, self._clean_up)
            agent.serve(Channel(loop, sock, TO_AGENT, agent.on_message, agent.on_launcher_gone))
        finally:
            os._exit(1)

    def _clean_up(self) -> None:
        """Undo, in an agent, what the launcher that was killed has left."""
        self._tree.remove()
        self._group.keys.restore_after_death()


def _endpoint_of(config: LaunchConfig) -> Endpoint:
    from fake_torch_dist.launcher.hosts.endpoint import Endpoint  # only jobs of several hosts need it

    return Endpoint.of(config)


def _note(text: str) -> None:
    descriptors.write_stderr(f"fake-torchrun: note: {printable(text)}\n")


def _wants_files(config: LaunchConfig) -> bool:
    return any(config.tee.of(rank) | config.redirects.of(rank) for rank in range(config.nproc_per_node))


def _needs_files(config: LaunchConfig) -> bool:
    return any(config.redirects.of(rank) for rank in range(config.nproc_per_node))
