"""The page that plays ``train.py`` in a browser: its sources, the engine that runs in it, and the commands that build it."""
