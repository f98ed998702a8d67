"""Wording of log lines: each module is one voice, with one table ``LINES`` from kinds of record to their lines.

To add a voice, write its module here and add a line to ``VOICES`` in ``accelerate_sim.config.voice_table``.
"""
