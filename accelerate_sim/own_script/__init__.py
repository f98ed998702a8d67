"""The parts of Accelerate that a script of the user's own calls: collectives, settings, wrapped objects, files."""
