"""``main`` runs the script that is its first argument, as ``python SCRIPT`` would: for ``run_main`` (warm_train.py)."""

from __future__ import annotations

import os
import runpy
import sys


def main() -> int:
    """Run the script with the further arguments. Returns 0; a script that fails raises."""
    del sys.argv[0]
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0
