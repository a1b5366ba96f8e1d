"""Runs of a snapshot: what is run where, what it made, and what of that reaches the workspace."""
