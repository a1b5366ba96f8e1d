"""Contents of data/raw: which files are images, their classes, and the packs that hold them."""
