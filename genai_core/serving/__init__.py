"""What the server and the process that holds its models have in common: the form of their messages."""
