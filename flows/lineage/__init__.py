"""What was made of what, by the hashes of contents, over git's history."""
