"""The software that a result may depend on. Machines of one run must agree on it; what else differs is recorded."""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import Marker

from flows.executors.machine import this_machine
from genai_core.config.machine import usable_cores, usable_memory_bytes

LOCK = Path("requirements.lock")
MOST_NAMED = 5
_ANSWER_TIMEOUT_S = 30.0
_CODE = ("flows", "genai_core/config")  # what runs a job; the tasks' own code comes with the snapshot
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)


@dataclass(frozen=True)
class Software:
    """What machines of one run must have alike.

    python: 3.11. code: hash of this code. packages: versions of those packages of requirements.lock that are installed.
    """

    python: str
    code: str
    packages: Mapping[str, str]


def this_software(checkout: Path) -> Software:
    """The software of this process. checkout: with the requirements.lock that names the packages, if it has one."""
    packages = {}
    for name in sorted(_pins(checkout)):
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return Software(f"{sys.version_info.major}.{sys.version_info.minor}", _code_hash(), packages)


def differences(wanted: Software, here: Software) -> list[str]:
    """What differs, with both values. A package that only one machine has is no difference."""
    found = []
    if wanted.python != here.python:
        found.append(f"Python {here.python} instead of {wanted.python}")
    if wanted.code != here.code:
        found.append(f"code of the pipeline {here.code} instead of {wanted.code}")
    both = sorted(wanted.packages.keys() & here.packages.keys())
    other = [name for name in both if wanted.packages[name] != here.packages[name]]
    found += [f"{name} {here.packages[name]} instead of {wanted.packages[name]}" for name in other[:MOST_NAMED]]
    if len(other) > MOST_NAMED:
        found.append(f"{len(other) - MOST_NAMED} more packages")
    return found


def installed_instead(checkout: Path) -> list[str]:
    """The installed packages of another version than requirements.lock has, with both; empty without a lock."""
    wanted, here = Software("", "", _pins(checkout)), Software("", "", this_software(checkout).packages)
    return differences(wanted, here)


def machine_facts() -> dict[str, str]:
    """Facts of this machine: its name and its workers' home (machine.py), and what may shape a result."""
    here = this_machine()
    facts = {
        "host": here.host,
        "home": here.home,
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": str(usable_cores()),
        "memory": f"{usable_memory_bytes() / 2**30:.0f} GB",
    }
    with suppress(PackageNotFoundError):
        facts["torch"] = version("torch")
    if gpus := _gpus():
        facts["gpus"] = gpus
    return facts


def _pins(checkout: Path) -> dict[str, str]:
    """The versions that requirements.lock has for this Python and system; empty without a lock."""
    lock = checkout / LOCK
    pins = _PIN.findall(lock.read_text()) if lock.is_file() else []
    return {name: pinned for name, pinned, marker in pins if not marker or Marker(marker).evaluate()}


def _gpus() -> str:
    """Names and driver of the GPUs, as nvidia-smi reports them; "" without one."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return "; ".join(answer.stdout.strip().splitlines()) if answer.returncode == 0 else ""


def _code_hash() -> str:
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(path for folder in _CODE for path in (root / folder).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
