"""The dataset format that every later stage reads: writing, reading, comparing, describing it."""
