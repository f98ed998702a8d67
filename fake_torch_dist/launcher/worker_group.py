"""The ranks that this command starts, on its node or on all emulated ones: their start, output, failures and end.

The group ends its ranks together, because of one of them, a signal or whoever directs it, and reports. Whether the
world begins again, and with whom, is decided elsewhere: by ``JobSupervisor``, or by the node that hosts the job.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from fake_torch_dist.launcher.channel import LogMessage
from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.local_node import LocalNode, end_orphans
from fake_torch_dist.launcher.logs import LogDirectoryError, LogTree
from fake_torch_dist.launcher.loop import Loop, Timer
from fake_torch_dist.launcher.output.merged_output import MergedOutput
from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog, level_named
from fake_torch_dist.launcher.reports.reporter import Reporter
from fake_torch_dist.launcher.routes import Routes
from fake_torch_dist.launcher.stop import Stop
from fake_torch_dist.launcher.workers.rank_environment import NodeAssignment

AGENT_PATIENCE_S: Final = 5.0
"""What an agent may take, after the grace, to see its ranks' end."""
READER_PATIENCE_S: Final = 1.0
"""What a reader of our output may take, after a signal, to take what is left of it."""
_HOLDERS_S: Final = 1.0
"""After the end of all ranks, for a process that can't be found, and holds a pipe of theirs, to write or end."""
_SIGNAL_FOLLOWS_S: Final = 0.1
"""Ctrl-C and the end of a terminal also end the reader of our output, maybe before the signal gets here."""
_PASSED_ON: Final = (signal.SIGUSR1, signal.SIGUSR2)
"""By what schedulers announce the end of a job. The ranks decide what it means, and nobody dies of it here."""


@dataclass
class _Attempt:
    """What has happened since the ranks were started."""

    number: int
    places: Mapping[int, NodeAssignment]
    """By the index of the node."""
    routes: Routes
    stopping: bool = False
    stop_signal: int = 0
    """What the ranks have been sent last."""
    regrouping: bool = False
    """The ranks are ended because the world grows."""
    signalled: bool = False
    """A rank has been told."""
    over: bool = False
    failures: list[ProcessFailure] = field(default_factory=list)
    refusal: str = ""


