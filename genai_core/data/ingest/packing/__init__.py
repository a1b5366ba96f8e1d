"""Write new images into packs in data/raw, next to the existing ones."""
