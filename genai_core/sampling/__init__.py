"""Images from models: one seed per image, batches on disk, provenance."""
