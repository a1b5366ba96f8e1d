"""The versioned tasks, one file for each stage of dvc.yaml: read the typed config, call genai_core, write the declared outputs."""
