"""Trackers: each module keeps records in one form, for other programs to read, and is imported when it is asked for.

To add a tracker, write its module here and add a line to ``TRACKERS`` in ``accelerate_sim.config.voice_table``.
"""
