"""``Session``: the objects that all runs of one process share.

The command line makes a session and enters it. A script that only imports the package gets one on first use, which
writes to standard output and never waits. Accelerate keeps such objects in its shared state.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from accelerate_sim.display.canvas import Canvas
from accelerate_sim.display.screen import OutputClosed, Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DeviceRecord, Record
from accelerate_sim.reporting.console import RunConsole
from accelerate_sim.session.runs import Runs
from accelerate_sim.tracking.outputs import Outputs
from fake_torch_dist.terminal.keyboard import Keyboard

if TYPE_CHECKING:
    from accelerate_sim.process.placement import Placement
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.session.coordination import Coordination
    from accelerate_sim.session.input_protocols import KeyReader
    from accelerate_sim.session.planned_run import PlannedRun
    from accelerate_sim.session.rank_waits import RankWaits
    from accelerate_sim.sim.plan import Plan

PATIENCE_S = 0.2
"""``Session.patience_s`` where a lost last frame leaves a terminal that can be used."""


class Session:
    """Screen, clock, signals, style and outputs of a process, and the run that is active; ``current()`` finds it."""

    _current: ClassVar[Session | None] = None

    def __init__(
        self,
        *,
        screen: Screen,
        clock: Clock,
        style: Style,
        signals: Signals,
        progress: bool = True,
        outputs: Outputs | None = None,
        coordination: Coordination | None = None,
        named_directory: Path | None = None,
        truth_directory: Path | None = None,
    ) -> None:
        """``progress``: show bars. ``coordination``: link to the other processes; None: this one runs all ranks.

        The directories are given to a process whose ``outputs`` write no files there.
        """
        self.screen = screen
        self.clock = clock
        self.style = style
        self.signals = signals
        self.progress = progress
        self.outputs = outputs or Outputs()
        self.truth_directory = truth_directory or self.outputs.directory
        """Directory for the truth of hazards, also in a process that writes no other files."""
        self.named_directory = named_directory or self.outputs.directory
        """The output directory as the command line names it, also in a process that writes no files there."""
        self.coordination = coordination
        rank = coordination.placement.rank if coordination else None
        ranks = coordination.placement.ranks if coordination else ()
        self.console = RunConsole(screen, style, rank, clock.time, bars=progress, ranks=ranks)
        self.runs = Runs()
        """The run that is active, and the one that begins next."""
        self.patience_s = PATIENCE_S
        """Real seconds for which a reader may take nothing once the session has been told to end."""
        self._close_control: Callable[[], None] | None = None
        self.rank_waits: RankWaits | None = None
        """The waits for other ranks of a process whose exporter answers meanwhile; None without one."""
        self._has_node_exporters = False
        self.world_size = 1
        self.keys: KeyReader | None = None
        """The keys that steer the session; None: what is typed is left to the shell."""
        self._keyboard = Keyboard(screen.fd)
        signals.listeners.add(
            before_waiting=self._rest, on_pause=self._pause, on_redraw=self._redraw, on_hold=self.flush
        )  # fmt: skip

    @property
    def active(self) -> ActiveRun | None:
        """The run whose observers receive the records; None between two runs."""
        return self.runs.active

    @property
    def placement(self) -> Placement | None:
        """The rank of this process; None if it runs all ranks."""
        return self.coordination.placement if self.coordination else None

    @property
    def is_main_process(self) -> bool:
        return self.coordination is None or self.coordination.placement.is_main

    @property
    def sums_up(self) -> bool:
        """True if this process needs all records of a run: of its lines about the whole run, or of its exporter."""
        return self.is_main_process or self.console.logs_whole_run or self.rank_waits is not None

    @classmethod
    def current(cls) -> Session:
        """The session that is entered, or a new quiet one."""
        if cls._current is None:
            cls._current = cls.quiet()
        return cls._current

    @classmethod
    def quiet(cls) -> Session:
        """A session for scripts without the command line: plain lines on standard output, or a notebook's cell."""
        from accelerate_sim.session.quiet_session import quiet_parts, show_in_cells

        session = cls(**quiet_parts())
        show_in_cells(session, session.flush_screen)
        return session

    def enter(self) -> None:
        """Make this the current session; take over the terminal's keyboard."""
        Session._current = self
        if self.screen.live:
            self._hush()
        if not os.isatty(self.screen.fd):
            self.signals.watch(self.screen.fd, self.screen.hang_up)

    def leave(self) -> None:
        """Give the keyboard back and write what is left for standard error; no session is current."""
        self.console.flush()
        if self.screen.outlet is not None:
            with suppress(OutputClosed):
                self.screen.outlet.close()
        Session._current = None
        if self.rank_waits:
            self.rank_waits.end()
        if self._close_control:
            self._close_control()
            self._close_control = None
        self._give_keyboard_back()
        with suppress(OutputClosed):
            if self.screen.live and (text := self.screen.canvas.ended()):
                self.screen.deliver(text)  # an exception has ended the session before its screen was

    # --- Parts that some sessions have ------------------------------------------------------------

    def steer_with(self, keys: KeyReader) -> None:
        """Let the keys of the terminal steer the session."""
        self.keys = keys

    def fill_screen(self, canvas: Canvas, frame_s: float, patience_s: float) -> None:
        """Let ``canvas`` draw the whole screen; a reader may be late by ``patience_s`` at the end."""
        self.screen.use(canvas, frame_s)
        self.console.draw_no_tables()
        self.patience_s = patience_s

    @property
    def has_control(self) -> bool:
        """True if ``fake-torchrun ctl`` can send commands."""
        return self._close_control is not None

    def take_commands(self, close: Callable[[], None]) -> None:
        """Call ``close`` at the end: it closes the socket over which ``fake-torchrun ctl`` sends commands."""
        self._close_control = close

    def serve_while_waiting(self) -> None:
        """Let a process whose exporter is open answer while it waits for other ranks, too."""
        if self.coordination and self.rank_waits is None:
            from accelerate_sim.session.rank_waits import RankWaits

            self.rank_waits = RankWaits(self.signals, self.clock, follows=not self.is_main_process)

    def begins_node_exporters(self) -> bool:
        """True at the first call: the exporters of all nodes are opened once."""
        begins, self._has_node_exporters = not self._has_node_exporters, True
        return begins

    # --- Runs -----------------------------------------------------------------------------------

    def plan_run(self, planned: PlannedRun) -> None:
        """Set the run that begins next."""
        self.runs.plan(planned)
        self._show(planned.plan)

    def begin_run(self, active: ActiveRun) -> None:
        """Make ``active`` the run whose observers receive the records."""
        self.runs.begin(active)
        self._show(active.run)

    def _show(self, plan: Plan) -> None:
        """Let log lines state the facts of ``plan``, in the voice that its config names."""
        self.world_size = plan.layout.world_size
        if plan.config.log.hazards and self.screen.outlet is None:
            from accelerate_sim.session.hazards import open_outlet

            ranks = self.placement.ranks if self.placement else [0]
            open_outlet(self.screen, plan, ranks, self.clock.time, self.truth_directory)
        self.console.begin(plan)

    def end_run(self) -> None:
        """End the active run; the next run has the next number."""
        self.runs.end()

    def end_attempt(self) -> None:
        """Take the bars off the screen; no run is active until the next attempt begins."""
        self.flush()
        self.screen.close()
        self.runs.end_attempt()

    @property
    def shows_script(self) -> bool:
        """True if the script's own lines and bars are shown: in house style, and always those of a user's own script.

        Another voice has words of its own for what the planned script says.
        """
        return self.console.is_house or bool(self.active and self.active.own_script)

    def read_gpus(self) -> DeviceRecord | None:
        """The GPUs of the active run at this moment; None between two runs."""
        if self.active:
            return self.active.read_gpus(self.rank_waits.reached_s if self.rank_waits else self.clock.now_s)
        return self.runs.read_idle_gpus() if self.runs.read_idle_gpus else None

    # --- Records --------------------------------------------------------------------------------

    def report(self, record: Record) -> None:
        """Give a record to the observers of the active run, to the console, then to the outputs."""
        if self.screen.outlet is not None:
            self.screen.outlet.reach(getattr(record, "step", None))
        for observer in self.active.observers if self.active else ():
            observer.observe(record)
        self.console.observe(record)
        self.outputs.observe(record)

    def flush(self) -> None:
        """Write all buffers."""
        self.outputs.flush()
        self.flush_screen()

    def flush_screen(self) -> None:
        """Write what has been collected for standard output and standard error."""
        self.screen.flush()
        self.console.flush()

    def hurry(self) -> None:
        """After an ending signal: drop the rest of the output if its reader takes nothing for ``patience_s``."""
        self.screen.hurry(self.patience_s)

    def _rest(self, seconds: float) -> None:
        """Draw before a wait; the files are written first, so that they have whatever is on the screen."""
        if seconds > 0.0 or self.screen.is_due(0.0):
            self.outputs.flush()
            self.console.flush()
        self.screen.rest(seconds)

    def _pause(self) -> None:
        """Clear the live lines and give the keyboard back before Ctrl-Z stops the process."""
        self.screen.clear()
        self._give_keyboard_back()

    def _give_keyboard_back(self) -> None:
        if self.keys:
            self.keys.give_back()
        self._keyboard.restore()

    def _hush(self) -> None:
        self._keyboard.hush()
        if self.keys:
            self.keys.take()

    def _redraw(self) -> None:
        """Draw again after a stop or a resize."""
        if self.screen.live:
            self._hush()
            self.screen.redraw()
