"""NCCL's communicators as its log describes them: rings, trees, PCI addresses, and the lines themselves."""
