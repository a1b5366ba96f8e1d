"""The diffusion family's network."""
