"""Paths of the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
REFERENCE = ROOT / "tests" / "reference"
"""Measured runs that the simulation is compared with."""
