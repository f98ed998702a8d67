"""The texts that real software prints when something breaks, one module for each program that prints them.

Every function is pure: plain parameters go in, timed lines or texts come out. Nothing here knows of sessions, schedules
or files. Values that differ from run to run (addresses, registers, pids of others) come from a ``Draw``.

- The kernel: ``xid`` (GPUs), ``kernel`` (memory, links, disks, CPUs); ``daemons`` for links and NVSwitches.
- torch: ``cuda`` (CUDA errors, out of memory), ``watchdog`` and ``heartbeat`` (a collective that does not end),
  ``cuda_watchdog`` (a CUDA error that the watchdog meets first), ``store``, ``data_loader``.
- NCCL, and what torch makes of its errors: ``nccl``.
- ``slurm`` and ``kubernetes`` for jobs that are ended, ``signals`` for processes, ``storage`` for files,
  ``numbers`` for figures that are not finite.
"""
