"""Two toy models by the distances that stand in their weights; the interval is 0.05 to both sides."""

import json
import os
import sys
import time
from pathlib import Path

time.sleep(json.loads(os.environ.get("TOY", "{}")).get("compare_models", 0.0))
options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:] if "=" in word)


def figures(folder: str) -> dict[str, object]:
    _, distance, _ = json.loads((Path(folder) / "model.safetensors").read_text())
    return {
        "distance": distance,
        "scale": distance,
        "memorised_share": 0.0,
        "recall": 0.8,
        "class_coverage": {"cat": 0.9, "dog": 0.9},
    }


candidate = figures(sys.argv[1])
champion = figures(options["against"]) if "against" in options else None
difference = candidate["distance"] - champion["distance"] if champion else None
interval = {"value": difference, "low": difference - 0.05, "high": difference + 0.05} if champion else None
out = Path(options["out"])
out.mkdir(parents=True)
values = {
    "protocol": {"extractor": "classifier", "extractor_test_accuracy": 0.9},
    "a": {"weights_sha256": "1" * 64} if champion else None,
    "b": {"weights_sha256": "0" * 64},
    "differences": {"fd": interval} if interval else {},
    "gate": {
        "candidate": candidate,
        "champion": champion,
        "difference": interval,
        "same_protocol": True,
        "recall_of_real": 0.9,
        "classes": ["cat", "dog"],
    },
}
(out / "comparison.json").write_text(json.dumps(values))
