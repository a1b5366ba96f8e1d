"""The study of a search: its trials on disk, by Optuna, and what identifies it."""

import hashlib
import json
import logging
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from flows.file_lock import try_lock
from flows.search import SearchError
from genai_core.config import SearchConfig

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

FOLDER = Path(".genai/search")
DATABASE, LOCK, LATEST = "study.db", "lock", "latest"
STORAGE_VARIABLE = "GENAI_SEARCH_STORAGE"
# Attributes of a trial: what it writes into params.yaml, where it runs, whether it is the present params.yaml.
VALUES, WHERE, PRESENT = "values", "where", "present"
# Attributes of a study: the section search of its params.yaml, the distance that it improves, and the values that keys
# with `when` have in trials for which that does not hold.
SEARCHED, METRIC, OTHERWISE = "search", "metric", "otherwise"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_ATTRIBUTE = "fingerprint"
_NO_RECORD = "Record does not exist."  # what Optuna's KeyError says of a study or trial that was deleted
# Far apart, so that no two trials of neighbouring seeds draw the same numbers.
_TRIALS_PER_SEED = 100_003


@dataclass(frozen=True)
class Fingerprint:
    """All that decides what a trial's figures are, in parts that a message can name: part -> name -> hash or value."""

    parts: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The study's name, unless it is given one."""
        text = json.dumps(self.parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def differences(self, other: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What differs from the stored parts of another one: `code: genai_core/models/gan.py`."""
        found = []
        for part in dict.fromkeys((*self.parts, *other)):
            mine, theirs = _plain(self.parts.get(part, {})), _plain(other.get(part, {}))
            found += [f"{part}: {key}" for key in dict.fromkeys((*mine, *theirs)) if mine.get(key) != theirs.get(key)]
        return found


def open_study(
    folder: Path, name: str, config: SearchConfig, metric: str, fingerprint: Fingerprint, url: str | None
) -> "Study":
    """Open the study of that name, or begin it. Raises SearchError if it is of another space, code or data.

    folder: of the study below FOLDER. url: of a database that several machines share; None: a file in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    storage = _storage(url or f"sqlite:///{folder / DATABASE}")
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        directions=["minimize"] * len(config.objectives),
        sampler=_SampledByNumber(config),
        pruner=NopPruner(),  # flows.search.halving decides
    )
    stored = study.user_attrs.get(_ATTRIBUTE)
    if stored is None:
        study.set_user_attr(SEARCHED, config.model_dump(mode="json"))
        study.set_user_attr(METRIC, metric)
        study.set_user_attr(_ATTRIBUTE, _plain(fingerprint.parts))
    elif differences := fingerprint.differences(stored):
        listed = ", ".join(differences[:5]) + (f" and {len(differences) - 5} more" if len(differences) > 5 else "")
        raise SearchError(
            f"the study {name} is of something else; different now: {listed}. Leave out --study, or give another name, "
            "to begin a new study; or undo the change"
        )
    return study


def read_study(folder: Path, name: str, url: str | None) -> "Study":
    """Open a study to look at it. Raises SearchError if there is none."""
    if url is None and not (folder / DATABASE).is_file():
        raise SearchError(
            f"there is no study {name} here; `genai search` begins one. If it is in a database, name that by --storage "
            "or the environment's GENAI_SEARCH_STORAGE"
        )
    try:
        return optuna.load_study(study_name=name, storage=_storage(url or f"sqlite:///{folder / DATABASE}"))
    except KeyError:
        raise SearchError(f"the storage has no study {name}") from None


def searched(study: "Study") -> tuple[SearchConfig, str]:
    """Return the section search that a study was begun with, and the distance that it improves. Raises SearchError."""
    if METRIC not in study.user_attrs:  # a kill came before
        raise SearchError(f"the study {study.study_name} has not begun yet; `genai search` begins it")
    return SearchConfig.model_validate(study.user_attrs[SEARCHED]), str(study.user_attrs[METRIC])


def checked_name(name: str) -> str:
    """Return the name of a study, which becomes part of paths and of git references. Raises SearchError."""
    if not _NAME.fullmatch(name):
        raise SearchError(f"study {name!r}: allowed: at most 40 letters, digits, _ and -")
    return name


def latest_study(workspace: Path) -> str:
    """Return the name of the study that the last search here worked on. Raises SearchError if there was none."""
    try:
        return (workspace / FOLDER / LATEST).read_text().strip()
    except OSError:
        raise SearchError("no search was made here yet; `genai search` begins one") from None


@contextmanager
def only_search(folder: Path, name: str) -> Iterator[None]:
    """Lock a study's folder: one search of a study at a time here. Raises SearchError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        if not try_lock(file):
            raise SearchError(
                f"another search of the study {name} is running in this checkout; wait until it ends, or stop it. "
                "For more trials at once, start one with --parallel"
            )
        yield


def is_searched(folder: Path) -> bool:
    """Whether a search works on the study of that folder now."""
    try:
        with (folder / LOCK).open() as file:
            return not try_lock(file, shared=True)
    except OSError:
        return False


def begin_with(study: "Study", present: Mapping[str, Any] | None, otherwise: Mapping[str, Any]) -> None:
    """Let the first trial of a new study be the present settings, so that the winner is compared with them.

    present: None if they lie outside the space. otherwise: the present values of keys with `when`; the study keeps
    them, because params.yaml has others once a trial is applied.
    """
    if present is not None and is_new(study):
        study.enqueue_trial(dict(present), user_attrs={PRESENT: True})
    if OTHERWISE not in study.user_attrs:
        study.set_user_attr(OTHERWISE, dict(otherwise))


def is_new(study: "Study") -> bool:
    return not study.get_trials(deepcopy=False)


def otherwise_of(study: "Study") -> dict[str, Any]:
    """Return the values of keys with `when`, by dotted name, in trials for which that does not hold."""
    return dict(study.user_attrs.get(OTHERWISE, {}))


def here(folder: Path) -> str:
    """This machine and checkout, by which a search knows its own trials in a storage that several share."""
    return f"{socket.gethostname()}:{folder}"


def interrupted(study: "Study", folder: Path) -> tuple[FrozenTrial, ...]:
    """The trials that a killed search of this folder left running. Only while its lock is held (only_search)."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return tuple(trial for trial in running if trial.user_attrs.get(WHERE, here(folder)) == here(folder))


def taken_up(study: "Study", trial: FrozenTrial) -> Trial:
    """Return a trial that a killed search left running, to continue it."""
    return Trial(study, trial._trial_id)


def ended(study: "Study") -> list[FrozenTrial]:
    """The trials that have ended, by number: complete, pruned and failed ones."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return study.get_trials(deepcopy=False, states=states)


class _SampledByNumber(BaseSampler):
    """Draws each trial from a seed of its own, so that a search that was killed and resumed makes the same trials."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._inner: dict[int, BaseSampler] = {}

    def infer_relative_search_space(self, study: "Study", trial: FrozenTrial) -> "dict[str, BaseDistribution]":
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: "Study", trial: FrozenTrial, search_space: "dict[str, BaseDistribution]"
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: "Study", trial: FrozenTrial, param_name: str, param_distribution: "BaseDistribution"
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._inner:
            seed = (self._config.seed * _TRIALS_PER_SEED + trial.number) % 2**32
            if self._config.sampler == "random":
                sampler: BaseSampler = RandomSampler(seed=seed)
            else:
                sampler = TPESampler(seed=seed, n_startup_trials=self._config.startup_trials)
            self._inner[trial.number] = sampler
        return self._inner[trial.number]


@contextmanager
def answering(then: str = "repeat the command") -> Iterator[None]:
    """Raise SearchError if the study's database does not answer, or has lost what it had.

    then: what to do when it answers again.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise SearchError(f"the study's database does not answer: {reason}. When it does again, {then}") from None
    except KeyError as error:
        if error.args != (_NO_RECORD,):
            raise
        raise SearchError(
            "the study, or a trial of it, is no longer in its database: somebody deleted it. `genai search` begins a "
            "new study"
        ) from None


def _storage(url: str) -> RDBStorage:
    # It warns of a database that is away, with the whole SQL, over the live table. `answering` says that in a line.
    logging.getLogger("optuna").setLevel(logging.ERROR)
    shown = without_password(url)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # A connection that stayed open over a restart of the database, or was idle for too long, is replaced.
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise SearchError(
            f"the storage {shown} needs a driver that is not installed ({error}); for PostgreSQL: "
            "pip install 'genai-pipeline[postgresql]', and an address postgresql+psycopg://..."
        ) from None
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise SearchError(f"the storage {shown} cannot be used: {first}") from None


def without_password(url: str) -> str:
    """Return an address as a message may have it, read as the database's library does. Raises SearchError.

    An address that is not as it should be is not shown: nothing says which part of it is the password, and the driver's
    own message would have a part of it as the host.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise SearchError(
            "the storage's address (--storage, or the environment's GENAI_SEARCH_STORAGE) cannot be read; allowed: "
            "postgresql+psycopg://user:password@host:port/database"
        ) from None
    # What follows the first @ of two is taken for host, port, database or query. The path of a file may have some.
    if url.count("@") > 1 and address.get_backend_name() != "sqlite":
        raise SearchError(
            "the storage's address (--storage, or the environment's GENAI_SEARCH_STORAGE) has two @; in a user or "
            "password, write @ as %40, / as %2F, : as %3A and % as %25"
        )
    return address.set(password=None, query={}).render_as_string()


def _plain(values: Any) -> Any:
    """Return values as JSON has them: tuples become lists."""
    return json.loads(json.dumps(values, default=str))
