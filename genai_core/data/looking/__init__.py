"""A first look at raw images: a small decoded sample, and what its pixels say."""
