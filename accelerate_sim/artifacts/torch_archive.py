"""Plain values in the archive that ``torch.save`` writes and ``torch.load`` reads, without torch.

The archive is a zip file with a pickle in it. What this does not do: tensors. Numbers, strings, lists and dicts are all
that is ever pickled, so ``weights_only=True`` reads it.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from accelerate_sim.artifacts.file_image import FileImage

EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
"""Date of every member, so that equal values give equal bytes whenever they are written."""


def torch_image(name: str, values: Mapping[str, Any]) -> FileImage:
    """The file that ``torch.save(values, name)`` would write, with ``simulated`` among the values."""
    folder = PurePath(name).stem
    entries = {
        "data.pkl": pickle.dumps({"simulated": True, **values}, protocol=2),
        "byteorder": b"little",
        "version": b"3\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for entry, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}/{entry}", EPOCH_OF_ZIP), data)
    return FileImage(name, buffer.getvalue())
