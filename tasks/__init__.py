"""The versioned tasks, one file a stage of dvc.yaml: read the config, call genai_core, write the declared outputs."""
