"""``play``: the records of a run, one after the other, as metrics.jsonl would hold them.

Records are computed as they are asked for. The order of what happens in a run is that of ``train.py``; figures come
from the same simulation, so a run that is iterated here and one that is played by the script agree to the digit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from accelerate_sim.api.playback import Playback
from accelerate_sim.api.records import FaultRecord, TextRecord
from accelerate_sim.api.source import Config, check_arguments, planned_run, refused
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import Record


def play(
    config: Config,
    changes: Sequence[str] = (),
    *,
    seed: int | None = None,
    speed: float | str = "max",
    start: datetime | None = None,
    faults: Sequence[str] = (),
    voice: str | None = None,
) -> Iterator[Record | FaultRecord | TextRecord]:
    """Iterate the records of a run from its start to its summary.

    ``config`` is a file, the name of a shipped config, or nested keys and values; ``changes`` are as those of
    ``--set``, ``faults`` as those of ``--fault``. A run whose restarts are used up ends without a summary. ``speed`` is
    the number of simulated seconds in a real one; ``"max"`` never waits. ``start`` is the simulated date and time at
    which the run begins; None: now. With a ``voice``, as ``--voice`` names it, each record is followed by the lines
    that the run prints about it, a TextRecord each. Raises ConfigError, before the first record.
    """
    changes, faults = check_arguments(config, changes, faults)
    if not isinstance(start, datetime | None):
        raise refused("start", start, "is no date and time", "Use e.g. start=datetime(2026, 1, 31, 9, 30).")
    paced = [f"run.speed={speed}", "run.startup_speed=null"]
    spoken = [] if voice is None else [f"log.voice={voice}", "log.voice_options={}"]
    run = planned_run(config, [*spoken, *changes, *paced], seed=seed, faults=faults)
    clock = Clock(start or datetime.now().replace(microsecond=0), run.config.run.speed, _sleep)
    if voice is None:
        return Playback(run, clock).records()
    from accelerate_sim.api.spoken_playback import SpokenPlayback

    return SpokenPlayback(run, clock).records()


def _sleep(seconds: float) -> None:
    if seconds > 0.0:  # a sleep of no time gives the processor to others
        time.sleep(seconds)
