"""The command ``fake-nvidia-smi``, and ``python -m accelerate_sim.monitoring.nvidia_smi``.

What an output alone needs is imported where it is chosen, so that a look costs no more than it shows.
"""

from __future__ import annotations

from fake_torch_dist.default_sigint import DefaultSigint

with DefaultSigint(for_good=__name__ == "__main__"):  # no Ctrl-C comes between this block and ``main``
    import os
    import signal
    import sys
    import time
    from collections.abc import Callable, Sequence
    from contextlib import suppress
    from dataclasses import replace
    from io import TextIOWrapper

    from accelerate_sim.display.slow_reader import OutputFull, lost_output
    from accelerate_sim.monitoring.nvidia_smi.boards import HOPPER_DRIVER, Driver
    from accelerate_sim.monitoring.nvidia_smi.node import LibraryMismatch, Node, NoJob
    from accelerate_sim.monitoring.nvidia_smi.options import Arguments, InvalidArguments, parse
    from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading
    from accelerate_sim.process.runtime_directory import UnsafeDirectory

NO_FILE, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND, NO_DRIVER, GPU_IS_LOST, OTHER_LIBRARY = 1, 2, 3, 6, 9, 15, 18
"""The exit codes of nvidia-smi."""
FAILED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: {}\n"
NO_DEVICES = "No devices were found\n"

SUBCOMMANDS = ("dmon", "pmon", "topo", "nvlink")
NOT_SIMULATED = (
    "daemon", "replay", "drain", "c2c", "clocks", "encodersessions", "fbcsessions", "vgpu", "mig", "compute-policy",
    "boost-slider", "power-hint", "base-clocks", "conf-compute", "gpm", "pci", "power-smoothing", "power-profiles",
    "rusd", "prm", "soc",
)  # fmt: skip
"""Sub-commands of nvidia-smi that there are not here."""

Write = Callable[[str], None]
Display = Callable[[Reading, bool], str]
"""A function from a reading and a flag for the first one to the text."""


def main() -> int:
    """Run the command line. Returns the exit code."""
    for name in ("SIGINT", "SIGPIPE"):  # as in a C program, Ctrl-C or a closed pipe ends it silently
        with suppress(AttributeError, ValueError):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        return run(sys.argv[1:], write=_write)
    except OutputFull as error:
        print(f"fake-nvidia-smi: {error}", file=sys.stderr)
        os._exit(1)  # Python's own end would try to write again


