"""The base of the errors that a user can act on."""


class GenaiError(Exception):
    """Its message is one line: what is wrong, where, and what to do. Commands print it without a traceback."""
