"""The parts of a retraining, one file each; flows/retraining/retrain.py puts them together."""
