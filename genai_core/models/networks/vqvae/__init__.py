"""The VQ-VAE family's networks."""
