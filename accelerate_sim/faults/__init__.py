"""Faults that are played: the language, the kinds, and the schedule of what happens to a run and when.

Nothing here prints, waits or ends a process; ``accelerate_sim.session`` carries out a schedule. A run without
faults imports none of it.
"""
