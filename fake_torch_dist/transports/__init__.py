"""How shards get from rank to rank, one module per way; the protocol is ``process_group.Transport``."""
