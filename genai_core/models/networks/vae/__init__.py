"""The VAE family's networks."""
