"""Files that a run writes, with real names, sizes and formats; their large parts are holes."""
