"""One training loop for all families: batches, phases, moving average, checkpoints, loss watching."""
