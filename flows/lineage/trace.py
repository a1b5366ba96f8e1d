"""The way from a generated image, a model or a dataset to all that it was made of, and on to all that became of it."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.git import git
from flows.lineage.ancestry import History, Run
from flows.locked import Item, lock_at
from flows.registry.read import MODEL, STAGE, Registry

WEIGHTS, BATCH = "model.safetensors", "samples/"
# What a model or a batch consists of. What it was judged by (features, figures) is no part of it.
MATERIAL, JUDGES = ("data/", "models/", BATCH), ("data/reference", "models/extractor")
_HEX = re.compile(r"[0-9a-f]{6,64}")


class LineageError(RuntimeError):
    """The thing that was asked for cannot be found; the message says what was looked through."""


@dataclass(frozen=True)
class Node:
    """A thing, what is known of it, and its neighbours: what it was made of, or looking forward, what became of it."""

    kind: str  # image, batch, model, dataset or data
    name: str
    facts: dict[str, Any]
    links: tuple["Node", ...] = ()

    def values(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": self.kind, "name": self.name, **self.facts, "links": [node.values() for node in self.links]}


class Lineage:
    """Answers from git's history, DVC's cache and remote, and the registry."""

    def __init__(self, workspace: Path, history: History, registry: Registry) -> None:
        self._workspace, self.history, self._registry = workspace, history, registry
        self._subjects: dict[str, str] = {}

    def find(self, thing: str) -> Item | Node:
        """What `thing` names: an output, or a generated image with its batch below it.

        thing: a file, an archive's member (images-00000.tar:000001.png), a folder, a version, `prod`, or the beginning
        of a hash: of an image, of weights, a dataset's fingerprint, DVC's. Raises LineageError when no commit knows it.
        """
        path, (archive, _, member) = Path(thing), thing.rpartition(":")
        if path.is_file():
            return self._image(hashlib.sha256(path.read_bytes()).hexdigest(), thing)
        if member and Path(archive).is_file():
            return self._image(hashlib.sha256(_member(Path(archive), member)).hexdigest(), thing)
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

    def made_of(self, item: Item) -> Node:
        """The output with all that it was made of."""
        return self._node(item, self._sources)

    def became(self, item: Item) -> Node:
        """The output with all that was made of it, as far as any commit knows."""
        return self._node(item, self._products)

    def parts(self, run: Run, item: Item) -> list[Item]:
        """What the run made `item` of. A copied model was made of the model that was copied, not of those beside it."""
        read = [dep for dep in run.stage.deps if _is_material(dep.path)]
        outs = [self._whole(dep, maker) for dep in read for maker in self.history.makers(dep)]
        outs += [source for dep in read if (source := self.history.source_of(dep))]
        weights = self._weights(item)
        copied = [out for out in outs if weights and self._weights(out) == weights]
        return list(dict.fromkeys(copied[:1] or outs))

    def _sources(self, item: Item) -> list[Item]:
        makers = self.history.makers(item)
        return self.parts(makers[0], item) if makers else self._promoted_as(item)

    def _promoted_as(self, source: Item) -> list[Item]:
        """The candidate that a data source models/champion is: the same weights, under another path."""
        weights = self._weights(source)
        same = [item for item, _ in self.history.outputs(MODEL) if weights and self._weights(item) == weights]
        return same[-1:]

    def _products(self, item: Item) -> list[Item]:
        outs = [(run, out) for run in self.history.runs for out in run.stage.outs if _is_material(out.path)]
        found = [source for source in self.history.sources if item in self._promoted_as(source)]
        return list(dict.fromkeys([*found, *(out for run, out in outs if item in self.parts(run, out))]))

    def _node(self, item: Item, neighbours: Callable[[Item], list[Item]]) -> Node:
        links = tuple(self._node(neighbour, neighbours) for neighbour in neighbours(item))
        return Node(_kind(item), item.path, self._facts(item), links)

    def _facts(self, item: Item) -> dict[str, Any]:
        facts: dict[str, Any] = {"md5": item.md5}
        runs = self.history.makers(item)
        commit = runs[0].commit if runs else self.history.sources.get(item)
        if _kind(item) == "model" and (config := self._json(item, "config.json")):
            facts |= {"family": config["family"], "weights": config["sha256"][WEIGHTS], "trained_on": config["dataset"]}
            facts |= {"versions": [v.name for v in self._registry.versions if v.facts and v.facts.model == item.md5]}
            facts |= {"in_production": self._times_in_production(facts["versions"])}
        elif _kind(item) == "dataset" and (info := self._json(item, "dataset.json")):
            facts |= {"fingerprint": info["fingerprint"], "images": info["counts"]}
        elif _kind(item) == "batch" and (batch := self._json(item, "provenance.json")):
            facts |= {"images": batch["images"], "model": batch["model"]["sha256"], "trained_on": batch["dataset"]}
        if runs:
            facts |= {"stage": runs[0].stage.name, "command": runs[0].stage.command, "parameters": runs[0].stage.params}
        if commit:
            facts |= {"commit": commit, "committed": self._subject(commit)}
        return facts

    def _times_in_production(self, versions: list[str]) -> list[list[str | None]]:
        """From when to when; None: until now."""
        standing = [(move.at, self._registry.production(move.at)) for move in self._registry.moves]
        ends = [at.isoformat() for at, _ in standing[1:]] + [None]
        return [
            [at.isoformat(), end]
            for (at, move), end in zip(standing, ends, strict=False)
            if move and move.version in versions
        ]

    def _image(self, sha256: str, name: str) -> Node:
        for batch, _ in self._batches():
            rows = self._manifest(batch)
            found = None if rows is None else rows[rows["sha256"] == sha256]
            if found is not None and len(found):
                return self._image_node(batch, found.iloc[0], name)
        raise LineageError(
            f"{name}: none of the {len(self._batches())} batches in git's history has an image with sha256 {sha256}; "
            "it was changed, or made elsewhere, or its batch is neither in DVC's cache nor at its remote"
        )

    def _image_node(self, batch: Item, row: Any, name: str) -> Node:
        place = f"{row['archive']}:{row['file']}" if row["archive"] else row["file"]
        facts = {"sha256": row["sha256"], "file": place, "seed": int(row["seed"]), "class": row["class_name"] or None}
        return Node("image", name, facts, (self.made_of(batch),))

    def _by_hash(self, digits: str) -> Item | Node:
        for item in [out for run in reversed(self.history.runs) for out in run.stage.outs if _is_material(out.path)]:
            facts = self._facts(item)
            if any(str(facts.get(key, "")).startswith(digits) for key in ("md5", "weights", "fingerprint")):
                return item
        for source in self.history.sources:
            if source.md5.startswith(digits):
                return source
        for batch, _ in self._batches():
            rows = self._manifest(batch)
            found = None if rows is None else rows[rows["sha256"].str.startswith(digits)]
            if found is not None and len(found):
                return self._image_node(batch, found.iloc[0], str(found.iloc[0]["file"]))
        raise LineageError(f"{digits}: no image, model or dataset that git's history knows has a hash that begins so")

    def _folder(self, path: Path) -> Item:
        """The version of an output that lies in a folder, by the files that say what it is."""
        for name in ("config.json", "dataset.json", "provenance.json"):
            if (path / name).is_file():
                md5 = hashlib.md5((path / name).read_bytes(), usedforsecurity=False).hexdigest()
                for run in reversed(self.history.runs):
                    for out in run.stage.outs:
                        if (self.history.held.files(out.md5) or {}).get(name) == md5 and _is_material(out.path):
                            return out
        raise LineageError(f"{path}: no model, dataset or batch that git's history knows; was dvc.lock committed?")

    def _batches(self) -> list[tuple[Item, Run]]:
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
        return (self.history.held.files(item.md5) or {}).get(WEIGHTS) if item.path.startswith("models/") else None

    def _whole(self, item: Item, maker: Run) -> Item:
        """The output that `item` lies in, or is, or has in it."""
        near = [out for out in maker.stage.outs if out.path == item.path or item.path.startswith(f"{out.path}/")]
        near += [out for out in maker.stage.outs if out.path.startswith(f"{item.path}/")]
        return near[0]

    def _subject(self, commit: str) -> str:
        if commit not in self._subjects:
            self._subjects[commit] = git(self._workspace, "log", "-1", "--format=%cI %an: %s", commit).strip()
        return self._subjects[commit]


def _kind(item: Item) -> str:
    if item.path.startswith(BATCH):
        return "batch"
    return "model" if item.path.startswith("models/") else "data" if item.path == "data/raw" else "dataset"


def _is_material(path: str) -> bool:
    return path.startswith(MATERIAL) and not path.startswith(JUDGES)


def _member(archive: Path, name: str) -> bytes:
    try:
        with tarfile.open(archive) as opened:
            file = opened.extractfile(name)
            if file is not None:
                return file.read()
    except (tarfile.TarError, KeyError, OSError) as error:
        raise LineageError(f"{archive}:{name}: {error}") from None
    raise LineageError(f"{archive}:{name}: no file of that name in the archive")
