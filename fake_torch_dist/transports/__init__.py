"""The ways to move data between ranks: in one process (``virtual``), between processes, or not at all (``dry_run``)."""
