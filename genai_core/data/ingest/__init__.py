"""Import a user's images into data/raw: add.py is the entry point, each reader handles one kind of source."""
