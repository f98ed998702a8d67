"""The debug config without waiting, for scripts that name a config in their environment and have no ``--speed``."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.support.repository import ROOT


def fast_debug(directory: Path) -> Path:
    """A file in ``directory`` with the debug config's run, played as fast as the machine can."""
    config = yaml.safe_load((ROOT / "configs" / "debug.yaml").read_text())
    config["run"] |= {"speed": "max", "startup_speed": "max"}
    file = directory / "fast_debug.yaml"
    file.write_text(yaml.safe_dump(config))
    return file
