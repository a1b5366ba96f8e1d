"""Garbage collection: find, count and delete files that nothing uses any more."""
