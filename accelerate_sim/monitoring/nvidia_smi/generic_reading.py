"""Generic names in what ``fake-nvidia-smi`` prints of a job that was started with ``--brand generic``.

Values are generic in every output. The words of the tool itself are replaced only in outputs for people: programs find
fields of ``-q`` and CSV by them.
"""

from __future__ import annotations

from dataclasses import replace

from accelerate_sim.display.generic_names import GenericNames
from accelerate_sim.monitoring.nvidia_smi.reading import Reading

_RENAMED = GenericNames()


def with_generic_names(reading: Reading) -> Reading:
    """The reading with generic names of the GPUs, of their makers and of the programs on them."""
    gpus = (
        replace(
            gpu, name=_RENAMED(gpu.name), command=_RENAMED(gpu.command), brand=_RENAMED(gpu.brand),
            architecture="Generic",
        )
        for gpu in reading.gpus
    )  # fmt: skip
    return replace(reading, gpus=tuple(gpus), generic_names=True)


def renamed(text: str) -> str:
    """The text with generic names; the frame of a table stays where it is."""
    return "\n".join(map(_renamed_line, text.split("\n")))


def _renamed_line(line: str) -> str:
    new = _RENAMED(line)
    if line.startswith("|") and line.endswith("|"):
        return new[:-1].rstrip().ljust(len(line) - 1) + "|"
    return new
