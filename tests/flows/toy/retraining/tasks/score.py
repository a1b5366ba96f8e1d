"""How far a data set lies from what a toy model draws: the share of bad images, which it has not learned to draw."""

import json
import sys
from pathlib import Path

options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:])
images = json.loads((Path(sys.argv[1]) / "images.json").read_text())
learned = json.loads((Path(options["against"]) / "model.safetensors").read_text())[1]
distance = 2.0 - learned + 3 * sum(text.startswith("bad") for text in images.values()) / len(images)
interval = {"low": distance - 0.05, "high": distance + 0.05}
Path(options["out"]).write_text(json.dumps({"fd_toy": distance, "interval": {"fd_toy": interval}}))