class WorkerGroup:
    """``run`` returns the exit code: 0, or 1 for whatever went wrong, as torchrun's."""

    def __init__(
        self,
        config: LaunchConfig,
        loop: Loop,
        nodes: Sequence[LocalNode],
        tree: LogTree,
        environment: Mapping[str, str],
    ) -> None:
        self.nodes = nodes
        self._config = config
        self._loop = loop
        self._tree = tree
        self._environment = environment
        self._attempt: _Attempt | None = None
        self._signals: list[int] = []
        self._output_closed = False
        self._ended_elsewhere = False
        self._output_given_up = False
        self._holders_timer: Timer | None = None
        self._exit_code = 1
        self._restarts = 0
        self._reason = ""
        self._last_resort: Timer | None = None
        self._streams = MergedOutput(
            loop, config, environment, on_drained=self._look_for_the_end, on_reader_gone=self._reader_gone,
            on_error=lambda text: self._streams.say(text + "\n"),
        )  # fmt: skip
        self.log = LauncherLog(self._streams.say, level=level_named(environment.get("LOGLEVEL")))
        self._reports = Reporter(config, environment, self.log, self._streams.say)
        for node in nodes:
            node.listen(self._heard, self._lost)

    @cached_property
    def host(self) -> str:
        """Name of this host in reports."""
        return self._config.local_addr or socket.getfqdn()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of the attempt: no process, no output."""
        return self._attempt is None or self._attempt.over

    @property
    def is_signalled(self) -> bool:
        """Whether this command was told to end."""
        return bool(self._signals)

    @property
    def is_ending_for_good(self) -> bool:
        """Whether the job ends for another reason than a failure, here or elsewhere."""
        return bool(self._signals or self._output_closed or self._ended_elsewhere)

    @property
    def root_cause(self) -> ProcessFailure | None:
        """Of the attempt; None if no rank has failed here."""
        return root_cause(self._attempt.failures) if self._attempt and self._attempt.failures else None

    @property
    def failed(self) -> bool:
        """Whether a rank of this attempt failed, or could not be started."""
        return self._attempt is not None and bool(self._attempt.failures or self._attempt.refusal)

    def run(self, begin: Callable[[], None], on_stop: Callable[[Stop], None], on_over: Callable[[], None]) -> int:
        """From ``begin`` to ``finish``. ``on_stop``: the ranks are being ended, for a reason that is to be found here.
        ``on_over``: nothing is left of the attempt.
        """
        self._on_stop, self._on_over = on_stop, on_over
        self._listen_to_signals()
        self._loop.after(0, lambda: self._begin(begin))
        self._loop.run()
        code = self._last_words()
        self._streams.close(READER_PATIENCE_S if self._signals else None)
        return code

    def _listen_to_signals(self) -> None:
        hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup: the job outlives its terminal
        handled = set(self._config.signals) - ({signal.SIGHUP} if hangup_ignored else set())
        self._loop.on_signals(handled, self._told)
        passed_on = [number for number in _PASSED_ON if signal.getsignal(number) is signal.SIG_DFL]
        self._loop.on_signals(passed_on, self._pass_on)
        self._loop.on_signals([signal.SIGWINCH], lambda _: self._resized())
        self._loop.on_signals([signal.SIGCONT], lambda _: self._streams.redraw())
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def _begin(self, begin: Callable[[], None]) -> None:
        self._reports.starting()
        if not self.is_ending_for_good:
            begin()

    def finish(self, exit_code: int, reason: str = "") -> None:
        """The job is over; ``reason`` is what else went wrong, and is said last."""
        self._exit_code, self._reason = exit_code, reason
        self._loop.stop()

    # -- starting -----------------------------------------------------------------------------------------------------

    def start(self, places: Sequence[NodeAssignment]) -> None:
        """The next attempt, on each node at its place."""
        config, number = self._config, places[0].attempt
        self._output_given_up = False
        if places[0].restarts > self._restarts:
            left = config.max_restarts - self._restarts
            self.log.say(
                log_messages.RESTARTING, role=config.role, attempts_left=left, max_restarts=config.max_restarts
            )  # fmt: skip
        self._restarts = places[0].restarts
        try:
            routes = Routes(config, self._tree, self.nodes, number, self._streams.console)
        except LogDirectoryError as error:
            self._end(self._termination(f"{self.host}: {error}", final=True))
            self._on_over()
            return
        placed = {node.index: place for node, place in zip(self.nodes, places, strict=True)}
        self._attempt = _Attempt(number, placed, routes)
        self._streams.expect(
            routes.source(place, local_rank, "stdout")
            for place in places
            for local_rank in range(config.nproc_per_node)
        )
        directories = [self._tree.run_directory(node.name if config.emulated else None) for node in self.nodes]
        self._reports.placed(places, directories)
        handed_on = routes.hands_on(self.nodes[0], "stdout")
        terminal = os.ttyname(1) if self._streams.is_live and not handed_on else None
        if self._streams.is_live and handed_on:
            self._share_terminal()
        color = self._streams.is_live and not self._environment.get("NO_COLOR")
        for node, place in zip(self.nodes, places, strict=True):

            def columns(local_rank: int, stream: str, place: NodeAssignment = place) -> int:
                return self._streams.prefix_columns(routes.source(place, local_rank, stream))

            prefixed = routes.destination(node, 0, "stdout").prefix
            node.start(
                place, routes.targets(node, columns), terminal=terminal,
                prefix_columns=columns(0, "stdout") if prefixed else 0, color=color,
            )  # fmt: skip

    # -- what the nodes say -------------------------------------------------------------------------------------------

    def _heard(self, node: LocalNode, message: LogMessage, descriptors: Sequence[int]) -> None:
        match message["kind"]:
            case "rank":
                self._rank_started(node, message, descriptors)
            case "exit":
                if message["status"]:
                    self._rank_failed(node, message)
            case "signalled":
                self._running.signalled = True
                name = signal.Signals(message["signal"]).name
                self.log.say(log_messages.SENDING_SIGNAL, pid=message["pid"], signal=name)
            case "forced":
                self.log.say(
                    log_messages.FORCING_EXIT, pid=message["pid"], signal=message["signal"], kill=int(signal.SIGKILL)
                )
            case "refused":
                self._running.refusal = message["reason"]
                self._end(self._termination(f"{self.host}: {message['reason']}", final=True))
            case "empty":
                self._look_for_the_end()

    @property
    def _running(self) -> _Attempt:
        assert self._attempt is not None
        return self._attempt

    def _rank_started(self, node: LocalNode, message: LogMessage, descriptors: Sequence[int]) -> None:
        local_rank, attempt = message["local_rank"], self._running
        routes, place = attempt.routes, attempt.places[node.index]
        for stream, fd in zip(message["streams"], descriptors, strict=True):
            source = routes.source(place, local_rank, stream)
            goal = routes.destination(node, local_rank, stream)
            shared = routes.are_one(node, local_rank)
            self._streams.add(fd, source, goal, routes.filtered_file(node, stream), shared=shared)

    def _rank_failed(self, node: LocalNode, message: LogMessage) -> None:
        local_rank, attempt = message["local_rank"], self._running
        failure = ProcessFailure.observed(
            local_rank=local_rank,
            rank=attempt.places[node.index].first_rank + local_rank,
            node=node.name or self.host,
            pid=message["pid"],
            exitcode=message["status"],
            observed_s=message["time_s"],
            error_file=attempt.routes.error_file(node, local_rank),
            told_to_stop=message["told"],
        )
        self._failed(failure)

    def _failed(self, failure: ProcessFailure) -> None:
        if self._running.regrouping and failure.told_to_stop:
            return
        if failure.malformed:
            self.log.say(log_messages.REPLY_FILE_MALFORMED, path=failure.error_file, reason=failure.malformed)
        self._running.failures.append(failure)
        if not self._running.stopping:
            self._end(self._termination(failure.sentence))

    def _lost(self, node: LocalNode) -> None:
        """An agent was killed, and its ranks with it."""
        first_rank = self._running.places[node.index].first_rank
        for local_rank, pid in node.kill_ranks().items():
            self._failed(
                ProcessFailure.observed(
                    local_rank=local_rank, rank=first_rank + local_rank, node=node.name or self.host, pid=pid,
                    exitcode=-signal.SIGKILL, observed_s=time.time(), error_file=None,
                )
            )  # fmt: skip
        end_orphans(self.nodes)
        self._look_for_the_end()

    # -- ending -------------------------------------------------------------------------------------------------------

    def stop(self, stop: Stop) -> None:
        """End the ranks because of what happened on another node."""
        attempt = self._attempt
        if attempt and not attempt.over and not (attempt.stopping and not stop.final):
            if attempt.stop_signal != stop.signal:
                self.log.say(log_messages.STOPPED_ELSEWHERE, reason=stop.reason)
            self._stop(stop)
            attempt.regrouping = stop.regroup
        self._ended_elsewhere |= stop.final

    def _end(self, stop: Stop) -> None:
        """End the ranks here, and let the others know."""
        self._stop(stop)
        self._on_stop(stop)

    def _termination(self, reason: str, *, final: bool = False) -> Stop:
        return Stop(signal.SIGTERM, self._config.shutdown_timeout_s, reason, final)

    def _stop(self, stop: Stop) -> None:
        """Where every launcher of a job gets the signal, and tells the others, the ranks get it once."""
        if not self._attempt or self._attempt.stop_signal == stop.signal:
            return
        self._attempt.stopping, self._attempt.stop_signal = True, stop.signal
        for node in self.nodes:
            node.stop(stop.signal, stop.grace_s)
        if self._last_resort:
            self._last_resort.cancel()
        self._last_resort = self._loop.after(stop.grace_s + AGENT_PATIENCE_S, self._kill_agents)

    def _kill_agents(self) -> None:
        """Of nodes that should have ended by now: something has stopped them."""
        for node in self.nodes:
            node.kill_agent()

    def _told(self, number: int) -> None:
        """A signal: the ranks get the same one. A later SIGINT, of a user who has no time, does not wait for them.

        Others may come more than once: Slurm sends SIGTERM twice, and ``timeout`` sends each signal to its child and to
        its group. So a SIGINT that comes before a rank got the first one is no later one.
        """
        self._signals.append(number)
        if self._streams.closing:
            self._loop.stop()
            return
        reason = f"{self.host} received {signal.Signals(number).name}"
        if len(self._signals) == 1:
            self.log.say(log_messages.DEATH_SIGNAL, signal=number)
            self._end(Stop(number, self._config.shutdown_timeout_s, reason, final=True))
        elif number == signal.SIGINT and not (self._attempt and not self._attempt.signalled):
            self.log.say(log_messages.SECOND_SIGNAL, signal=number)
            self._end(Stop(signal.SIGKILL, 0.0, reason + " again", final=True))
        self._look_for_the_end()

    def _pass_on(self, number: int) -> None:
        self.log.say(log_messages.SIGNAL_PASSED_ON, signal=signal.Signals(number).name)
        for node in self.nodes:
            node.pass_on(number)

    def _reader_gone(self) -> None:
        """Whatever else is written is discarded. Ranks that are being ended have the time that they were given."""
        if not self._output_closed:
            self._output_closed = True
            self._loop.after(_SIGNAL_FOLLOWS_S, self._end_without_reader)

    def _end_without_reader(self) -> None:
        if self._signals or self._streams.closing:
            return
        self.log.say(log_messages.OUTPUT_CLOSED)
        stop = self._termination(f"nobody reads the output on {self.host}", final=True)
        if self._attempt and self._attempt.stopping:
            stop = replace(stop, signal=self._attempt.stop_signal)
        self._end(stop)

    def _share_terminal(self) -> None:
        """With the only rank, which has it as it is: Ctrl-Z stops both, as it would stop a program of the shell's."""
        self._streams.share_terminals()
        self._loop.on_signals([signal.SIGTSTP], lambda _: self._pause())
        self._loop.on_signals([signal.SIGCONT], lambda _: self.nodes[0].signal_ranks(signal.SIGCONT))

    def _pause(self) -> None:
        self.nodes[0].signal_ranks(signal.SIGSTOP)
        self._streams.redraw()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _resized(self) -> None:
        self._streams.redraw(resized=True)
        for node in self.nodes:
            node.signal_ranks(signal.SIGWINCH)

    def _look_for_the_end(self) -> None:
        attempt = self._attempt
        if not attempt or attempt.over or not all(node.is_empty for node in self.nodes):
            return
        if not self._streams.drained and not self._output_given_up:
            if self._signals:
                self._loop.after(READER_PATIENCE_S, self._give_up_output)
            elif not self._holders_timer:
                self._holders_timer = self._loop.after(_HOLDERS_S, self._give_up_held_pipes)
            return
        attempt.over = attempt.stopping = True
        if self._last_resort:
            self._last_resort.cancel()
        if not attempt.failures:
            self.log.say(log_messages.GROUP_FINISHED, role=self._config.role, timeout_s=300)
        elif not self.is_ending_for_good:
            self._reports.failed(root_cause(attempt.failures))
        self._on_over()

    def _give_up_held_pipes(self) -> None:
        """Nothing is left of the attempt, and all that it wrote has been read: who holds a pipe, writes nothing."""
        self._holders_timer = None
        if self._streams.idle:
            self._output_given_up = True
        self._look_for_the_end()

    def _give_up_output(self) -> None:
        self._output_given_up = True
        self._look_for_the_end()

    def _last_words(self) -> int:
        """Report, and return the exit code."""
        reports, attempt = self._reports, self._attempt
        if self._signals:
            reports.signalled(self._signals[0])
            return 1
        if attempt and attempt.refusal:
            self.log.say(log_messages.RANK_NOT_STARTED, reason=attempt.refusal)
            return 1
        if attempt and attempt.failures and self._exit_code and not self.is_ending_for_good:
            reports.child_failed(attempt.failures, kept=self._tree.kept)
        cause = self.root_cause
        if self._reason and not self._output_closed and not (cause and cause.sentence == self._reason):
            self._streams.say(f"fake-torchrun: error: {self._reason}\n")
        return self._exit_code
