"""The process that holds models for the server: its messages, its models, and one file per kind of operation."""
