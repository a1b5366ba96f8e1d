"""The Prefect flows over DVC's graph, and the command line: when, where and in which order tasks run."""
