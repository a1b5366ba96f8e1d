"""Contents of data/raw/NAME, as files or packs. The standard library reads the packs, not the project's reader."""

import tarfile
from pathlib import Path


def files_in(folder: Path) -> dict[str, bytes]:
    """CLASS/file -> its bytes, sorted; without source.json."""
    found: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        if path.suffix == ".tar":
            with tarfile.open(path, "r:") as pack:
                for member in pack:
                    file = pack.extractfile(member)
                    assert file is not None, f"{path}: {member.name} is not a file"
                    assert member.name not in found, f"{member.name} is there twice"
                    found[member.name] = file.read()
        elif path.is_file() and path.name != "source.json":
            found[str(path.relative_to(folder))] = path.read_bytes()
    return dict(sorted(found.items()))
