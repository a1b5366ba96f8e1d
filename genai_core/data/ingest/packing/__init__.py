"""Images on their way into data/raw: written into packs, next to those that are there."""
