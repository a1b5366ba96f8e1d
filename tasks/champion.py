"""Copy production's model to models/champion, to fine-tune it: `python -m tasks.champion FOLDER`.

Not a stage of dvc.yaml: `genai retrain` runs it. FOLDER holds the model as promoted. The hash of its family's code is
computed again, because the fine-tuning depends on it and the code may have changed since.
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
            shutil.copytree(folder, new, dirs_exist_ok=True)  # follows links into the cache
        write_json(CHAMPION / CODE_FILE, family_code(family))


if __name__ == "__main__":
    main()
