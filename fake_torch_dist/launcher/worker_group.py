"""The ranks that this command starts, on its node or on all emulated ones: their start, output, failures and report.

``shutdown`` ends the ranks of the group together. Whether they start again, and with which other nodes, is decided
elsewhere: by ``JobSupervisor``, or by the node that hosts the job.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.environment_names import READY_FILE
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.group_attempt import GroupAttempt
from fake_torch_dist.launcher.job_control import JobControl
from fake_torch_dist.launcher.local_node import LocalNode, kill_orphans
from fake_torch_dist.launcher.logs import LogDirectoryError, LogTree
from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.launcher.output.merged_output import MergedOutput
from fake_torch_dist.launcher.protocol.agent_messages import (
    FromAgent,
    NodeEmpty,
    RankExited,
    RankStarted,
    StartFailed,
    StartRanks,
    StopForced,
    StopSignalSent,
    Stream,
)
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.protocol.stop import StopJob
from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog, level_named
from fake_torch_dist.launcher.reports.ready_file import ReadyFile
from fake_torch_dist.launcher.reports.report import error_text
from fake_torch_dist.launcher.reports.reporter import Reporter
from fake_torch_dist.launcher.routes import Routes
from fake_torch_dist.launcher.shutdown import READER_PATIENCE_S, OutputPatience, Shutdown
from fake_torch_dist.launcher.typed_keys import TypedKeys

OnStop: TypeAlias = Callable[[StopJob], None]


class WorkerGroup:
    """``run`` returns the exit code: 0, or 1 for anything that went wrong, as torchrun's."""

    def __init__(
        self,
        config: LaunchConfig,
        loop: EventLoop,
        nodes: Sequence[LocalNode],
        tree: LogTree,
        environment: Mapping[str, str],
    ) -> None:
        self.nodes = nodes
        self._config = config
        self._loop = loop
        self._tree = tree
        self._environment = environment
        self._attempt: GroupAttempt | None = None
        self._exit_code = 1
        self._restarts = 0
        self._reason = ""
        self._output = output = MergedOutput(
            loop, config, environment, on_drained=self._finish_if_over,
            on_reader_gone=lambda: self._shutdown.on_reader_gone(),
            on_error=lambda text: self._output.write_own(text + "\n"),
        )  # fmt: skip
        self.log = LauncherLog(output.write_own, level=level_named(environment.get("LOGLEVEL")))
        self._reporter = Reporter(config, environment, self.log, output.write_own)
        self._shutdown = Shutdown(
            config, loop, nodes, output, self.log, host=lambda: self.host, on_stop=self._on_own_stop,
            on_progress=self._finish_if_over,
        )  # fmt: skip
        self._ready = ReadyFile(environment.get(READY_FILE, ""))
        self._patience = OutputPatience(loop, output, self._finish_if_over)
        self.keys = TypedKeys(loop)
        self._job_control = JobControl(loop, nodes, output, self.keys)
        for node in nodes:
            node.listen(self._on_message, self._on_agent_lost)

    @property
    def host(self) -> str:
        """Name of this host in reports. No name server is asked, since one that does not answer would delay signals."""
        return self._config.local_addr or socket.gethostname()

    @property
    def is_over(self) -> bool:
        """True if nothing is left of the attempt: no process, no output."""
        return self._attempt is None or self._attempt.is_over

    @property
    def is_signalled(self) -> bool:
        """True if this command got a signal that ends the job."""
        return bool(self._shutdown.signals)

    @property
    def is_ending_for_good(self) -> bool:
        """True if the job ends for another reason than a failure, found here or elsewhere."""
        return self._shutdown.is_final

    @property
    def root_cause(self) -> ProcessFailure | None:
        """Root cause of the attempt's failures; None if no rank has failed here."""
        return self._attempt.root_cause if self._attempt else None

    @property
    def failed(self) -> bool:
        """True if a rank of this attempt failed, or could not be started."""
        return self._attempt is not None and bool(self._attempt.failures or self._attempt.start_failure)

    @property
    def gone_for_good(self) -> list[str]:
        """Names of the nodes of this command that do not come back."""
        return [node.name or self.host for node in self.nodes if node.is_gone_for_good]

    def run(self, begin: Callable[[], None], on_stop: OnStop, on_over: Callable[[], None]) -> int:
        """Call ``begin`` and run the loop until ``finish``. Returns the exit code.

        ``on_stop`` is called when the ranks are ended for a reason found here, ``on_over`` when nothing is left of an
        attempt.
        """
        self._on_stop, self._on_over = on_stop, on_over
        self._shutdown.listen_to_signals()
        self._job_control.listen_to_signals()
        self._loop.after(0, lambda: self._begin(begin))
        try:
            self._loop.run()
        finally:
            self.keys.give_back()
        self._ready.end()
        code = self._final_report()
        self._output.close(READER_PATIENCE_S if self.is_signalled else None)
        return code

    def _begin(self, begin: Callable[[], None]) -> None:
        self._reporter.starting()
        if not self.is_ending_for_good:
            begin()

    def finish(self, exit_code: int, reason: str = "") -> None:
        """End ``run``: the job is over. ``reason`` is printed last, if no report has it."""
        self._exit_code, self._reason = exit_code, reason
        self._loop.stop()

    def _on_own_stop(self, stop: StopJob) -> None:
        self._ready.end()
        self._on_stop(stop)

    def stop(self, stop: StopJob) -> None:
        """End the ranks because of an event on another node."""
        self._ready.end()
        self._shutdown.stop_from_elsewhere(stop)

    # -- starting -----------------------------------------------------------------------------------------------------

    def start(self, assignments: Sequence[NodeAssignment]) -> None:
        """Start the next attempt, with one assignment for each node."""
        config, number = self._config, assignments[0].attempt
        self._patience.begin_attempt()
        self._report_restart(assignments[0].restarts)
        try:
            routes = Routes(config, self._tree, self.nodes, number, self._output.console)
        except LogDirectoryError as error:
            self._shutdown.terminate(f"{self.host}: {error}", final=True)
            self._on_over()
            return
        by_node = {node.index: assignment for node, assignment in zip(self.nodes, assignments, strict=True)}
        self._attempt = GroupAttempt(by_node, routes, lambda: self.host)
        self._shutdown.begin_attempt()
        self._ready.begin(config.nproc_per_node * len(self.nodes))
        self._output.expect(
            routes.source(assignment, local_rank, "stdout")
            for assignment in assignments
            for local_rank in range(config.nproc_per_node)
        )
        directories = [self._tree.run_directory(node.name if config.emulated else None) for node in self.nodes]
        self._reporter.assigned(assignments, directories)
        self._start_nodes(assignments, routes)

    def _report_restart(self, restarts: int) -> None:
        if restarts > self._restarts:
            config, left = self._config, self._config.max_restarts - self._restarts
            self.log.emit(
                log_messages.RESTARTING, role=config.role, attempts_left=left, max_restarts=config.max_restarts
            )  # fmt: skip
        self._restarts = restarts

    def _start_nodes(self, assignments: Sequence[NodeAssignment], routes: Routes) -> None:
        live = self._output.is_live
        handed_on = routes.hands_on(self.nodes[0], "stdout")
        drawn = live and routes.destination(self.nodes[0], 0, "stdout").console
        terminal = os.ttyname(1) if drawn and not handed_on else None
        if live and handed_on:
            self._job_control.share_terminal()
        color = live and not self._environment.get("NO_COLOR")
        keys = self.keys.offer() if drawn else None
        for node, assignment in zip(self.nodes, assignments, strict=True):

            def columns(local_rank: int, stream: Stream, assignment: NodeAssignment = assignment) -> int:
                return self._output.prefix_columns(routes.source(assignment, local_rank, stream))

            prefixed = routes.destination(node, 0, "stdout").prefix
            prefix_columns = columns(0, "stdout") if prefixed else 0
            node.start(StartRanks(assignment, routes.targets(node, columns), terminal, prefix_columns, color, keys))

    # -- messages of agents -------------------------------------------------------------------------------------------

    def _on_message(self, node: LocalNode, message: FromAgent, descriptors: Sequence[int]) -> None:
        match message:
            case RankStarted():
                self._read_output(node, message, descriptors)
                self._ready.note_started()
            case RankExited():
                if message.exitcode:
                    self._add_failure(self._running.failure(node, message))
            case StopSignalSent():
                self._shutdown.note_signalled()
                name = signal.Signals(message.signal).name
                self.log.emit(log_messages.SENDING_SIGNAL, pid=message.pid, signal=name)
            case StopForced():
                self.log.emit(
                    log_messages.FORCING_EXIT, pid=message.pid, signal=message.signal, kill=int(signal.SIGKILL)
                )
            case StartFailed():
                self._running.start_failure = message.reason
                self._shutdown.terminate(f"{self.host}: {message.reason}", final=True)
            case NodeEmpty():
                self._finish_if_over()

    @property
    def _running(self) -> GroupAttempt:
        assert self._attempt is not None
        return self._attempt

    def _read_output(self, node: LocalNode, message: RankStarted, descriptors: Sequence[int]) -> None:
        shared = self._running.routes.are_one(node, message.local_rank)
        streams = self._running.streams(node, message)
        for fd, (source, goal, filtered_file) in zip(descriptors, streams, strict=True):
            self._output.add(fd, source, goal, filtered_file, shared=shared)

    def _add_failure(self, failure: ProcessFailure) -> None:
        if self._shutdown.is_regrouping and failure.told_to_stop:
            return
        if failure.malformed:
            self.log.emit(log_messages.REPLY_FILE_MALFORMED, path=failure.error_file, reason=failure.malformed)
        self._running.failures.append(failure)
        if not self._shutdown.is_stopping:
            self._shutdown.terminate(failure.sentence)

    def _on_agent_lost(self, node: LocalNode) -> None:
        """Record the failure of all ranks of an agent that was killed."""
        for local_rank, pid in node.kill_ranks().items():
            self._add_failure(self._running.failure_without_agent(node, local_rank, pid))
        kill_orphans(self.nodes)
        self._finish_if_over()

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish_if_over(self) -> None:
        """Report the end of the attempt if no process and no output is left of it."""
        attempt = self._attempt
        if not attempt or attempt.is_over or not all(node.is_empty for node in self.nodes):
            return
        if not self._output.is_drained and not self._patience.has_given_up:
            self._patience.wait(after_signal=self.is_signalled)
            return
        attempt.is_over = True
        self._ready.end()
        self._shutdown.end_attempt()
        if not attempt.failures:
            self.log.emit(log_messages.GROUP_FINISHED, role=self._config.role, timeout_s=300)
        elif not self.is_ending_for_good and not (cause := root_cause(attempt.failures)).told_to_stop:
            self._reporter.failed(cause)
        self._on_over()

    def _final_report(self) -> int:
        """Print the report of the job's end, and return the exit code."""
        attempt = self._attempt
        if self._shutdown.signals:
            self._reporter.signalled(self._shutdown.signals[0])
            return 1
        if attempt and attempt.start_failure:
            self.log.emit(log_messages.RANK_NOT_STARTED, reason=attempt.start_failure)
            self._reporter.ended(attempt.start_failure)
            return 1
        if attempt and attempt.failures and self._exit_code and not self.is_ending_for_good:
            self._reporter.child_failed(attempt.failures, self._reason, kept=self._tree.kept)
        elif self._reason and self._exit_code:
            self._reporter.ended(self._reason)
        cause = self.root_cause
        if self._reason and not self._shutdown.is_output_closed and not (cause and cause.sentence == self._reason):
            self._output.write_own(error_text(self._reason))
        return self._exit_code
