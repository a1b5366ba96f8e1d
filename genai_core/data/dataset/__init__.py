"""A dataset, the form that every later stage reads: written, read, compared, described."""
