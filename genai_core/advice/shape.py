"""The images' shape, split and augmentation, from facts about the data."""

from collections.abc import Iterator

from genai_core.advice.facts import DataFacts, MachineFacts
from genai_core.advice.mirroring import mirroring
from genai_core.advice.networks import least_images, mean_side, smallest_for, speed_of
from genai_core.advice.settings import Setting
from genai_core.image_size import MULTIPLE, SHORTEST, ImageSize, is_allowed

SIDES = (16, 24, 32, 48, 64, 96, 128, 192, 256)
# Larger images need a GPU even for a rough picture.
LARGEST_NATIVE = 64
# An image may be enlarged by this factor, to reach a usual size; more would only cost time.
MOST_ENLARGED = 1.15
# From this many images, they show enough variety for this side, not for a larger one.
MOST_PER_COUNT = ((0, 64), (3_000, 128), (20_000, 256))
# Images of another aspect ratio than the commonest are cropped, so that one should be that of most.
COMMON_SHARE = 0.6
GREY_SHARE = 0.02  # up to this share of colour images, the rest being grey, the images are taken as grey
LEAST_TEST = 100
FEW_IMAGES = 2_000
ENOUGH_IMAGES = 10_000  # from here, copies would cost more time than they are worth
# Below this side, a person hardly recognises a photograph, however well it is learned; so up to it, fewer training
# images count as enough.
RECOGNISABLE_SIDE, ROUGH_SHARE = 33, 0.75


def possible_sizes(data: DataFacts) -> tuple[ImageSize, ...]:
    """Return the sizes that suit the images, smallest first: their own one if they are small and all alike.

    Others have the commonest aspect ratio if most images have it, and are squares otherwise.
    """
    own = data.file_size
    if data.same_size and SIDES[0] <= own.shorter and max(own) <= LARGEST_NATIVE and is_allowed(own):
        return (*(ImageSize.square(side) for side in SIDES if 32 <= side < own.shorter and own.is_square), own)
    ratio = data.aspect_ratio if data.aspect_share >= COMMON_SHARE and not data.transparent_share else 1.0
    limit = max(side for count, side in MOST_PER_COUNT if data.usable >= count)
    largest = min(mean_side(own) * MOST_ENLARGED, limit)
    sides = [side for side in SIDES if side <= largest] or SIDES[:1]
    return tuple(dict.fromkeys(_of_ratio(side, ratio) for side in sides))


def _of_ratio(side: int, ratio: float) -> ImageSize:
    """Return the allowed size of about side x side pixels with this width / height."""
    height, width = (max(SHORTEST, round(side * factor / MULTIPLE) * MULTIPLE) for factor in (ratio**-0.5, ratio**0.5))
    size = ImageSize(height, width)
    return size if is_allowed(size) else ImageSize.square(side)


def size_for(data: DataFacts, channels: int, seconds: float, machine: MachineFacts) -> ImageSize:
    """Return the largest size at which a diffusion model sees enough images in these seconds, else the smallest."""
    sizes = possible_sizes(data)
    enough = [sizes[0]]
    for size in sizes:
        network = smallest_for("diffusion", size)
        least = least_images(network, size) * (ROUGH_SHARE if mean_side(size) <= RECOGNISABLE_SIDE else 1.0)
        if speed_of(network, size, channels, machine).images_per_s * seconds >= least:
            enough.append(size)
    return enough[-1]


def channels_of(data: DataFacts) -> int:
    return 3 if data.colour_share > GREY_SHARE else 1


def held_out_share(data: DataFacts) -> float:
    """Return the share to hold out: a fifth, and more of few images, so that about LEAST_TEST are held out."""
    return round(min(0.4, max(0.2, LEAST_TEST / max(data.count, 1))), 2)


def data_settings(data: DataFacts, size: ImageSize, minutes: float) -> Iterator[Setting]:
    """Yield the settings of `data:`."""
    own = f"{data.file_size}" if data.same_size else f"about {data.file_size}"
    larger = possible_sizes(data)[-1].pixels > size.pixels
    why = f"files are {own}; larger needs more than {minutes:g} minutes on this machine" if larger else f"files: {own}"
    shape = "" if size.is_square else "most have this shape; "
    yield Setting("data.image_size", size.to_json(), shape + why)
    colours = "the images are grey" if data.colour_share <= GREY_SHARE else f"{data.colour_share:.0%} have colours"
    yield Setting("data.channels", channels_of(data), colours)
    if data.transparent_share > 0.1:
        yield Setting("data.fit", "pad", "transparent images are objects: keep all of each")
        white = bool(data.background[0])
        seen = "seen well on white" if white else "white would hide some of them"
        yield Setting("data.background", list(data.background), f"{data.transparent_share:.0%} are transparent; {seen}")
    else:
        fills = abs(size.width / size.height - data.width_px / data.height_px) < 0.1
        yield Setting("data.fit", "crop", "cuts off little" if fills else "fills the image; pad keeps all")
    share = held_out_share(data)
    train, test = data.split(share)
    given = " where the source has no split" if data.given else ""
    yield Setting("data.test_share", share, f"about {train:,} to train on, {test:,} to test with{given}")
    if (found := data.unreadable_share) > 0.04:
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
    grown = "doubles the training images" if expand > 1 else "no copies: nothing would change in them"
    yield Setting("augment.expand", expand, grown)
    if not data.classes:
        return
    counts = f"{min(data.classes.values()):,} to {max(data.classes.values()):,} images per class"
    yield Setting("augment.balance_classes", uneven and expand > 1, counts)
