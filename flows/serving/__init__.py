"""The server: HTTP, tokens, the queue, and the processes that hold models. Imports no torch."""
