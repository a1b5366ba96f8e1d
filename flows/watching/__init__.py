"""What may start a retraining, and who is told of it."""
