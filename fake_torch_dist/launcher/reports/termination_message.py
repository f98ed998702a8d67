"""The termination message of a pod: why the job has failed, where kubectl and operators look for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from fake_torch_dist.elastic_errors import write_atomically
from fake_torch_dist.launcher.environment_names import ERROR_FILE, TERMINATION_LOG

DEFAULT_PATH: Final = "/dev/termination-log"
"""Kubernetes's own path, unless a pod names another one."""
_MOST_BYTES: Final = 4096
"""Bytes that Kubernetes keeps of it."""


def write_termination_message(text: str, environment: Mapping[str, str]) -> None:
    """Write ``text``, without its middle if it is too long, if this process is in a pod.

    Kubernetes's own file is passed over if it is not there; one that the environment names is made. A path that cannot
    be written is passed over, and so is that of torch's error file.
    """
    path = environment.get(TERMINATION_LOG, "")
    if not path and environment.get("KUBERNETES_SERVICE_HOST") and os.path.isfile(DEFAULT_PATH):
        path = DEFAULT_PATH
    if not path or path == environment.get(ERROR_FILE) or os.path.isdir(path):
        return
    with suppress(OSError):
        write_atomically(path, _shortened(text))


def _shortened(text: str) -> str:
    data = text.encode(errors="replace")
    if len(data) > _MOST_BYTES:
        half = _MOST_BYTES // 2 - 8
        data = data[:half] + b"\n...\n" + data[-half:]
    return data.decode(errors="ignore")
