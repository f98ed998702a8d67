"""The command ``fake-train``, and ``python -m accelerate_sim``: the command line of train.py without a clone.

``accelerate_sim/train.py`` and ``accelerate_sim/configs`` are links to the files at the top of the repository; a wheel
holds copies of them.
"""

from __future__ import annotations

from accelerate_sim import launch


def main() -> None:
    """Run the training script that the package ships. Exits as ``python train.py`` does."""
    from accelerate_sim.train import main as train

    launch(train)


if __name__ == "__main__":
    main()
