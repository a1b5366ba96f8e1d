"""What is remembered between runs, outside of any version of the data."""
