"""Figures that no stage of the pipeline writes: any images, two models, older versions of the data."""
