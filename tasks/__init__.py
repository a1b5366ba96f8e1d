"""Versioned tasks, one file per stage of dvc.yaml: read the config, call genai_core, write the declared outputs."""
