"""Hazards of logs on demand: what rank processes, terminals and collectors do to lines, with the truth beside them.

``accelerate_sim.config.hazards`` names them, ``outlet`` is the one place where lines pass them, and each further
module is a family of hazards. Each decision is a pure function of the seed, the rank of the process and the number of
the line.
"""
