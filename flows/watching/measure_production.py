"""The flow `measure-production`: has production become worse, measured on the newest data? If so, emit an event."""

import math
from dataclasses import dataclass
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.registry.production import (
    DATASET,
    EXTRACTOR,
    Distance,
    count_tests,
    distance_of_tests,
    draw,
    lay_out_production,
    task_folder,
)
from flows.registry.read import MODEL
from flows.runs.checkout import data_worktree
from flows.runs.pipeline import NotCompleted, run_stages
from flows.watching.news import newest_data, production_data
from flows.watching.notify import Event, notify
from flows.watching.watch import PRODUCTION_WORSE, emit
from genai_core.config import PARAMS_FILE, load_config


@dataclass(frozen=True)
class Verdict:
    """Production's distance from the test images of its own data and from as many of the newest; is it worse?"""

    before: Distance
    now: Distance
    is_worse: bool
    reason: str


@flow(name="measure-production", flow_run_name="evaluate production", persist_result=False)
def measure_production(workspace: str = ".") -> State[None]:
    """Measure production's images against the newest test images, and against those that it was promoted with.

    Images, extractor and number of test images are the same, so only the data differ. If the distance grew by more than
    watch.max_worse_share, emit the event genai.production.worse, which starts the deployment `retrain`. Raises
    ProductionError.

    Args:
        workspace: The checkout, relative to where the worker runs.
    """
    root, logger = Path(workspace).resolve(), get_run_logger()
    config = load_config(root / PARAMS_FILE)
    production = lay_out_production(root, (MODEL, EXTRACTOR, DATASET))
    newest, (_, old) = newest_data(root), production_data(root)
    if newest.raw is None or newest.raw == old:
        return Completed(name="Nothing new", message=f"{production.version} was promoted with the newest test images")
    try:
        with data_worktree(root, newest.commit, newest.commit, f"evaluate/{newest.raw[:10]}") as tree:
            run_stages(tree, ["prepare"])
            with task_folder(tree, production.folder) as folder:
                images, seed = config.evaluation.total_images, config.evaluation.seed
                tests = [production.folder / DATASET, tree / DATASET]
                drawn = draw(tree, folder, "batch", images, seed, logger.info, like=tests[0]) / "images"
                count = min(count_tests(dataset) for dataset in tests)
                before, now = (distance_of_tests(tree, folder, drawn, dataset, count, logger.info) for dataset in tests)
    except NotCompleted as end:
        if end.state.is_cancelled():
            return Cancelled(message="stopped on request")
        return Failed(message=f"the newest data could not be prepared: {end.state.message}")
    found = judge(before, now, config.watch.max_worse_share)
    create_table_artifact(
        [
            {"test images": f"{count:,} {name}", **vars(figure)}
            for name, figure in (("of its promotion", before), ("newest", now))
        ],
        key="production",
        description=f"{production.version}: {found.reason}",
    )
    if found.is_worse:
        payload = {"workspace": str(root), "old_version": old, "new_version": newest.raw, "reason": found.reason}
        emit(PRODUCTION_WORSE, root, {**payload, "production": production.version, "commit": newest.commit})
        for failure in notify(
            Event("worse", f"{production.version} is worse on the newest data", found.reason), config.notify
        ):
            logger.warning("notification failed: %s", failure)
    return Completed(name="Worse" if found.is_worse else "Completed", message=f"{production.version}: {found.reason}")


def judge(before: Distance, now: Distance, max_worse_share: float) -> Verdict:
    """Worse: the distance grew by more than the share, and by more than the noise of sampling the test images.

    Each interval covers that noise only. The sets count as independent, although a dataset that grew keeps its old
    images, so the noise is overestimated rather than underestimated.
    """
    limit = before.value * (1.0 + max_worse_share)
    noise = math.hypot(now.value - now.low, before.high - before.value)
    is_worse = now.value > limit and now.value - before.value > noise
    newest = f"{now.metric} {now.value:.4g} [{now.low:.4g}, {now.high:.4g}] to the newest test images"
    own = f"{before.value:.4g} [{before.low:.4g}, {before.high:.4g}] to as many test images of its promotion"
    within = " (within noise)" if now.value > limit and not is_worse else ""
    return Verdict(before, now, is_worse, f"{newest}, {own}; the limit is {limit:.4g}{within}")
