"""What the user says about a source. Whatever is not said, the reader decides, or asks for."""

from dataclasses import dataclass

from genai_core.config.source_layouts import SOURCE_LAYOUTS

BELOW_OTHERS = "below other folders"
_POOLS = "--no-split (pools all images)"


class AskError(ValueError):
    """A source that can mean several things. The message names the option that decides."""


@dataclass(frozen=True)
class Choices:
    """layout: one of SOURCE_LAYOUTS. label_columns: several are combined into one class name.

    split: True insists on the source's split, False ignores it, None keeps it if the source has one.
    every: take each such frame of videos, animations and DICOM files.
    needs_classes: the images will be beside others with classes, so that a single folder around all is one.
    Raises ValueError when the choices contradict each other.
    """

    layout: str | None = None
    label_columns: tuple[str, ...] = ()
    caption_column: str | None = None
    split: bool | None = None
    every: int | None = None
    needs_classes: bool = False

    @property
    def named(self) -> str:
        """The options that only a folder of image files knows, as the user gave them."""
        given = {"--layout": self.layout, "--label-column": self.label_columns, "--caption-column": self.caption_column}
        return ", ".join(option for option, value in given.items() if value)

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in SOURCE_LAYOUTS:
            raise ValueError(f"--layout {self.layout}: no such layout; known are {', '.join(SOURCE_LAYOUTS)}")
        if self.label_columns and self.layout not in (None, "table"):
            raise ValueError(f"--label-column needs a table; --layout {self.layout} takes no labels from one")
        if self.caption_column and self.layout in ("coco", "voc"):
            raise ValueError(f"--caption-column needs a table; --layout {self.layout} reads none")


def giving_up_split(split_from: str, labels_from: str) -> str:
    """Return the option that gives a split up, with what it does. split_from, labels_from: as in Understood.

    Folders train and test at the top become classes, unless labels are from elsewhere.
    """
    if (
        not split_from.startswith("the folders ")
        or BELOW_OTHERS in split_from
        or labels_from not in ("", "the folders")
    ):
        return _POOLS
    pooled = (
        "--layout leaf-folders --no-split pools all images, with the last folders as classes"
        if labels_from
        else "--layout flat --no-split pools all images"
    )
    return f"--no-split (takes these folders as classes; {pooled})"
