"""The learning rate over a run."""


def learning_rate_share(images_seen: int, *, total_images: int, warmup_images: int, decay_share: float) -> float:
    """The learning rate as a share of its full value: a linear rise, a plateau, a linear fall towards 0 at the end.

    images_seen: including the batch at hand, so that the first batch has a rate above 0 and the last one too.
    decay_share: the share of the run, at its end, over which the rate falls; 0 for none.
    """
    rise = images_seen / warmup_images if warmup_images else 1.0
    decay_images = decay_share * total_images
    left = total_images - images_seen + 1
    fall = left / decay_images if decay_images else 1.0
    return max(0.0, min(1.0, rise, fall))
