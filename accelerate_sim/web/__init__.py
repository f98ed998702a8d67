"""The page that plays ``train.py`` in a browser: its sources, its engine, and the commands that build it."""
