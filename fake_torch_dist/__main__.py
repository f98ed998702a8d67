"""``python -m fake_torch_dist``: which of torch.distributed's public names are here, and which are not."""

from __future__ import annotations

import textwrap

import fake_torch_dist as dist
from fake_torch_dist.torch_names import TORCH_NAMES, TORCH_VERSION

WIDTH = 118


def names_table() -> str:
    """Two paragraphs of names, and a count."""
    there = sorted((name for name in TORCH_NAMES if hasattr(dist, name)), key=str.lower)
    missing = sorted(TORCH_NAMES - set(there), key=str.lower)
    return "\n".join(
        (
            f"There ({len(there)} of torch {TORCH_VERSION}'s {len(TORCH_NAMES)} public names):",
            *textwrap.wrap(" ".join(there), WIDTH),
            "",
            f"Not there ({len(missing)}); each raises an AttributeError that says so:",
            *textwrap.wrap(" ".join(missing), WIDTH),
        )
    )


if __name__ == "__main__":
    print(names_table())
