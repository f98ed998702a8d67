"""The meaning of each collective on one array per rank, without processes or sockets."""
