"""Caches kept between runs, outside any version of the data."""
