"""A user's changes that a run overwrites: outputs that were changed by hand and are not in DVC's cache."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flows.graph import path_of
from flows.hashes import Contents
from genai_core.counted import counted

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.stage import Stage


def overwritten_outputs(stage: "Stage", there: Mapping[str, str | None], contents: Contents) -> Iterator[str]:
    """One line per output whose content exists nowhere else and that the stage replaces.

    there: path -> hash of the output's present content.
    """
    for out in stage.outs:
        path, md5 = path_of(out), there[path_of(out)]
        if md5 is None or md5 == out.hash_info.value or (out.use_cache and contents.in_cache(md5)):
            continue
        if not out.hash_info:
            yield f"{path} exists but is not in dvc.lock"
            continue
        files = counted_changes(out, contents) if md5.endswith(".dir") else []
        how = f" ({', '.join(files)})" if files else ""
        yield f"{path} was changed by hand{how}"


def counted_changes(out: "Output", contents: Contents) -> list[str]:
    """The changes in a recorded folder, such as "1 file added"."""
    counts = contents.changed_files(out)
    return [f"{counted(count, 'file')} {kind}" for kind, count in counts.items()]
