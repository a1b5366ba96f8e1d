"""Taking a user's images into data/raw: `add.py` is the way in, every other file reads one kind of source."""
