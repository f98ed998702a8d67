"""The texts that real software prints when something breaks, one module for each program that prints them.

Every function is pure: plain parameters go in, timed lines or texts come out. Nothing here knows of sessions, schedules
or files. Values that differ from run to run (addresses, registers, pids of others) come from a ``Draw``.
"""
