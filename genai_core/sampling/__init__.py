"""Images from models: one seed an image, batches on disk, provenance."""
