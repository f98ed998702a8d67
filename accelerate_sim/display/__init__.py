"""Turns records into text for a screen. Only ``screen`` writes to a terminal, and nothing here computes a figure."""
