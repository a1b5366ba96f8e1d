"""What a user may bring: a reader for each kind of source, and which one a source needs."""
