"""The model registry in git tags: read it, write it, move production."""
