"""Prefect's server, workers and deployments, and the checks of `genai doctor`."""
