"""When, where and in which order: the Prefect flows over DVC's graph, and the command line."""
