"""The first run: look at the data and the machine, propose params.yaml, and say early what would fail."""
