"""Features of images and the figures made from them."""
