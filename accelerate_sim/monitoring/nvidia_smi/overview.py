"""The table that nvidia-smi prints without arguments, and its list of GPUs, in the layout of driver 550 and later."""

from __future__ import annotations

from collections.abc import Iterable

from accelerate_sim.monitoring.nvidia_smi.boards import Driver
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading

TIME = "%a %b %e %H:%M:%S %Y"
RULE = "+-----------------------------------------+------------------------+----------------------+"
WIDE_RULE = "+" + "-" * 89 + "+"
HEADINGS = (
    "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |",
    "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |",
    "|                                         |                        |               MIG M. |",
    "|=========================================+========================+======================|",
)
LONGEST_NAME = 27
UNREADABLE = "ERR!"
"""The cell of a sensor that cannot be read."""


def table(reading: Reading) -> str:
    """The whole table, with a newline at its end."""
    driver = reading.board.driver
    since_580 = driver.major >= 580
    lines = [
        f"{reading.time.strftime(TIME)}       ",
        WIDE_RULE,
        _title(driver),
        RULE if since_580 else f"|{RULE[1:]}",
        *HEADINGS,
    ]
    for gpu in reading.gpus:
        lines += _gpu(gpu)
    lines += ["" if since_580 else " " * 89, WIDE_RULE]
    lines += _processes(reading.gpus, pid_width=16 if driver.major >= 565 else 10)
    return "\n".join(lines) + "\n"


def _title(driver: Driver) -> str:
    tool = f"| NVIDIA-SMI {driver.version:<22} "
    if driver.major < 610:
        return f"{tool}Driver Version: {driver.version:<14} CUDA Version: {driver.cuda:<9}|"
    return f"{tool}KMD Version: {driver.version:<13} CUDA UMD Version: {driver.cuda:<9}|"


def _gpu(gpu: Gpu) -> Iterable[str]:
    ecc = str(gpu.health.volatile.uncorrected) if gpu.board.has_ecc else "N/A"
    mig = "Disabled" if gpu.board.has_mig else "N/A"
    name = gpu.name if len(gpu.name) <= LONGEST_NAME else gpu.name[: LONGEST_NAME - 4].rstrip() + " ..."
    fan = "N/A" if gpu.board.has_ecc else f"{fan_pct(gpu)}%"
    power, limit = f"{gpu.power_w:.0f}W", f"{gpu.power_limit_w:.0f}W"
    temperature, used = f"{gpu.temperature_c}C", f"{gpu.utilization_pct}%"
    if gpu.health.unreadable:
        fan = power = temperature = used = UNREADABLE
    yield f"| {gpu.index:>3}  {name:<31}On  |   {gpu.bus_id} Off | {ecc:>20} |"
    yield (
        f"|{fan:>4} {temperature:>5}    P0{power:>16} / {limit:>5} "
        f"|{gpu.used_mib:>8}MiB / {gpu.total_mib:>6}MiB |{used:>8}{'Default':>13} |"
    )
    yield f"|{'':41}|{'':24}|{mig:>21} |"
    yield RULE


def fan_pct(gpu: Gpu) -> int:
    """Speed of the fans of boards that have them: 30 % up to 50 C, rising to 100 % at the slowdown temperature."""
    return min(100, 30 + max(0, gpu.temperature_c - 50) * 70 // max(gpu.slowdown_c - 50, 1))


def _processes(gpus: Iterable[Gpu], pid_width: int) -> Iterable[str]:
    name_width = 48 - pid_width
    yield f"| {'Processes:':<88}|"
    yield f"|  GPU   GI   CI {'PID':>{pid_width}}   Type   {'Process name':<{name_width}}{'GPU Memory':>14} |"
    yield f"|        ID   ID {'':>{pid_width}}          {'':<{name_width}}{'Usage     ':>14} |"
    yield "|" + "=" * 89 + "|"
    running = [gpu for gpu in gpus if gpu.has_process]
    if not running:
        yield f"|{'  No running processes found':<89}|"
    for gpu in running:
        name = gpu.command
        if len(name) > name_width:
            name = "..." + name[3 - name_width :]
        memory = f"{gpu.process_mib}MiB"
        yield f"|{gpu.index:>5}   N/A  N/A{gpu.pid:>{pid_width}}      C   {name:<{name_width}}{memory:>14} |"
    yield WIDE_RULE


def listing(reading: Reading) -> str:
    """``-L``: a line for each GPU."""
    return "".join(f"GPU {gpu.index}: {gpu.name} (UUID: {gpu.uuid})\n" for gpu in reading.gpus)
