"""The study on disk: resumed as if it had not been interrupted, refused for something else."""

import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest

from flows.search import SearchError
from flows.search.space import suggested
from flows.search.study import (
    Fingerprint,
    answering,
    begin_with,
    checked_name,
    ended,
    interrupted,
    is_new,
    is_searched,
    latest_study,
    only_search,
    open_study,
    otherwise_of,
    read_study,
    searched,
    taken_up,
)
from genai_core.config import SearchConfig
from tests.flows.search.test_space import RATE, values_with

SPACE = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, "models.gan.network.width": {"choices": [16, 24, 32]}}
FINGERPRINT = Fingerprint({"code": {"a.py": "1"}, "data": {"data/raw": "2"}})


def config_of(**search: Any) -> SearchConfig:
    return SearchConfig.model_validate(values_with(SPACE, startup_trials=2, **search)["search"])


def trials_of(folder: Path, count: int, *, restarts: bool) -> list[dict[str, Any]]:
    """Ask for trials, each with a distance; restarts: with the study opened anew for each."""
    config = config_of()
    study, found = open_study(folder, "one", config, "fd", FINGERPRINT, None), []
    for number in range(count):
        if restarts:
            study = open_study(folder, "one", config, "fd", FINGERPRINT, None)
        trial = study.ask()
        found.append(suggested(trial, config.space))
        study.tell(trial, float(number % 3) + found[-1][RATE])
    return found


def test_a_search_that_is_restarted_makes_the_same_trials(tmp_path: Path) -> None:
    at_once, restarted = (trials_of(tmp_path / name, 6, restarts=name == "b") for name in "ab")
    assert at_once == restarted
    assert len({str(values) for values in at_once}) > 3


def test_an_interrupted_trial_keeps_its_number_and_values(tmp_path: Path) -> None:
    config = config_of()
    study = open_study(tmp_path, "one", config, "fd", FINGERPRINT, None)
    begin_with(study, {RATE: 1e-3, "models.gan.network.width": "24"}, {"augment.expand": 2.0})
    first = suggested(study.ask(), config.space)
    assert first == {RATE: 1e-3, "models.gan.network.width": 24}

    again = open_study(tmp_path, "one", config, "fd", FINGERPRINT, None)
    begin_with(again, {RATE: 2e-3, "models.gan.network.width": "32"}, {})  # only a new study begins with them
    assert otherwise_of(again) == {"augment.expand": 2.0}
    (left,) = interrupted(again, tmp_path)
    assert suggested(taken_up(again, left), config.space) == first
    assert again.ask().number == 1


def test_another_space_code_or_data_is_refused_and_named(tmp_path: Path) -> None:
    open_study(tmp_path, "one", config_of(), "fd", FINGERPRINT, None)
    other = Fingerprint({"code": {"a.py": "1"}, "data": {"data/raw": "3"}})
    with pytest.raises(SearchError, match="different now: data: data/raw"):
        open_study(tmp_path, "one", config_of(), "fd", other, None)
    assert other.name != FINGERPRINT.name


def test_a_database_that_no_longer_answers_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = open_study(tmp_path, "one", config_of(), "fd", FINGERPRINT, None)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("DROP TABLE trials")
    for ask in (study.ask, lambda: ended(study)):
        with pytest.raises(SearchError, match=r"does not answer: .*no such table.*, repeat the command$"), answering():
            ask()
    with pytest.raises(SearchError, match="again, the search goes on"), answering("the search goes on"):
        study.ask()
    assert not caplog.records


def test_a_deleted_study_is_named(tmp_path: Path) -> None:
    study = open_study(tmp_path, "one", config_of(), "fd", FINGERPRINT, None)
    trial = study.ask()
    optuna.delete_study(study_name="one", storage=f"sqlite:///{tmp_path / 'study.db'}")
    for ask in (
        study.ask,
        lambda: ended(study),
        lambda: searched(study),
        lambda: study.tell(trial, 1.0),
        lambda: trial.set_user_attr("seconds", 1.0),
        lambda: trial.report(1.0, 1),
    ):
        with pytest.raises(SearchError, match=r"no longer in its database.*`genai search` begins a new"), answering():
            ask()
    with pytest.raises(KeyError), answering():  # a fault of the code
        {}["one"]


def test_a_connection_that_was_lost_is_replaced(tmp_path: Path) -> None:
    """As after a restart of the database, or when it has closed an idle connection."""
    study = open_study(tmp_path, "one", config_of(), "fd", FINGERPRINT, None)
    engine = study._storage._backend.engine
    pooled = [engine.raw_connection() for _ in range(engine.pool.checkedin())]
    lost = [connection.dbapi_connection for connection in pooled]
    for connection in (*pooled, *lost):  # given back, then closed behind the pool's back
        connection.close()
    assert lost
    assert study.ask().number == 0


def test_one_search_of_a_study_at_a_time(tmp_path: Path) -> None:
    with only_search(tmp_path, "one"):
        assert is_searched(tmp_path)
        with pytest.raises(SearchError, match="another search of the study one"), only_search(tmp_path, "one"):
            pass
    assert not is_searched(tmp_path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no search was made here yet"):
        latest_study(tmp_path)
    with pytest.raises(SearchError, match=r"there is no study one here.* GENAI_SEARCH_STORAGE"):
        read_study(tmp_path, "one", None)
    with pytest.raises(SearchError, match="allowed: at most 40 letters"):
        checked_name("../one")
    with pytest.raises(SearchError, match="has not begun yet"):  # killed before it was described
        searched(optuna.create_study())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg2://me:secret@localhost/x", "genai-pipeline"),
        ("postgresql+psycopg2://me:12/secret@localhost/x", "genai-pipeline"),
        ("postgresql+psycopg2://me@localhost/x?password=secret", "genai-pipeline"),
        ("nonsense://x", "cannot be used"),
        ("nonsense://me:open@secret@localhost/x", "write @ as %40"),
        ("postgresql://me:open@secret@localhost/x", "write @ as %40"),
        ("postgresql://me:open@secr/et@localhost/x", "write @ as %40"),
        ("postgresql://me:open@secr?et@localhost/x", "write @ as %40"),
        ("postgresql://me:open@secret:5/x@localhost/x", "write @ as %40"),
        ("mysql+pymysql://me:open@secret:5/x@localhost/x", "write @ as %40"),
        ("me:open@secr?et@localhost/x", "cannot be read"),
        ("me:secret@localhost/x", "cannot be read; allowed: postgresql"),
        ("postgresql+psycopg:/me:secret@localhost/x", "cannot be read"),
        ("postgresql+psycopg://me:secret@localhost:port/x", "cannot be read"),
        ("host=localhost password=secret", "cannot be read"),
    ],
)
def test_a_storage_that_cannot_be_used_is_named_without_its_password(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(SearchError, match=said) as caught:
        open_study(tmp_path, "one", config_of(), "fd", FINGERPRINT, url)
    assert not any(part in str(caught.value) for part in ("secr", "et@", "localhost/x@"))


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "a@b@c").mkdir()
    assert is_new(open_study(tmp_path / "a@b@c", "one", config_of(), "fd", FINGERPRINT, None))
