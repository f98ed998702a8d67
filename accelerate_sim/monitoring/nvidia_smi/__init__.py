"""``fake-nvidia-smi``: NVIDIA's tool for the GPUs of a job that runs with ``--publish``.

What it does not do: change settings, ``dmon``, ``pmon``, ``topo``, ``nvlink`` and other sub-commands, MIG devices.
"""
