"""Restore SIGINT's default action while modules are imported, as ``fake_torch_dist.deadly_ctrl_c`` does."""

from fake_torch_dist.deadly_ctrl_c import DeadlyCtrlC

__all__ = ["DeadlyCtrlC"]
