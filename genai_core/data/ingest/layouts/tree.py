"""The folders of a source, while their paths are taken apart."""

from dataclasses import dataclass, field

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.layouts.split_folders import Parts


@dataclass(frozen=True)
class Folder:
    """A folder with images, while its path is taken apart. left: its folders without meaning so far."""

    left: Parts
    split: Split | None = None
    split_name: str = ""
    apart: Parts = ()  # folders that only keep names apart

    @property
    def first(self) -> str:
        return self.left[0] if self.left else ""


@dataclass
class Tree:
    files: dict[Parts, list[str]]  # names of the images, by folder
    folders: dict[Parts, Folder]
    notes: list[str] = field(default_factory=list)
    class_notes: list[str] = field(default_factory=list)
    doubt: str = ""
    doubt_with_captions: str = ""  # a note instead of the doubt, where captions say that nobody needs classes

    def with_rest(self) -> dict[Parts, Folder]:
        """Return the folders that still have a part of their path; the others' images are beside them."""
        return {parts: folder for parts, folder in self.folders.items() if folder.left}
