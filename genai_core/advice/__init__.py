"""Advice for a first run, pure: facts about data and machine in, settings with reasons out. Imports no torch."""
