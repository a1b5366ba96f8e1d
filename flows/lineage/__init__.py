"""What was made from what, across git's history, by content hash."""
