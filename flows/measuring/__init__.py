"""Figures outside the pipeline's stages: of any images, of two models, of older versions of the data."""
