"""Processes of one node: the agent that starts and ends ranks, and the ranks themselves."""
