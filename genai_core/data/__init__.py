"""From a user's files to a dataset: archives, decoding, splits, shards, augmentation, batches."""
