"""Ctrl-C ends the process at once while modules are imported, as in ``fake_torch_dist.deadly_ctrl_c``."""

from fake_torch_dist.deadly_ctrl_c import DeadlyCtrlC

__all__ = ["DeadlyCtrlC"]
