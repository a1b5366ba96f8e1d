"""Prefect's server, its workers and deployments, and what keeps them from working."""
