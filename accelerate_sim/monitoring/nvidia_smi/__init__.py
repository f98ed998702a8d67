"""``fake-nvidia-smi``: NVIDIA's tool for the GPUs of a running job, which published itself with ``--publish``.

What it does not do: change anything, ``dmon``, ``pmon``, ``topo``, ``nvlink`` and the other sub-commands, MIG devices.
"""
