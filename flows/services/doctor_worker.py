"""`genai doctor --worker`: whether this machine can work for runs of other machines (docs/machines.md).

The checkout is the one that the worker was installed from.
"""

import secrets
import shutil
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from flows.data.objects import address_of
from flows.data.stores import opened_remote
from flows.executors.machine import worker_home
from flows.executors.software import installed_instead
from flows.git import git, remote_of
from flows.redact import without_secrets
from flows.services.api import api_at
from flows.services.check import Check
from flows.services.settings import configured_api_url

MIN_FREE_GB = 10.0
# Prefect gives a job to a worker whose clock has reached the job's time.
MAX_CLOCK_S, BAD_CLOCK_S = 5.0, 60.0


def check_packages(checkout: Path) -> Check:
    """Compare what is installed with requirements.lock."""
    found = installed_instead(checkout)
    if found:
        return Check("packages", "fail", "; ".join(found), "make setup, then restart the worker")
    return Check("packages", "ok", "as in requirements.lock")


def check_git_remote(checkout: Path) -> Check:
    remote = remote_of(checkout)
    if remote is None:
        return Check("git remote", "fail", "none: snapshots of runs come from there", "git remote add origin URL")
    git(checkout, "ls-remote", remote, "HEAD")
    return Check("git remote", "ok", f"{without_secrets(git(checkout, 'remote', 'get-url', remote).strip())} answers")


def check_data_remote(checkout: Path) -> Check:
    """Write a file at the DVC remote, read it, delete it."""
    with opened_remote(checkout, None) as (_repo, store):
        path, content = f"{store.path}/genai-doctor-{secrets.token_hex(8)}", b"written by genai doctor --worker"
        try:
            with NamedTemporaryFile() as file:
                file.write(content)
                file.flush()
                store.fs.put_file(file.name, path)
            same = store.fs.cat_file(path) == content
            store.fs.rm_file(path)
        except Exception as error:
            found = f"{address_of(store)} cannot be written: {type(error).__name__}: {' '.join(str(error).split())}"
            todo = "give this machine's keys the right to write there"
            if isinstance(error, FileNotFoundError):
                todo = "the remote's folder is not on this machine: mount it, or correct the remote's URL"
            return Check("DVC remote", "fail", found, todo)
        if not same:
            return Check("DVC remote", "fail", f"{address_of(store)} returns other bytes than were written")
        return Check("DVC remote", "ok", f"{address_of(store)} can be written and read")


def check_api(_checkout: Path) -> Check:
    url = configured_api_url()
    if url is None:
        return Check("server", "fail", "PREFECT_API_URL is not set: jobs come from there", "export PREFECT_API_URL=...")
    api = api_at(url)
    api.post("flows/filter", limit=1)
    ours, theirs = _prefect_version(), api.get("admin/version")
    if ours != theirs:
        return Check("server", "warn", f"Prefect {theirs} at {without_secrets(url)}, {ours} here", "use one version")
    return Check("server", "ok", f"{without_secrets(url)}, version {theirs}")


def check_clock(_checkout: Path) -> Check:
    """Compare this machine's clock with the server's."""
    url = configured_api_url()
    if url is None:
        return Check("clock", "warn", "not compared: no server is configured")
    asked = time.time()
    text = api_at(url).date()
    between = (asked + time.time()) / 2.0
    off_s = between - parsedate_to_datetime(text).timestamp() - 0.5  # the header has whole seconds
    found = f"{abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the server's"
    if abs(off_s) > BAD_CLOCK_S:
        return Check("clock", "fail", found, "jobs come late or seem to be in the future; start a time service (NTP)")
    if abs(off_s) > MAX_CLOCK_S:
        return Check("clock", "warn", found, "start a time service (NTP)")
    return Check("clock", "ok", "as the server's")


def check_home(_checkout: Path) -> Check:
    """The disk of the worker's clones and caches."""
    home = worker_home()
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    found = f"{home}: {free:,.1f} GB free"
    if free < MIN_FREE_GB:
        return Check("worker's home", "warn", found, "set GENAI_WORKER_HOME to a larger disk, or delete the folder")
    return Check("worker's home", "ok", found)


def _prefect_version() -> str:
    from importlib.metadata import version

    return version("prefect")
