"""The report of ``--plan``."""
