"""What lies in data/raw: which files are images, of which class, and the packs that hold them."""
