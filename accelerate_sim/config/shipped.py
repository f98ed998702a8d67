"""Finds the configs that come with the project, by name."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = "configs"
SUFFIX = ".yaml"


def shipped_configs() -> dict[str, Path]:
    """Paths of all shipped configs by name: those of this project, and those beside the script that runs."""
    beside_script = Path(sys.argv[0]).resolve().parent / FOLDER
    of_project = Path(__file__).resolve().parents[1] / FOLDER  # in a clone a link to configs/, in a wheel a copy
    folders = (of_project, beside_script)  # the later wins
    return dict(sorted((path.stem, path) for folder in folders for path in folder.glob(f"*{SUFFIX}")))


def find_config(given: str | Path) -> Path:
    """The file that ``--config`` means: the path if there is one, else the shipped config of that name.

    ``llama70b``, ``llama70b.yaml`` and ``configs/llama70b.yaml`` name the same config in any directory. Other text is
    returned as the path it would be, for the reader to refuse.
    """
    path = Path(given)
    try:
        if path.exists() and not path.is_dir():
            return path
    except (OSError, ValueError):  # no file can be called so
        return path
    folder, name = path.parent, path.name.removesuffix(SUFFIX)
    named = path.parts in ((path.name,), (FOLDER, path.name)) and not (folder != Path() and folder.is_dir())
    return shipped_configs().get(name, path) if named else path
