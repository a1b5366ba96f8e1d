"""What is on the disk and needed by nothing any more: found, counted and freed."""
