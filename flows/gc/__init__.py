"""Find, count and free what nothing on the disk needs any more."""
