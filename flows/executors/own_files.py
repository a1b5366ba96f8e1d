"""Files of genai's own at a DVC remote, in genai/FOLDER beside DVC's objects: checkpoints, and results of open runs."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import unreachable
from flows.runs.publication import KEEP_DAYS

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

_OBJECTS = "/files/md5"  # DVC's own objects, below the remote's address
_DAY_S = 86_400.0


class OwnFiles:
    """The files in one folder. Names are paths below it. All methods raise UnreachableError."""

    def __init__(self, store: "HashFileDB", folder: str) -> None:
        self._store = store
        self._root = f"{str(store.path).removesuffix(_OBJECTS)}/genai/{folder}"

    def sizes(self) -> dict[str, int]:
        """The size of each file, by its name; empty if the folder does not exist."""
        fs = self._store.fs
        try:
            fs.fs.invalidate_cache()  # of listings from before the last change
            paths = list(fs.find(self._root))
            sizes = [int(info["size"]) for info in fs.info(paths)] if paths else []
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise unreachable(self._store, error) from None
        prefix = f"{self._root.lstrip('/')}/"
        names = [path.lstrip("/").removeprefix(prefix) for path in paths]
        return dict(zip(names, sizes, strict=True))

    def read(self, name: str) -> str | None:
        """The text of a file; None if there is none."""
        try:
            content: bytes = self._store.fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise unreachable(self._store, error) from None
        return content.decode()

    def write(self, name: str, text: str) -> None:
        path = self._path(name)
        try:
            self._store.fs.makedirs(self._store.fs.parent(path), exist_ok=True)
            self._store.fs.pipe_file(path, text.encode())
        except Exception as error:
            raise unreachable(self._store, error) from None

    def fetch(self, name: str, target: Path) -> None:
        """Fetch a file, complete or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        try:
            self._store.fs.get_file(self._path(name), str(new))
        except Exception as error:
            raise unreachable(self._store, error) from None
        new.replace(target)

    def send(self, source: Path, name: str) -> None:
        """Send a file. One that is gone meanwhile is no error."""
        try:
            self._store.fs.put_file(str(source), self._path(name))
        except FileNotFoundError:
            return
        except Exception as error:
            raise unreachable(self._store, error) from None

    def delete(self, names: Iterable[str]) -> None:
        """Delete files. One that is gone already is no error."""
        for name in names:
            try:
                self._store.fs.rm_file(self._path(name))
            except FileNotFoundError:
                continue
            except Exception as error:
                raise unreachable(self._store, error) from None

    def delete_all(self) -> None:
        """Delete the folder."""
        try:
            self._store.fs.rm(self._root, recursive=True)
        except FileNotFoundError:
            return
        except Exception as error:
            raise unreachable(self._store, error) from None

    def delete_old(self) -> None:
        """Delete the files that nothing has written for KEEP_DAYS, where the remote tells their times."""
        for name in self.sizes():
            try:
                written = self._store.fs.fs.modified(self._path(name)).timestamp()
            except (NotImplementedError, FileNotFoundError):
                continue
            except Exception as error:
                raise unreachable(self._store, error) from None
            if time.time() - written > KEEP_DAYS * _DAY_S:
                self.delete([name])

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
