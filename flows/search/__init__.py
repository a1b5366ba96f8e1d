"""Search for better settings: trials of `search.space`, each a run on a snapshot with other values in params.yaml."""

from genai_core import GenaiError


class SearchError(GenaiError):
    """A search cannot start or continue; the message says why and what to do."""
