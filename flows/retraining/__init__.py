"""The parts of a retraining, one file each; flows/retrain.py puts them together."""
