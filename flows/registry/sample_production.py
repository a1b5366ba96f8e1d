"""The flow `sample-production`: generate a batch of traceable images with the model in production."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.artifacts import publish_picture
from flows.registry.production import (
    BATCHES,
    Production,
    ProductionError,
    draw,
    lay_out_production,
    task_folder,
)
from flows.runs.code import snapshot_of_code
from flows.whole_file import write_json
from genai_core.config import PARAMS_FILE, load_config


@flow(name="sample-production", flow_run_name="generate from production", persist_result=False)
def sample_production(
    workspace: str = ".",
    total_images: Annotated[int | None, Field(ge=1)] = None,
    seed: Annotated[int | None, Field(ge=0)] = None,
) -> State[None]:
    """Generate images with production's model into samples/production/VERSION-SEED, with manifest and provenance.

    By default, the seeds continue after this version's last batch. Raises ProductionError.

    Args:
        workspace: The checkout, relative to where the worker runs.
        total_images: Number of images; by default generate.total_images of params.yaml.
        seed: Seed of the first image; by default, no seed is used twice.
    """
    root, logger = Path(workspace).resolve(), get_run_logger()
    config = load_config(root / PARAMS_FILE).generate
    production = lay_out_production(root)
    images = total_images or config.total_images
    with FileLock(production.folder / ".drawing"):  # otherwise, two concurrent runs would choose the same seeds
        first = seed if seed is not None else next_seed(root / BATCHES, production.version, config.seed)
        name = f"{production.version}-{first}"
        if (root / BATCHES / name).exists():
            check_count(root / BATCHES / name, images)
            return Completed(message=f"{BATCHES / name} already exists, and the same seed gives the same images")
        with snapshot_of_code(root) as code, task_folder(code.folder, production.folder) as folder:
            drawn = draw(code.folder, folder, "batch", images, first, logger.info)
            sign(drawn, production, code.commit)
            (root / BATCHES).mkdir(parents=True, exist_ok=True)
            os.rename(drawn, root / BATCHES / name)
    publish_picture(root / BATCHES / name / "grid.png", "production-batch", f"production {production.version}")
    return Completed(message=f"{images:,} images of {production.version} in {BATCHES / name}")


def next_seed(batches: Path, version: str, start: int) -> int:
    """The seed after a version's last image; `start` for its first batch."""
    ends = [start]
    for path in batches.glob(f"{version}-*/provenance.json"):
        values = json.loads(path.read_text())
        ends.append(values["seed"] + values["images"])
    return max(ends)


def check_count(batch: Path, images: int) -> None:
    """Raise ProductionError if an existing batch has another number of images than requested."""
    made = json.loads((batch / "provenance.json").read_text())["images"]
    if made != images:
        raise ProductionError(
            f"{batch} already exists with {made:,} images, and {images:,} were requested; choose another seed, or "
            "remove the folder"
        )


def sign(batch: Path, production: Production, code: str) -> None:
    """Add to provenance.json what the task does not know: the version, its commit, and the code's commit."""
    path = batch / "provenance.json"
    values = json.loads(path.read_text())
    made = datetime.now(UTC).isoformat(timespec="seconds")
    values["production"] = {"version": production.version, "commit": production.commit, "code": code, "made_at": made}
    write_json(path, values)
