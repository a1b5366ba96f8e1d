"""New training images made from existing ones."""
