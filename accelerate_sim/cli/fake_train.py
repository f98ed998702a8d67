"""The command ``fake-train``: the command line of train.py, for those who have no clone.

``accelerate_sim/train.py`` and ``accelerate_sim/configs`` are links to the files at the top of the repository; a wheel
holds copies of them.
"""

from __future__ import annotations

from accelerate_sim import launch


def main() -> None:
    """Run the training script that the package ships. Exits as ``python train.py`` does."""
    from accelerate_sim.train import main as train

    launch(train)
