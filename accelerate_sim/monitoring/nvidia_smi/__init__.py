"""``fake-nvidia-smi``: NVIDIA's tool for the GPUs of a job that runs with ``--publish``, in the words of five drivers.

What it does not do: change settings, MIG devices, ``--dtd``, samples of ``-d POWER``, and the sub-commands other than
``dmon``, ``pmon``, ``topo -m`` and ``nvlink -s``.
"""