def _write(text: str) -> None:
    """Print text; nothing happens if standard output is closed. Raises OutputFull on a full disk."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        raise lost_output(error) or error from error


def run(words: Sequence[str], write: Write, sleep: Callable[[float], None] = time.sleep) -> int:
    """Print the output that ``words`` ask for, repeatedly with ``--loop``. Returns the exit code."""
    if words and words[0] in NOT_SIMULATED:
        print(f"fake-nvidia-smi: '{words[0]}' is not simulated. fake-nvidia-smi -h shows what is.", file=sys.stderr)
        return NOT_SUPPORTED
    try:
        if words and words[0] in SUBCOMMANDS:
            from accelerate_sim.monitoring.nvidia_smi.subcommands import parse_subcommand

            subcommand = parse_subcommand(words[0], words[1:])
            if subcommand.arguments.help:
                return _help(subcommand.name, write)
            return _show(subcommand.arguments, subcommand.display, write, sleep, subcommand.count)
        arguments = parse(words)
    except InvalidArguments as error:
        write(str(error))
        return INVALID_ARGUMENT
    if arguments.help:
        return _help("", write)
    if arguments.version or arguments.help_query:
        write(_about(arguments))
        return 0
    return _show(arguments, lambda: _display(arguments), write, sleep)


def _help(subcommand: str, write: Write) -> int:
    from accelerate_sim.monitoring.nvidia_smi.help_texts import OF_SUBCOMMANDS, help_text

    write(OF_SUBCOMMANDS[subcommand] if subcommand else help_text())
    return 0


def _show(
    arguments: Arguments,
    chosen: Callable[[], Display],
    write: Write,
    sleep: Callable[[float], None],
    count: int | None = None,
) -> int:
    """Print a reading, or ``count`` of them, or one at every interval. Returns the exit code."""
    if arguments.filename is None:
        return _looks(arguments, chosen(), write, sleep, count)
    try:
        file = open(arguments.filename, "w", encoding="utf-8")  # noqa: SIM115 - only errors of opening are its own
    except OSError as error:
        print(f"fake-nvidia-smi: --filename: {arguments.filename} can't be written: {error.strerror}", file=sys.stderr)
        return NO_FILE
    with file:
        return _looks(arguments, chosen(), lambda text: _append(file, text), sleep, count)


def _append(file: TextIOWrapper, text: str) -> None:
    file.write(text)
    file.flush()


def _looks(arguments: Arguments, show: Display, write: Write, sleep: Callable[[float], None], count: int | None) -> int:
    node, seen = Node(arguments.node, arguments.job), 0
    while True:
        try:
            reading = _chosen(node.read(), arguments.ids)
            if not reading.gpus:
                write(NO_DEVICES)
                return NOT_FOUND
            if lost := [gpu for gpu in reading.gpus if gpu.health.lost]:
                write(_lost(lost[0]))
                return GPU_IS_LOST
            text = show(reading, seen == 0)
            write(_generic(text) if reading.generic_names and not arguments.is_for_programs else text)
        except InvalidArguments as error:  # a field that this driver does not have
            write(str(error))
            return INVALID_ARGUMENT
        except LibraryMismatch as error:
            write(MISMATCH.format(error.hint.rpartition(".")[0]))
            return OTHER_LIBRARY
        except (NoJob, UnsafeDirectory) as error:
            write(FAILED)
            print(f"fake-nvidia-smi: {error}", file=sys.stderr)
            return NO_DRIVER
        seen += 1
        if arguments.loop_s is None or seen == count:
            return 0
        sleep(arguments.loop_s)


def _generic(text: str) -> str:
    from accelerate_sim.monitoring.nvidia_smi.generic_reading import renamed

    return renamed(text)


def _lost(gpu: Gpu) -> str:
    """The whole output when a GPU that is asked for does not answer."""
    number = f"{gpu.index}:" if gpu.branch > 550 else ""
    return f"Unable to determine the device handle for GPU{number} {gpu.bus_id[4:]}: Unknown Error\n"


def _display(arguments: Arguments) -> Display:
    """The function that makes the text that is asked for."""
    if arguments.table:
        return _query(arguments)
    if arguments.xml or arguments.query:
        from accelerate_sim.monitoring.nvidia_smi.report import text_log, xml_log

        if arguments.xml:
            return lambda reading, first: xml_log(reading)
        return lambda reading, first: text_log(reading, arguments.displays)
    from accelerate_sim.monitoring.nvidia_smi.overview import listing, table

    show = listing if arguments.list_gpus else table
    return lambda reading, first: show(reading)


def _query(arguments: Arguments) -> Display:
    from accelerate_sim.monitoring.nvidia_smi.query import Query

    def show(reading: Reading, first: bool) -> str:
        query = Query.of(arguments.table or "", arguments.fields, reading.board.driver.major)
        return query.header() * (first and arguments.csv.header) + query.rows(reading, arguments.csv)

    return show


def _about(arguments: Arguments) -> str:
    driver = _driver(arguments)
    if arguments.help_query:
        from accelerate_sim.monitoring.nvidia_smi.query_help import query_help

        return query_help(arguments.help_query, driver.major)
    nvml = ".".join(driver.version.split(".")[:2])
    text = f"NVIDIA-SMI version  : {driver.version}\nNVML version        : {nvml}\n"
    if driver.major < 610:
        return text + f"DRIVER version      : {driver.version}\nCUDA Version        : {driver.cuda}\n"
    return (
        text + 'DRIVER version      : Deprecated, see "KMD version" instead\n'
        'CUDA version        : Deprecated, see "CUDA UMD version" instead\n'
        f"KMD version         : {driver.version}\nCUDA UMD version    : {driver.cuda}\n"
    )


def _driver(arguments: Arguments) -> Driver:
    """The driver of the job; without one, that of most boards."""
    try:
        return Node(arguments.node, arguments.job).read().board.driver
    except (NoJob, UnsafeDirectory):
        return HOPPER_DRIVER


def _chosen(reading: Reading, ids: tuple[str, ...] | None) -> Reading:
    """The reading with only the GPUs of these indices, bus ids or UUIDs."""
    if ids is None:
        return reading
    wanted = {each.lower() for each in ids}
    chosen = (
        gpu for gpu in reading.gpus if wanted & {str(gpu.index), gpu.serial, gpu.bus_id.lower(), gpu.uuid.lower()}
    )
    return replace(reading, gpus=tuple(chosen))


if __name__ == "__main__":
    sys.exit(main())
