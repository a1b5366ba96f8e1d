"""Model families, one file each behind a small common protocol, and their file format."""
