"""A trained model made to fit other data, or prepared for a cheaper training."""
