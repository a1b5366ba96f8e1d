"""Building blocks of the families' networks: shared parts here, a family's own in the folder with its name.

A stage of dvc.yaml depends on the shared parts and its own family's, so changing one family retrains no other.
"""
