"""Executors: who runs a stage, and where. Everything else of a run is the same for all of them."""
