"""The command ``fake-nvidia-smi``, and ``python -m accelerate_sim.monitoring.nvidia_smi``."""

from __future__ import annotations

from fake_torch_dist.default_sigint import DefaultSigint

with DefaultSigint():
    import signal
    import sys
    import time
    from collections.abc import Callable, Sequence
    from contextlib import suppress
    from dataclasses import replace

    from accelerate_sim.monitoring.nvidia_smi.boards import HOPPER_DRIVER
    from accelerate_sim.monitoring.nvidia_smi.options import Arguments, InvalidArguments, help_text, parse
    from accelerate_sim.monitoring.nvidia_smi.overview import listing, table
    from accelerate_sim.monitoring.nvidia_smi.query import Query, UnknownField, field_names
    from accelerate_sim.monitoring.nvidia_smi.reading import Node, NoJob, Reading
    from accelerate_sim.monitoring.nvidia_smi.report import text_log, xml_log
    from accelerate_sim.process.runtime_directory import UnsafeDirectory

INVALID_ARGUMENT, NOT_FOUND, NO_DRIVER = 2, 6, 9
"""The exit codes of nvidia-smi."""
FAILED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)
NO_DEVICES = "No devices were found\n"


def main() -> int:
    """Run the command line. Returns the exit code."""
    for name in ("SIGINT", "SIGPIPE"):  # as in a C program, Ctrl-C or a closed pipe ends it silently
        with suppress(AttributeError, ValueError):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    return run(sys.argv[1:], write=_write)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def run(words: Sequence[str], write: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> int:
    """Print the output that ``words`` ask for, repeatedly with ``--loop``. Returns the exit code."""
    try:
        arguments = parse(words)
        show = _display(arguments)
    except (InvalidArguments, UnknownField) as error:
        write(f"{error}" if isinstance(error, InvalidArguments) else f"{error}\n")
        return INVALID_ARGUMENT
    if arguments.help or arguments.version or arguments.help_query:
        write(_about(arguments))
        return 0
    node = Node(arguments.node, arguments.job)
    first = True
    while True:
        try:
            reading = _chosen(node.read(), arguments.ids)
        except (NoJob, UnsafeDirectory) as error:
            write(FAILED)
            print(f"fake-nvidia-smi: {error}", file=sys.stderr)
            return NO_DRIVER
        if not reading.gpus:
            write(NO_DEVICES)
            return NOT_FOUND
        write(show(reading, first))
        if arguments.loop_s is None:
            return 0
        first = False
        sleep(arguments.loop_s)


def _display(arguments: Arguments) -> Callable[[Reading, bool], str]:
    """A function from a reading and a flag for the first one to the text. Raises UnknownField."""
    fields = arguments.gpu_fields or arguments.app_fields
    if fields is not None:
        query = Query.of_gpus(fields) if arguments.gpu_fields else Query.of_apps(fields)
        header = query.header() if arguments.csv.header else ""
        return lambda reading, first: header * first + query.rows(reading, arguments.csv)
    if arguments.list_gpus:
        return lambda reading, first: listing(reading)
    if arguments.xml:
        return lambda reading, first: xml_log(reading)
    if arguments.query:
        return lambda reading, first: text_log(reading, arguments.displays)
    return lambda reading, first: table(reading)


def _about(arguments: Arguments) -> str:
    if arguments.help:
        return help_text()
    if arguments.help_query:
        return 'List of valid properties to query for the switch "--query-gpu":\n\n' + "\n".join(field_names()) + "\n"
    driver = HOPPER_DRIVER
    return (
        f"NVIDIA-SMI version  : {driver.version} (simulated)\nDRIVER version      : {driver.version}\n"
        f"CUDA Version        : {driver.cuda}\n"
    )


def _chosen(reading: Reading, ids: tuple[str, ...] | None) -> Reading:
    """The reading with only the GPUs of these indices, bus ids or UUIDs."""
    if ids is None:
        return reading
    wanted = {each.lower() for each in ids}
    chosen = (gpu for gpu in reading.gpus if wanted & {str(gpu.index), gpu.bus_id.lower(), gpu.uuid.lower()})
    return replace(reading, gpus=tuple(chosen))


if __name__ == "__main__":
    sys.exit(main())
