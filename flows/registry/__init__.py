"""Which model is in production, in git's tags: read, written, moved."""
