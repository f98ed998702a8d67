"""The sections of a config file, one class each. ``schema.py`` puts them together."""
