"""``dmon`` and ``pmon``: GPUs and processes in scrolling format, a line each at every interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from accelerate_sim.monitoring.nvidia_smi.reading import BRAKE, HW_THERMAL, POWER_CAP, THERMAL, Gpu, Reading
from accelerate_sim.monitoring.nvidia_smi.readings import has_memory_sensor

WIDTH = 7
NONE = "-"


class Column(NamedTuple):
    """A column: its two lines of heading, and its value for a GPU."""

    name: str
    unit: str
    value: Callable[[Gpu], object]


def _if_ecc(value: Callable[[Gpu], object]) -> Callable[[Gpu], object]:
    return lambda gpu: value(gpu) if gpu.board.has_ecc else NONE


def _newer_engine(gpu: Gpu) -> object:
    return 0 if gpu.board.architecture != "Volta" else NONE


DEVICE_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "p": (
        Column("pwr", "W", lambda gpu: int(gpu.power_w)),
        Column("gtemp", "C", lambda gpu: gpu.temperature_c),
        Column("mtemp", "C", lambda gpu: gpu.memory_temperature_c if has_memory_sensor(gpu) else NONE),
    ),
    "u": (
        Column("sm", "%", lambda gpu: gpu.utilization_pct),
        Column("mem", "%", lambda gpu: gpu.memory_utilization_pct),
        Column("enc", "%", lambda gpu: 0),
        Column("dec", "%", lambda gpu: 0),
        Column("jpg", "%", _newer_engine),
        Column("ofa", "%", _newer_engine),
    ),
    "c": (
        Column("mclk", "MHz", lambda gpu: gpu.board.memory_clock_mhz),
        Column("pclk", "MHz", lambda gpu: gpu.clock_mhz),
    ),
    "v": (
        Column("pviol", "%", lambda gpu: 100 if gpu.reasons & (POWER_CAP | BRAKE) else 0),
        Column("tviol", "bool", lambda gpu: int(bool(gpu.reasons & (THERMAL | HW_THERMAL)))),
    ),
    "m": (
        Column("fb", "MB", lambda gpu: gpu.used_mib),
        Column("bar1", "MB", lambda gpu: gpu.used_bar1_mib),
        Column("ccpm", "MB", lambda gpu: 0),
    ),
    "e": (
        Column("sbecc", "errs", _if_ecc(lambda gpu: gpu.health.volatile.corrected)),
        Column("dbecc", "errs", _if_ecc(lambda gpu: gpu.health.volatile.uncorrected)),
        Column("pci", "errs", lambda gpu: gpu.health.pcie_replays),
    ),
    "t": (
        Column("rxpci", "MB/s", lambda gpu: gpu.pcie_kb_per_s // 1000),
        Column("txpci", "MB/s", lambda gpu: gpu.pcie_kb_per_s // 1000),
    ),
}
PROCESS_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "u": (
        Column("sm", "%", lambda gpu: gpu.utilization_pct),
        Column("mem", "%", lambda gpu: gpu.memory_utilization_pct),
        *(Column(engine, "%", lambda gpu: NONE) for engine in ("enc", "dec", "jpg", "ofa")),
    ),
    "m": (Column("fb", "MB", lambda gpu: gpu.process_mib), Column("ccpm", "MB", lambda gpu: 0)),
}
GROUPS = {"dmon": DEVICE_COLUMNS, "pmon": PROCESS_COLUMNS}
DEFAULT_GROUPS = {"dmon": "puc", "pmon": "u"}


class MonitorTable:
    """The lines of one of the two commands, with columns in the order in which their groups were asked for."""

    def __init__(self, kind: str, groups: Sequence[str], moments: str) -> None:
        self._of_processes = kind == "pmon"
        self._columns = [column for group in groups for column in GROUPS[kind][group]]
        self._moments = moments

    def heading(self) -> str:
        """The two lines above all samples."""
        names, units = ["gpu"], ["Idx"]
        if self._of_processes:
            names += [f"{'pid':>{WIDTH + 5}}", f"{'type':>{WIDTH}}"]
            units += [f"{'#':>{WIDTH + 5}}", f"{'C/G':>{WIDTH}}"]
        names += [f"{column.name:>{WIDTH}}" for column in self._columns]
        units += [f"{column.unit:>{WIDTH}}" for column in self._columns]
        ends = ("    command", "    name") if self._of_processes else ("", "")
        dates, times = ("Date        ", "YYYYMMDD    "), ("Time         ", "HH:MM:SS     ")
        lines = []
        for place, cells in enumerate((names, units)):
            moment = dates[place] * ("D" in self._moments) + times[place] * ("T" in self._moments)
            lines.append(f"#{moment or ' '}{''.join(cells)}{ends[place]} \n")
        return "".join(lines)

    def sample(self, reading: Reading) -> str:
        """A line for each GPU, or for each process."""
        dated = reading.time.strftime(" %Y%m%d    ") if "D" in self._moments else " "
        timed = reading.time.strftime("%H:%M:%S     ") if "T" in self._moments else ""
        front = dated + timed if self._moments else "  "
        return "".join(front + self._line(gpu) + " \n" for gpu in reading.gpus)

    def _line(self, gpu: Gpu) -> str:
        if not self._of_processes:
            return f"{gpu.index:>3}" + self._cells(gpu)
        if not gpu.has_process:
            cells = "".join(f"{NONE:>{WIDTH}}" for _ in self._columns)
            return f"{gpu.index:>3}{NONE:>{WIDTH + 4}}{NONE:>{WIDTH - 1}}{cells}    {NONE:<14}"
        name = gpu.command.rpartition("/")[2][:14]
        return f"{gpu.index:>3}{gpu.pid:>{WIDTH + 4}}{'C':>{WIDTH - 1}}{self._cells(gpu)}    {name:<14}"

    def _cells(self, gpu: Gpu) -> str:
        return "".join(f"{column.value(gpu):>{WIDTH}}" for column in self._columns)
