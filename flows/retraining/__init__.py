"""The parts of a retraining, one file each; retrain.py combines them."""

from genai_core import GenaiError


class RetrainError(GenaiError):
    """A retraining cannot start or cannot finish. The message says why, what to do, and what is in production."""
