"""The files that stand beside wandb's records in a run's folder ``files``: config, metadata, requirements and summary.

What is not there: ``output.log``, which is the console's, and facts of the machine that this program runs on.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from accelerate_sim import catalog
from accelerate_sim.artifacts.atomic import write_file
from accelerate_sim.tracking.tracker import RunStart
from accelerate_sim.version import __version__


def write_first_files(folder: Path, start: RunStart) -> None:
    """Write the files that wandb has from the beginning of a run. Raises OSError."""
    import yaml

    config = {key: {"value": value} for key, value in {**start.config, "simulated": True}.items()}
    write_file(folder / "config.yaml", yaml.safe_dump(config).encode())
    write_file(folder / "requirements.txt", f"fake-torchrun=={__version__}\n".encode())
    write_file(folder / "wandb-metadata.json", _json(_metadata(start)))


def write_summary(folder: Path, figures: Mapping[str, float]) -> None:
    """Write the latest figures, as wandb does at the end of a run. Raises OSError."""
    write_file(folder / "wandb-summary.json", _json({**figures, "_wandb": {"runtime": int(figures["_runtime"])}}))


def _metadata(start: RunStart) -> dict[str, Any]:
    """The machine of rank 0, as the run's config has it."""
    facts: dict[str, Any] = {
        "simulated": True,
        "startedAt": start.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "program": "train.py",
        "codePath": "train.py",
        "python": f"CPython {platform.python_version()}",
    }
    cluster = start.config.get("cluster")
    if cluster is None:
        return facts
    gpu = catalog.with_driver(catalog.gpu(cluster["gpu"]), cluster["driver"])
    facts |= {"host": f"{cluster['host']}0", "gpu": gpu.product, "gpu_count": cluster["gpus_per_node"]}
    if gpu.board:
        one = {"name": gpu.product, "memoryTotal": str(gpu.memory_bytes), "architecture": gpu.board.architecture}
        facts |= {"gpu_nvidia": [one] * cluster["gpus_per_node"], "cudaVersion": gpu.board.driver.cuda}
    return facts


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"
