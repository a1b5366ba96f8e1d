"""Production's model as models/champion, for a fine-tuning that goes on from it: `python -m tasks.champion FOLDER`.

No stage of dvc.yaml: `genai retrain` runs it. FOLDER holds the model as it was promoted. The hash of its family's code
is written anew: it is what the fine-tuning depends on, and the code may have changed since.
"""

import argparse
import shutil
from pathlib import Path

from genai_core.models.artifact import read_config
from tasks.context import new_folder, write_json
from tasks.errors import one_line
from tasks.select import family_code
from tasks.selection import CODE_FILE

CHAMPION = Path("models/champion")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.champion", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with one_line("champion"):
        family = read_config(folder).config.family
        with new_folder(CHAMPION) as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)  # links to the cache are followed
        write_json(CHAMPION / CODE_FILE, family_code(family))


if __name__ == "__main__":
    main()
