"""The end of an attempt under a launcher: the ranks that a strike hits really end, the others lose their peers.

All ranks know the strike. They meet once more before it, so that what is on the disk is the same each time; then the
victims end in their own way, and the others fail in their next collective, or are ended by the launcher.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from accelerate_sim.faults.consequences import Death, Ending, ExitEnd, FaultLine, HangEnd, RaiseEnd, SignalEnd
from accelerate_sim.session.faults.script_frames import tell_script_alone

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Occurrence
    from accelerate_sim.process.placement import Placement
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.session.coordination import Coordination
    from accelerate_sim.session.faults.line_output import LineOutput
    from accelerate_sim.session.session import Session

LAUNCHER_ENDS_S = 10.0
"""Seconds that a rank leaves its launcher to end it; without one it ends by itself."""
AFTER_S = 1e-3
"""Simulated seconds after a strike at which probes find the job stopped."""
STOPPED = HangEnd("stop")
TAKEN = ("BrokenPipeError", "EOFError")
"""Exceptions of standard output or standard input whose other end is closed."""
DEADLY = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""Signals that end a rank once its strike has come. One that raises takes no SIGTERM: its launcher sends that when the
first of several ranks has ended, and each of them writes its traceback."""
POWER_FAILURE = getattr(signal, "SIGPWR", signal.SIGKILL)
"""Signal to the agent of a node that does not come back: its launcher starts it no more."""


@dataclass(frozen=True)
class LateLines:
    """Lines that ranks write some time after the strike, as their watchdog's time is up."""

    output: LineOutput
    lines: Sequence[FaultLine]

    def write(self, speed: float | str, sleep: Callable[[float], None]) -> None:
        """``sleep`` as long as the simulated time takes at this speed, and write the lines of this rank."""
        if isinstance(speed, float | int):
            sleep(min(line.after_s for line in self.lines) / speed)
        self.output.write(self.lines)


def _awake(ending: Ending, placement: Placement) -> list[int]:
    """The processes with a rank that no signal stops."""
    stopped = {death.rank for death in ending.deaths if death.how == STOPPED}
    awake = (rank for rank in range(placement.world_size) if rank not in stopped)
    return sorted({rank // placement.num_played for rank in awake})


def end_really(
    session: Session,
    coordination: Coordination,
    active: ActiveRun,
    strike: Occurrence,
    following: int,
    late: LateLines,
    fail: Callable[[], None],
) -> None:
    """Keep the state for the next attempt, meet all ranks, and end as the strike says. It does not return.

    ``fail`` lets what the ranks share fail before they end.
    """
    import fake_torch_dist as dist

    ending, placement = strike.ending, coordination.placement
    sleep: Callable[[float], None] = time.sleep
    assert ending
    if session.is_main_process:
        _keep(session, active, following, ending)
    session.flush_screen()  # a process that is killed writes nothing more
    death = next((death for death in ending.deaths if death.rank in placement.ranks), None)
    deadly = DEADLY - {signal.SIGTERM} if death and isinstance(death.how, RaiseEnd) else DEADLY
    with session.signals.at_once():
        if signal.SIGTERM not in deadly:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        processes = _awake(ending, placement)
        awake = dist.new_group(processes) if late.lines else None
        dist.barrier()
    fail()
    if session.rank_waits:
        session.rank_waits.stop_at(active.progress.training_origin_s + strike.second + AFTER_S)
        sleep = session.signals.serve_for
    _die_of(deadly)
    if late.lines and death and placement.process not in processes:
        _end(death, silent=True, sleep=sleep)
    if late.lines:
        late.write(active.run.config.run.speed, sleep)
        dist.barrier(awake)  # nobody ends before all have written
    _end_launcher_and_node(ending, placement, sleep)
    if death:
        _end(death, silent=strike.fault.silent, sleep=sleep)
    try:
        dist.barrier()  # which raises the error of a lost peer
    finally:
        sleep(LAUNCHER_ENDS_S)  # whose lines, if any, are those of the strike


def _keep(session: Session, active: ActiveRun, following: int, ending: Ending) -> None:
    """Keep the state that the next attempt goes on from: on the disk, or with the launcher, which outlives it.

    The launcher is told if there is no next attempt, except where it sees for itself that a node is gone.
    """
    end = active.checkpoints.attempt_end(following, saves=ending.saves)
    if active.checkpoints.on_disk:
        active.checkpoints.keep_attempt_end(end)
    else:
        from accelerate_sim.session.faults.launcher_store import keep

        keep(end)
    session.screen.close()
    session.outputs.flush()
    if not ending.restarts and not ending.nodes_gone:
        from accelerate_sim.session.faults.launcher_store import end_for_good

        end_for_good()


def _end_launcher_and_node(ending: Ending, placement: Placement, sleep: Callable[[float], None]) -> None:
    """Send the launcher the signal that ends the job, and wait for that; end the agent of a node that is gone."""
    if ending.job_signal and placement.is_main:
        os.kill(parent_of(os.getppid()), ending.job_signal)
    if ending.job_signal:
        _wait_for_the_end(sleep)
    if placement.node in ending.nodes_gone and placement.local_rank == 0:
        os.kill(os.getppid(), signal.SIGKILL if ending.restarts else POWER_FAILURE)


def _die_of(signals: Iterable[signal.Signals]) -> None:
    """Let these signals end this process as they end any process, and leave no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for number in signals:
        signal.signal(number, signal.SIG_DFL)


def _end(death: Death, *, silent: bool, sleep: Callable[[float], None]) -> None:
    match death.how:
        case SignalEnd(number):
            with suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            _wait_for_the_end(sleep)
        case ExitEnd(code):
            os._exit(code)
        case RaiseEnd() if silent:
            os._exit(death.exitcode)
        case RaiseEnd(name, text):
            tell_script_alone()
            raise exception_called(name)(text)
        case HangEnd(how):
            if how == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif how == "io":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a process in the kernel takes no signal but SIGKILL
            _wait_for_the_end(sleep)


def parent_of(pid: int) -> int:
    """Process id of the parent of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def _wait_for_the_end(sleep: Callable[[float], None]) -> NoReturn:
    while True:
        sleep(3600.0)


def exception_called(name: str) -> type[Exception]:
    """The built-in exception of this name, or a new one; dots divide its module from its name.

    A new class has the name of a built-in that means something else to the callers of the training function: they
    would end the process without its traceback.
    """
    import builtins

    found = None if name in TAKEN else getattr(builtins, name, None)
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    module, _, last = name.rpartition(".")
    made = type(last, (RuntimeError,), {})
    made.__module__ = module or "builtins"
    return made
