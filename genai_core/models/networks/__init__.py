"""What the families' networks are built of: shared parts here, a family's own in the folder of its name.

A stage of dvc.yaml depends on the shared parts and its own family's, so a change to one family trains no other again.
"""
