"""What the folders of a source mean: pure functions on the list of its image paths."""
