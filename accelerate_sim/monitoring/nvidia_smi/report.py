"""``-q`` and ``-q -x``: the tree of each GPU as text or as XML."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from accelerate_sim.monitoring.nvidia_smi.displays import DISPLAYS
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading
from accelerate_sim.monitoring.nvidia_smi.report_board import capabilities
from accelerate_sim.monitoring.nvidia_smi.report_entry import ReportEntry
from accelerate_sim.monitoring.nvidia_smi.report_tree import gpu_tree, heading

VALUE_COLUMN, WIDE_VALUE_COLUMN = 42, 55
"""Columns of values: in drivers before 580 and in lists of processes; in drivers from 580 on."""
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""Characters that are escaped in XML. The standard library's function is not used, as it imports an HTTP client."""


def text_log(reading: Reading, displays: Collection[str] = ()) -> str:
    """The text of ``-q``; with ``displays`` only these sections."""
    column = WIDE_VALUE_COLUMN if reading.board.driver.major >= 580 else VALUE_COLUMN
    wanted = {tag for display in displays for tag in DISPLAYS[display]}
    lines = ["", "==============NVSMI LOG==============", ""]
    lines += _text(heading(reading), 0, column)
    lines += ["", _line("Attached GPUs", str(reading.num_gpus), 0, column)]
    for gpu in reading.gpus:
        lines.append(f"GPU {gpu.bus_id}")
        lines += _text((entry for entry in gpu_tree(gpu) if not wanted or entry.tag in wanted), 1, column)
        if not wanted or "processes" in wanted:
            lines += _processes(gpu, column)
        if "supported_clocks" in wanted:
            lines += _supported_clocks(gpu, column)
        if not wanted:
            lines += _text(capabilities(gpu), 1, column)
        lines.append("")
    return "\n".join(lines) + "\n"


def _line(label: str, value: str, depth: int, column: int = VALUE_COLUMN) -> str:
    return f"{'    ' * depth + label:<{column}}: {value}"


def _text(entries: Iterable[ReportEntry], depth: int, column: int) -> Iterable[str]:
    for entry in entries:
        if not entry.label:
            continue
        if isinstance(entry.value, str):
            yield _line(entry.label, entry.value, depth, column)
        else:
            yield "    " * depth + entry.label
            yield from _text(entry.value, depth + 1, column)


def _processes(gpu: Gpu, column: int) -> Iterable[str]:
    if not gpu.has_process:
        yield _line("Processes", "None", 1, column)
        return
    yield "    Processes"
    yield _line("GPU instance ID", "N/A", 2)
    yield _line("Compute instance ID", "N/A", 2)
    yield _line("Process ID", str(gpu.pid), 2)
    yield _line("Type", "C", 3)
    yield _line("Name", gpu.command, 3)
    yield _line("Used GPU Memory", f"{gpu.process_mib} MiB", 3)


def _supported_clocks(gpu: Gpu, column: int) -> Iterable[str]:
    yield "    Supported Clocks"
    yield _line("Memory", f"{gpu.board.memory_clock_mhz} MHz", 2, column)
    yield _line("Graphics", f"{gpu.max_clock_mhz} MHz", 3, column)


def xml_log(reading: Reading) -> str:
    """The XML of ``-q -x``."""
    version = "13" if reading.board.driver.major >= 580 else "12"
    lines = [
        '<?xml version="1.0" ?>',
        f'<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v{version}.dtd">',
        "<nvidia_smi_log>",
        *_xml(heading(reading), 1),
        f"\t<attached_gpus>{reading.num_gpus}</attached_gpus>",
    ]
    for gpu in reading.gpus:
        lines += [f'\t<gpu id="{gpu.bus_id}">', *_xml(gpu_tree(gpu), 2), *_xml_processes(gpu)]
        lines += [*_xml(capabilities(gpu), 2), "\t</gpu>", ""]
    return "\n".join([*lines, "</nvidia_smi_log>"]) + "\n"


def _xml(entries: Iterable[ReportEntry], depth: int) -> Iterable[str]:
    indent = "\t" * depth
    for entry in entries:
        if not entry.tag:
            continue
        if entry.tag == "mig_devices":
            yield from (f"{indent}<mig_devices>", f"{indent}\tNone", f"{indent}</mig_devices>")
        elif isinstance(entry.value, str):
            yield f"{indent}<{entry.tag}>{(entry.xml or entry.value).translate(_ESCAPES)}</{entry.tag}>"
        else:
            yield f"{indent}<{entry.tag}>"
            yield from _xml(entry.value, depth + 1)
            yield f"{indent}</{entry.tag}>"


def _xml_processes(gpu: Gpu) -> Iterable[str]:
    memory, clock = f"{gpu.board.memory_clock_mhz} MHz", f"{gpu.max_clock_mhz} MHz"
    supported = ReportEntry(
        "",
        "supported_mem_clock",
        (ReportEntry("", "value", memory), ReportEntry("", "supported_graphics_clock", clock)),
    )
    process = (
        ReportEntry("", "gpu_instance_id", "N/A"),
        ReportEntry("", "compute_instance_id", "N/A"),
        ReportEntry("", "pid", str(gpu.pid)),
        ReportEntry("", "type", "C"),
        ReportEntry("", "process_name", gpu.command),
        ReportEntry("", "used_memory", f"{gpu.process_mib} MiB"),
    )
    yield from _xml(
        (
            ReportEntry("", "supported_clocks", (supported,)),
            ReportEntry("", "processes", (ReportEntry("", "process_info", process),) if gpu.has_process else ()),
            ReportEntry("", "accounted_processes", ()),
        ),
        2,
    )
