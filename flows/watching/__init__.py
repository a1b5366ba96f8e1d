"""Events that can start a retraining, and notifications about them."""
