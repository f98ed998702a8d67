"""The functions and classes of ``torch.distributed``."""
