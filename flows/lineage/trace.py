"""Trace a generated image, a model or a dataset: what it was made from, and what was made from it."""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.dvc_lock import Item, lock_at
from flows.git import GitError, git
from flows.lineage.ancestry import History
from flows.lineage.image_file import ImageFile, LineageError, find_image_file
from flows.lineage.node import BATCH, Node, is_material, kind_of
from flows.lineage.output_folder import OutputFolder
from flows.lineage.production_batches import ProductionBatch, production_batch, production_batches
from flows.lineage.stage_run import StageRun
from flows.registry.production import BATCHES
from flows.registry.read import MODEL, STAGE, Registry
from flows.runs.record import RUNS, read_run

WEIGHTS = "model.safetensors"
_HEX = re.compile(r"[0-9a-f]{6,64}")


class Lineage:
    """Answers from git's history, DVC's cache and remote, and the registry."""

    def __init__(self, workspace: Path, history: History, registry: Registry) -> None:
        self._workspace, self.history, self._registry = workspace, history, registry
        self._descriptions: dict[str, str] = {}
        self._folder_found: OutputFolder | None = None

    def find(self, thing: str) -> Item | Node:
        """The object that `thing` names: an output, or a generated image with its batch as link.

        thing: a file, an archive member (images-00000.tar:000001.png), a folder, a version, `prod`, or the first digits
        of a hash (image, weights, dataset fingerprint, DVC). Raises LineageError if neither a commit nor the
        workspace's dvc.lock has it.
        """
        self._folder_found = None
        if image := find_image_file(thing):
            return self._image(image, thing)
        path = Path(thing)
        if path.is_dir():
            return self._folder(path)
        if thing == STAGE and (standing := self._registry.production()):
            thing = standing.version
        version = next((version for version in self._registry.versions if version.name == thing), None)
        if version:
            model = lock_at(self._workspace, version.commit).output(MODEL)
            if model:
                return model
        if not _HEX.fullmatch(thing):
            raise LineageError(
                f"{thing}: expected a file, a folder, a version (genai registry show) or 6 or more digits of a hash"
            )
        return self._by_hash(thing)

    def difference(self, found: Item | Node) -> str | None:
        """How the last folder passed to `find` differs from its identified version; None if it does not."""
        folder = self._folder_found
        return folder.difference(found, self.history.stores) if folder and isinstance(found, Item) else None

    def made_of(self, item: Item) -> Node:
        """The output with everything that it was made from."""
        return self._node(item, self._sources)

    def became(self, item: Item) -> Node:
        """The output with everything that was made from it, according to all commits."""
        return self._node(item, self._products, self._generated_batches)

    def parts(self, run: StageRun, item: Item) -> list[Item]:
        """The objects from which the run made `item`. For a copied model, only its original."""
        read = [dep for dep in run.stage.deps if is_material(dep.path)]
        outs = [self._whole(dep, maker) for dep in read for maker in self.history.makers(dep)]
        outs += [source for dep in read if (source := self.history.source_of(dep))]
        outs = [out for out in outs if self._is_what_was_read(out, read)]
        weights = self._weights(item)
        copied = [out for out in outs if weights and self._weights(out) == weights]
        return list(dict.fromkeys(copied[:1] or outs))

    def _is_what_was_read(self, out: Item, read: list[Item]) -> bool:
        """Whether all files below `out` that were read are those of this version: versions of a model share some."""
        below = {dep.path[len(out.path) + 1 :]: dep.md5 for dep in read if dep.path.startswith(f"{out.path}/")}
        files = self.history.stores.files(out.md5) if below else None
        return files is None or all(files.get(name) == md5 for name, md5 in below.items())

    def _sources(self, item: Item) -> list[Item]:
        makers = self.history.makers(item)
        return self.parts(makers[0], item) if makers else self._promoted_as(item)

    def _promoted_as(self, source: Item) -> list[Item]:
        """The candidate, else another model, with the weights of a data source such as models/base, a copy of it."""
        weights = self._weights(source)
        if not weights:
            return []
        same = [item for item, _ in self.history.outputs(MODEL) if self._weights(item) == weights]
        return same[-1:] or [item for item in self._models() if self._weights(item) == weights][:1]

    def _products(self, item: Item) -> list[Item]:
        outs = [(run, out) for run in self.history.runs for out in run.stage.outs if is_material(out.path)]
        found = [source for source in self.history.sources if item in self._promoted_as(source)]
        return list(dict.fromkeys([*found, *(out for run, out in outs if item in self.parts(run, out))]))

    def _node(
        self,
        item: Item,
        neighbours: Callable[[Item], list[Item]],
        ends: Callable[[Item], tuple[Node, ...]] = lambda _: (),
        above: tuple[Item, ...] = (),
    ) -> Node:
        # A base that was kept as the candidate is a copy of it, and the reverse.
        path = (*above, item)
        links = tuple(self._node(other, neighbours, ends, path) for other in neighbours(item) if other not in path)
        return Node(kind_of(item), item.path, self._facts(item), links + ends(item))

    def _generated_batches(self, item: Item) -> tuple[Node, ...]:
        """The batches that this version of the candidate generated in production."""
        if item.path != MODEL:
            return ()
        batches = [batch for batch in production_batches(self._workspace) if self._has_weights(item, batch.weights)]
        return tuple(Node("batch", self._named(batch.folder), batch.facts()) for batch in batches)

    def _has_weights(self, item: Item, weights: str) -> bool:
        config = self._json(item, "config.json")
        return config is not None and config["sha256"][WEIGHTS] == weights

    def _batch_node(self, batch: ProductionBatch) -> Node:
        """The batch with its model's lineage. Finds the model by its commit, else by its weights."""
        try:
            model = lock_at(self._workspace, batch.commit).output(MODEL) if batch.commit else None
        except GitError:
            model = None
        made_of = (self.made_of(model),) if model else self._model_of(batch.weights)
        return Node("batch", self._named(batch.folder), {**batch.facts(), "commit": batch.commit}, made_of)

    def _model_of(self, weights: str) -> tuple[Node, ...]:
        """The model with these weights and its lineage; nothing if no commit and no dvc.lock here has it."""
        found = next((item for item in self._models() if self._has_weights(item, weights)), None)
        return () if found is None else (self.made_of(found),)

    def _models(self) -> Iterator[Item]:
        """All versions of all models: candidates first, then those that they may be copies of, newest first."""
        yield from (item for item, _ in self.history.outputs(MODEL))
        outs = (out for run in reversed(self.history.runs) for out in run.stage.outs)
        yield from (out for out in outs if is_material(out.path) and kind_of(out) == "model" and out.path != MODEL)

    def _named(self, folder: Path) -> str:
        """The path relative to the workspace, or absolute if it is outside."""
        folder, root = folder.resolve(), self._workspace.resolve()
        return str(folder.relative_to(root)) if folder.is_relative_to(root) else str(folder)

    def _facts(self, item: Item) -> dict[str, Any]:
        facts: dict[str, Any] = {"md5": item.md5}
        runs = self.history.makers(item)
        commit = self.history.commit_of(runs[0]) if runs else self.history.sources.get(item)
        if kind_of(item) == "model" and (config := self._json(item, "config.json")):
            facts |= {"family": config["family"], "weights": config["sha256"][WEIGHTS], "trained_on": config["dataset"]}
            facts |= few_step_facts(config)
            facts |= {"versions": [v.name for v in self._registry.versions if v.facts and v.facts.model == item.md5]}
            facts |= {"in_production": self._times_in_production(facts["versions"])}
        elif kind_of(item) == "dataset" and (info := self._json(item, "dataset.json")):
            facts |= {"fingerprint": info["fingerprint"], "images": info["counts"]}
        elif kind_of(item) == "batch" and (batch := self._json(item, "provenance.json")):
            facts |= {"images": batch["images"], "model": batch["model"]["sha256"], "trained_on": batch["dataset"]}
        if runs:
            facts |= {"stage": runs[0].stage.name, "command": runs[0].stage.command, "parameters": runs[0].stage.params}
        if commit:
            facts |= {"commit": commit, "committed": self._described(commit)}
        if runs or item in self.history.sources:
            facts["recorded"] = self.history.is_committed(runs[0]) if runs else self.history.is_tracked(item)
        return facts

    def _times_in_production(self, versions: list[str]) -> list[list[str | None]]:
        """The intervals in production, as [begin, end]; end is None if it is there now."""
        standing = [(move.at, self._registry.production(move.at)) for move in self._registry.moves]
        ends = [at.isoformat() for at, _ in standing[1:]] + [None]
        return [
            [at.isoformat(), end]
            for (at, move), end in zip(standing, ends, strict=False)
            if move and move.version in versions
        ]

    def _image(self, image: ImageFile, name: str) -> Node:
        found = self._row(lambda rows: rows["sha256"] == image.sha256, image.batch)
        if found is not None:
            return self._image_node(*found, name)
        if image.provenance is not None:
            facts = {"sha256": image.sha256, "says": image.provenance}
            return Node("image", name, facts, self._model_of(image.provenance["model_sha256"]))
        searched = len(self._batches()) + len(production_batches(self._workspace))
        raise LineageError(
            f"{name}: none of the {searched} batches in git's history, dvc.lock and {BATCHES} has an image with sha256 "
            f"{image.sha256}. The image was changed or made elsewhere, or its batch is neither in DVC's cache nor at "
            "the remote; if it is on another machine, run `genai data push` there"
        )

    def _row(
        self, wanted: Callable[[Any], Any], first: ProductionBatch | None = None
    ) -> "tuple[Item | ProductionBatch, Any] | None":
        """The first batch with a matching image, and its row. `first`: the batch to search first."""
        batches: list[Item | ProductionBatch] = [first] if first else []
        batches += [item for item, _ in self._batches()]
        batches += production_batches(self._workspace)
        for batch in batches:
            rows = batch.images() if isinstance(batch, ProductionBatch) else self._manifest(batch)
            found = None if rows is None else rows[wanted(rows)]
            if found is not None and len(found):
                return batch, found.iloc[0]
        return None

    def _image_node(self, batch: Item | ProductionBatch, row: Any, name: str) -> Node:
        place = f"{row['archive']}:{row['file']}" if row["archive"] else row["file"]
        facts = {"sha256": row["sha256"], "file": place, "seed": int(row["seed"]), "class": row["class_name"] or None}
        made_of = self._batch_node(batch) if isinstance(batch, ProductionBatch) else self.made_of(batch)
        return Node("image", name, facts, (made_of,))

    def _by_hash(self, digits: str) -> Item | Node:
        for item in [out for run in reversed(self.history.runs) for out in run.stage.outs if is_material(out.path)]:
            facts = self._facts(item)
            if any(str(facts.get(key, "")).startswith(digits) for key in ("md5", "weights", "fingerprint")):
                return item
        for source in self.history.sources:
            if source.md5.startswith(digits):
                return source
        found = self._row(lambda rows: rows["sha256"].str.startswith(digits))
        if found is not None:
            return self._image_node(*found, str(found[1]["file"]))
        raise LineageError(
            f"{digits}: no image, model or dataset in git's history or dvc.lock has a hash with these first digits"
        )

    def _folder(self, path: Path) -> Item | Node:
        """The version of an output that a folder contains, by its identifying file."""
        if batch := production_batch(path):
            return self._batch_node(batch)
        self._folder_found = OutputFolder(path)
        versions = [out for run in reversed(self.history.runs) for out in run.stage.outs if is_material(out.path)]
        found = self._folder_found.version(versions, self.history.stores, self._named(path))
        if found is None:
            raise LineageError(f"{path}: not a model, dataset or batch from git's history or dvc.lock")
        return found

    def _batches(self) -> list[tuple[Item, StageRun]]:
        paths = {out.path for run in self.history.runs for out in run.stage.outs if out.path.startswith(BATCH)}
        return [found for path in sorted(paths) for found in self.history.outputs(path)]

    def _manifest(self, batch: Item) -> Any:
        import pandas as pd

        content = self.history.read(batch, "manifest.parquet")
        return None if content is None else pd.read_parquet(io.BytesIO(content))

    def _json(self, item: Item, name: str) -> Any:
        content = self.history.read(item, name)
        return None if content is None else json.loads(content)

    def _weights(self, item: Item) -> str | None:
        return (self.history.stores.files(item.md5) or {}).get(WEIGHTS) if item.path.startswith("models/") else None

    def _whole(self, item: Item, maker: StageRun) -> Item:
        """The output of `maker` that is `item`, contains it, or is inside it."""
        near = [out for out in maker.stage.outs if out.path == item.path or item.path.startswith(f"{out.path}/")]
        near += [out for out in maker.stage.outs if out.path.startswith(f"{item.path}/")]
        return near[0]

    def _described(self, commit: str) -> str:
        """Date and subject. For a snapshot, the run and its start, because git's date is its parent's."""
        if commit not in self._descriptions:
            if run := self.history.snapshot_of(commit):
                record = read_run(self._workspace / RUNS / run)
                text = f"on no branch: the snapshot of run {run}{f', started {record.began}' if record else ''}"
            else:
                text = git(self._workspace, "log", "-1", "--format=%cI %an: %s", commit).strip()
            self._descriptions[commit] = text
        return self._descriptions[commit]


def few_step_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights that a few-step model learned from and its most evaluations; nothing for any other model."""
    few_step = config.get("few_step")
    return {"teacher": few_step["teacher"], "evaluations": few_step["steps"]} if few_step else {}
