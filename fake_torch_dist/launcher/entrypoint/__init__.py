"""Checks of the script, module or program that the ranks run, before any rank starts."""
