"""Runs of a snapshot: where stages run, what they produce, and which results reach the workspace."""
