"""The data's versions: added, removed, compared, moved to a remote and back."""
