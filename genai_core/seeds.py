"""The range of seeds. Without torch, for whoever checks a seed before anything is drawn."""

# Torch's CPU generator uses the lowest 32 bits of a seed: beyond them, two seeds would give the same image.
LARGEST_SEED = 2**32 - 1
