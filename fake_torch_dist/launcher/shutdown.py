"""Ends the ranks of this command: after a failure, a signal, the end of the output's reader, or an order of the host.

A first signal gives the ranks the grace period; a second Ctrl-C kills them. Timers limit how long the launcher waits
for agents that do not answer, and for output that stays incomplete.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fake_torch_dist.launcher.commandline.config import LaunchConfig
from fake_torch_dist.launcher.local_node import LocalNode
from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.output.merged_output import MergedOutput
from fake_torch_dist.launcher.protocol.stop import StopJob
from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog

AGENT_PATIENCE_S: Final = 5.0
"""Time after the grace period in which an agent has to report the end of its ranks."""
READER_PATIENCE_S: Final = 1.0
"""Time after a signal in which the reader of the launcher's output may take the rest."""
_PIPE_HOLDERS_S: Final = 1.0
"""Time after the end of all ranks in which a process that still holds a rank's pipe may write or end."""
_SIGNAL_FOLLOWS_S: Final = 0.1
"""Ctrl-C and the end of a terminal also end the reader of the output, sometimes before the signal arrives here."""
_PASSED_ON: Final = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals by which schedulers announce the end of a job. The ranks decide what to do; no default action ends them."""


@dataclass
class _StopState:
    """State of the shutdown of one attempt."""

    stopping: bool = False
    stop_signal: int = 0
    """Signal that the ranks were sent last."""
    regrouping: bool = False
    """The ranks are ended because the world grows."""
    signalled: bool = False
    """An agent has reported that a rank was signalled."""
    over: bool = False


class Shutdown:
    """Decides when the ranks are ended and how. One for all attempts of a command.

    ``on_stop`` is called if the reason was found here, so that other nodes can be told; ``on_progress`` when the end of
    the attempt may have come nearer.
    """

    def __init__(
        self,
        config: LaunchConfig,
        loop: EventLoop,
        nodes: Sequence[LocalNode],
        output: MergedOutput,
        log: LauncherLog,
        *,
        host: Callable[[], str],
        on_stop: Callable[[StopJob], None],
        on_progress: Callable[[], None],
    ) -> None:
        self._config = config
        self._loop = loop
        self._nodes = nodes
        self._output = output
        self._log = log
        self._host = host
        self._on_stop = on_stop
        self._on_progress = on_progress
        self.signals: list[int] = []
        """Ending signals that this process got, in order."""
        self.is_output_closed = False
        """Nobody reads the launcher's output any more."""
        self._ended_elsewhere = False
        self._state: _StopState | None = None
        self._last_resort: Timer | None = None

    @property
    def is_final(self) -> bool:
        """True if the job ends for another reason than a failure, found here or elsewhere."""
        return bool(self.signals or self.is_output_closed or self._ended_elsewhere)

    @property
    def is_stopping(self) -> bool:
        """True if the ranks of this attempt are being ended, or have ended."""
        return self._state is not None and self._state.stopping

    @property
    def is_regrouping(self) -> bool:
        """True if the ranks are ended because the world grows."""
        return self._state is not None and self._state.regrouping

    def listen_to_signals(self) -> None:
        """Handle the signals that end the job, and those that are only passed on to the ranks."""
        hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup: the job outlives its terminal
        handled = set(self._config.signals) - ({signal.SIGHUP} if hangup_ignored else set())
        self._loop.on_signals(handled, self._on_signal)
        passed_on = [number for number in _PASSED_ON if signal.getsignal(number) is signal.SIG_DFL]
        self._loop.on_signals(passed_on, self._pass_on)

    def begin_attempt(self) -> None:
        """Forget how the last attempt was ended; its ranks are gone."""
        self._state = _StopState()

    def end_attempt(self) -> None:
        """Note that nothing is left of the attempt."""
        if self._state:
            self._state.over = self._state.stopping = True
        if self._last_resort:
            self._last_resort.cancel()

    def note_signalled(self) -> None:
        """Note that a rank has got the signal of the shutdown."""
        if self._state:
            self._state.signalled = True

    def stop_from_elsewhere(self, stop: StopJob) -> None:
        """End the ranks because of an event on another node."""
        state = self._state
        if state and not state.over and not (state.stopping and not stop.final):
            if state.stop_signal != stop.signal:
                self._log.emit(log_messages.STOPPED_ELSEWHERE, reason=stop.reason)
            self._stop(stop)
            state.regrouping = stop.regroup
        self._ended_elsewhere |= stop.final

    def terminate(self, reason: str, *, final: bool = False) -> None:
        """End the ranks by SIGTERM because of ``reason``, and tell the other nodes."""
        self._end(self._termination(reason, final=final))

    def _termination(self, reason: str, *, final: bool = False) -> StopJob:
        return StopJob(signal.SIGTERM, self._config.shutdown_timeout_s, reason, final)

    def _end(self, stop: StopJob) -> None:
        self._stop(stop)
        self._on_stop(stop)

    def _stop(self, stop: StopJob) -> None:
        """Signal the ranks, once for each signal: if all launchers of a job get it, each also tells the others."""
        if not self._state or self._state.stop_signal == stop.signal:
            return
        self._state.stopping, self._state.stop_signal = True, stop.signal
        for node in self._nodes:
            node.stop(stop.signal, stop.grace_s)
        if self._last_resort:
            self._last_resort.cancel()
        self._last_resort = self._loop.after(stop.grace_s + AGENT_PATIENCE_S, self._kill_agents)

    def _kill_agents(self) -> None:
        """Kill the agents that have not ended their ranks in time: something has stopped them."""
        for node in self._nodes:
            node.kill_agent()

    def _on_signal(self, number: int) -> None:
        """Send the ranks the signal that has arrived. A later SIGINT kills them at once.

        Other signals may come more than once: Slurm sends SIGTERM twice, and ``timeout`` sends each signal to its child
        and to its group. So a SIGINT that comes before any rank got the first one does not count as a later one.
        """
        self.signals.append(number)
        if self._output.closing:
            self._loop.stop()
            return
        reason = f"{self._host()} received {signal.Signals(number).name}"
        if len(self.signals) == 1:
            self._log.emit(log_messages.DEATH_SIGNAL, signal=number)
            self._end(StopJob(number, self._config.shutdown_timeout_s, reason, final=True))
        elif number == signal.SIGINT and not (self._state and not self._state.signalled):
            self._log.emit(log_messages.SECOND_SIGNAL, signal=number)
            self._end(StopJob(signal.SIGKILL, 0.0, reason + " again", final=True))
        self._on_progress()

    def _pass_on(self, number: int) -> None:
        self._log.emit(log_messages.SIGNAL_PASSED_ON, signal=signal.Signals(number).name)
        for node in self._nodes:
            node.pass_on(number)

    def on_reader_gone(self) -> None:
        """End the job, since what it writes is discarded from now on."""
        if not self.is_output_closed:
            self.is_output_closed = True
            self._loop.after(_SIGNAL_FOLLOWS_S, self._end_without_reader)

    def _end_without_reader(self) -> None:
        if self.signals or self._output.closing:
            return
        self._log.emit(log_messages.OUTPUT_CLOSED)
        stop = self._termination(f"nobody reads the output on {self._host()}", final=True)
        if self._state and self._state.stopping:  # ranks that are being ended keep the time that they were given
            stop = replace(stop, signal=self._state.stop_signal)
        self._end(stop)


class OutputPatience:
    """Limits the wait for output after all processes of an attempt have ended, and gives it up then."""

    def __init__(self, loop: EventLoop, output: MergedOutput, on_given_up: Callable[[], None]) -> None:
        self._loop = loop
        self._output = output
        self._on_given_up = on_given_up
        self._holders_timer: Timer | None = None
        self.has_given_up = False
        """The launcher does not wait for further output."""

    def begin_attempt(self) -> None:
        """Wait for all output again."""
        self.has_given_up = False

    def wait(self, *, after_signal: bool) -> None:
        """Set a timer. After a signal the reader may be slow or gone; else a process may hold a rank's pipe."""
        if after_signal:
            self._loop.after(READER_PATIENCE_S, self._give_up)
        elif not self._holders_timer:
            self._holders_timer = self._loop.after(_PIPE_HOLDERS_S, self._give_up_if_idle)

    def _give_up_if_idle(self) -> None:
        """Give up if all that was written has been read: the process that holds a pipe writes nothing."""
        self._holders_timer = None
        if self._output.is_idle:
            self.has_given_up = True
        self._on_given_up()

    def _give_up(self) -> None:
        self.has_given_up = True
        self._on_given_up()
