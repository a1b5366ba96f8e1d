"""The images' shape, split and augmentation, from facts about the data."""

from collections.abc import Iterator

from genai_core.advice.facts import DataFacts, MachineFacts
from genai_core.advice.mirroring import mirroring
from genai_core.advice.networks import least_images, smallest_for, speed_of
from genai_core.advice.settings import Setting

SIDES = (16, 24, 32, 48, 64, 96, 128, 192, 256)
# Larger images need a GPU even for a rough picture.
LARGEST_NATIVE = 64
# An image may be enlarged by this factor, not more: it would only look blurred.
MOST_ENLARGED = 1.5
# Fewer images than this do not show enough variety for more than this side.
MOST_PER_COUNT = ((3_000, 64), (20_000, 128), (10**12, 256))
GREY_SHARE = 0.02  # up to this share of colour images, the rest being grey, the images are taken as grey
LEAST_TEST = 100
FEW_IMAGES = 2_000
ENOUGH_IMAGES = 10_000  # from here, copies would cost more time than they are worth
# Below this side, a person hardly recognises a photograph, however well it is learned; so up to it, fewer training
# images count as enough.
RECOGNISABLE_SIDE, ROUGH_SHARE = 32, 0.4


def possible_sides(data: DataFacts) -> tuple[int, ...]:
    """Return the sides that suit the images, smallest first: their own one if they are small and all alike."""
    shorter = min(data.height_px, data.width_px)
    square = data.height_px == data.width_px
    if data.same_size and square and 16 <= shorter <= LARGEST_NATIVE and shorter % 4 == 0:
        return (*(side for side in SIDES if 32 <= side < shorter), shorter)
    largest = min(shorter * MOST_ENLARGED, *(side for count, side in MOST_PER_COUNT if data.usable < count))
    return tuple(side for side in SIDES if side <= largest) or SIDES[:1]


def side_for(data: DataFacts, channels: int, seconds: float, machine: MachineFacts) -> int:
    """Return the largest side at which a diffusion model sees enough images in these seconds, else the smallest."""
    sides = possible_sides(data)
    enough = []
    for side in sides:
        network = smallest_for("diffusion", side)
        least = least_images(network, side) * (ROUGH_SHARE if side <= RECOGNISABLE_SIDE else 1.0)
        if speed_of(network, side, channels, machine).images_per_s * seconds >= least:
            enough.append(side)
    return max(enough, default=sides[0])


def channels_of(data: DataFacts) -> int:
    return 3 if data.colour_share > GREY_SHARE else 1


def held_out_share(data: DataFacts) -> float:
    """Return the share to hold out: a fifth, and more of few images, so that about LEAST_TEST are held out."""
    return round(min(0.4, max(0.2, LEAST_TEST / max(data.count, 1))), 2)


def data_settings(data: DataFacts, side: int, minutes: float) -> Iterator[Setting]:
    """Yield the settings of `data:`."""
    own = f"{data.width_px} x {data.height_px}" if data.same_size else f"about {data.width_px} x {data.height_px}"
    larger = max(possible_sides(data)) > side
    why = f"files are {own}; larger needs more than {minutes:g} minutes on this machine" if larger else f"files: {own}"
    yield Setting("data.image_size", side, why)
    colours = "the images are grey" if data.colour_share <= GREY_SHARE else f"{data.colour_share:.0%} have colours"
    yield Setting("data.channels", channels_of(data), colours)
    if data.transparent_share > 0.1:
        yield Setting("data.fit", "pad", "transparent images are objects: keep all of each")
        ground = "white" if data.background[0] else "black"
        yield Setting(
            "data.background",
            list(data.background),
            f"{ground} contrasts with the {data.transparent_share:.0%} transparent images",
        )
    else:
        square = "the files are square" if data.aspect_ratio == 1 else "fills the square; pad keeps everything"
        yield Setting("data.fit", "crop", square)
    share = held_out_share(data)
    train, test = data.split(share)
    given = " where the source has no split" if data.given else ""
    yield Setting("data.test_share", share, f"about {train:,} to train on, {test:,} to test with{given}")
    if data.sampled and data.unreadable / data.sampled > 0.04:
        found = data.unreadable / data.sampled
        share = min(0.9, round(2 * found + 0.05, 2))
        yield Setting("data.max_rejected_share", share, f"{found:.0%} of a sample cannot be used: look at them")
    elif not data.same_size:
        yield Setting("data.max_rejected_share", 0.1, "collections of photographs contain damaged files")
    if channels_of(data) == 3:
        yield Setting("data.near_duplicate_distance", 0.05, "for images in colour")


def augmentation(data: DataFacts) -> Iterator[Setting]:
    """Yield the settings of `augment:`."""
    mirrored, why = mirroring(data)
    train, _ = data.split(held_out_share(data))
    few = train < FEW_IMAGES
    steps = ["flip"] if mirrored and train < ENOUGH_IMAGES else ["move"] if few and not data.transparent_share else []
    uneven = bool(data.classes) and max(data.classes.values()) >= 3 * min(data.classes.values())
    expand = 2.0 if steps else 1.0
    yield Setting("augment.policy", steps or "none", why if steps or not mirrored else "enough images without copies")
    grown = "doubles the training images" if expand > 1 else "enough images, or none that could be changed"
    yield Setting("augment.expand", expand, grown)
    if not data.classes:
        return
    counts = f"{min(data.classes.values()):,} to {max(data.classes.values()):,} images per class"
    yield Setting("augment.balance_classes", uneven and expand > 1, counts)
