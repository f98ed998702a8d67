"""Fields that ``--query-gpu`` and its siblings print, with units, aliases, drivers and descriptions."""
