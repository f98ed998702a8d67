"""Rendezvous: the processes of a job find each other through a store."""
