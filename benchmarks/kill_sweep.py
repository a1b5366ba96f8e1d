"""Kills a toy workspace's runs again and again, goes on after each kill, and compares what comes out of it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.kill_choices import DESCENDANT, TERM, Kill, Values, draw, set_values, victims_of
from benchmarks.killed_runs import (
    MARK,
    STAGES,
    checkout_of,
    half_written,
    is_past,
    left_behind,
    marked,
    outcome_of,
    phase_of,
    role_of,
)

ROOT = Path(__file__).parents[1]
# What a kill may leave alive for so long: stages save what they have, the server ends.
PATIENCE_S = 15.0
MOST_S = 300.0  # a run takes some seconds, and some minutes where its server is gone
LOOK_S = 0.01
_SHOWN_LOG = 8_000  # characters of the log of a run that had to be aborted
MOST_MISSES = 2

# Fast stages. One takes a second to save what it has, one leaves a process of its own beside it.
BEHAVIOUR: dict[str, dict[str, Any]] = {stage: {"seconds": 0.4} for stage in STAGES}
BEHAVIOUR["train@gan"]["saves"] = 1.0
BEHAVIOUR["train@vae"]["child"] = True


@dataclass
class _Command:
    """A `genai run` that was started. kills: those that hit it."""

    mark: str
    process: "subprocess.Popen[bytes]"
    log: Path
    began: float
    kills: list[Kill] = field(default_factory=list)
    ended: float | None = None

    def has_keeper(self) -> bool:
        return not any("keeper" in kill.victim for kill in self.kills)


class Sweep:
    """Kills runs of `workspace`, a new toy; `folder` is for logs and temporary files.

    undisturbed: what a run that nobody disturbs makes of these values (kill_choices.set_values).
    """

    def __init__(
        self,
        workspace: Path,
        folder: Path,
        seed: int,
        undisturbed: Callable[[Values], dict[str, Any] | None],
        say: Callable[[str], None] = print,
    ) -> None:
        self.workspace, self.folder = workspace, folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.kills: list[Kill] = []
        self.faults: list[str] = []
        self.runs, self.compared, self.looked_at = 0, 0, 0
        self._random = random.Random(seed)
        self._seed, self._say, self._undisturbed = seed, say, undisturbed
        self._values: Values = (0, 0)
        self._command: _Command | None = None
        self._over: list[_Command] = []  # whose processes are looked for when PATIENCE_S have gone by
        self._waiting: list[Kill] = []  # for the next run that completes

    def run(self, kills: int, until: float = float("inf")) -> None:
        """So many kills, or fewer when time.monotonic() passes `until`. Then looks at what is left, and compares."""
        try:
            for number in range(kills):
                if time.monotonic() > until:
                    break
                kill, self._random = draw(self._seed, number)
                self._kill(kill)
            if self._command is not None:  # after a descendant's end the run goes on, or not
                self._wait_for_end(self._command)
            self._look(quiet=False)
            self._complete()
        finally:
            if self._command is not None:
                self._command.process.terminate()

    # --- one kill -----------------------------------------------------------------------------------------------------

    def _kill(self, kill: Kill) -> None:
        misses = 0
        while not self._strike(kill, misses):
            misses += 1
        self.kills.append(kill)
        self._waiting.append(kill)
        command = self._command
        assert command is not None
        self._say(f"{kill.number:3} {kill.kind}{f' ({kill.victim})' if kill.victim else ''}: {kill.reached}")
        if kill.kind == DESCENDANT:
            # A run without its server asks for it again and again, for minutes: seldom waited for.
            without_server = any("server" in other.victim for other in command.kills)
            if self._random.random() < (0.15 if without_server else 0.7):
                self._wait_for_end(command)
            return
        if kill.kind == TERM:
            self._wait_for_end(command)
        else:
            command.process.wait()
            self._has_ended(command)
        dice = self._random.random()
        if dice < 0.15:
            self._look(quiet=True)
        elif dice < 0.6:
            time.sleep(self._random.uniform(0.0, 2.0))
        if self._random.random() < 0.4:
            self._complete()

    def _strike(self, kill: Kill, misses: int) -> bool:
        """Wait for the moment and kill; False when the run ended before."""
        command = self._running()
        crawls = misses >= MOST_MISSES or any("server" in other.victim for other in command.kills)
        moment = self._random.uniform(0.0, 2.0) if crawls else kill.moment
        deadline = time.monotonic() + (moment if isinstance(moment, float) else MOST_S)

        def come() -> bool:
            if isinstance(moment, float):
                return time.monotonic() > deadline
            phase = phase_of(self.workspace, self.temporary, command.process.pid)
            return phase == moment or is_past(phase, moment)  # a stage may be done, a short phase slip by

        reached = self._wait_until(command, come)
        if not reached:
            self._wait_for_end(command)
            return False
        time.sleep(kill.jitter_s)
        victims = victims_of(kill, command.process.pid, command.mark, self._random)
        kill.reached = phase_of(self.workspace, self.temporary, command.process.pid)
        if not victims or command.process.poll() is not None:
            if command.process.poll() is not None:
                self._wait_for_end(command)
            return False
        number = signal.SIGTERM if kill.kind == TERM else signal.SIGKILL
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(number)
        command.kills.append(kill)
        return True

    # --- runs ---------------------------------------------------------------------------------------------------------

    def _running(self) -> _Command:
        """The run that is at work, or a new one."""
        if self._command is None:
            self._check_those_over()
            self.runs += 1
            mark = f"{self._seed}-{os.getpid()}-{self.runs}-"
            log = self.folder / f"run-{self.runs}.log"
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "flows.cli", "--workspace", str(self.workspace), "run"],
                    env=self._environment(mark),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._command = _Command(mark, process, log, time.monotonic())
        return self._command

    def _environment(self, mark: str) -> dict[str, str]:
        own = {
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
            "TOY": json.dumps(BEHAVIOUR),
            "TOY_DIARY": str(self.folder / "diary"),
        }
        return {**os.environ, **own, MARK: mark, "TMPDIR": str(self.temporary)}

    def _wait_until(self, command: _Command, condition: Callable[[], bool]) -> bool:
        """False when the run ended first."""
        deadline = command.began + MOST_S
        while command.process.poll() is None and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(LOOK_S)
        return False

    def _wait_for_end(self, command: _Command) -> None:
        """Wait for a run, with whose end something may be wrong."""
        if not self._wait_until_over(command):
            self._fault(command, f"it did not end in {MOST_S:g} s")
            command.process.send_signal(signal.SIGABRT)  # faulthandler writes what each thread waits for
            command.process.wait()
            self._say(command.log.read_text(errors="replace")[-_SHOWN_LOG:])
        status, said = command.process.returncode, command.log.read_text(errors="replace")
        if status == 0:
            self._compare(command)
        elif not command.kills:
            self._fault(command, f"status {status}, though nobody disturbed it")
        # A stage that is interrupted while it imports says so; its lines bear its name.
        own = [line for line in said.splitlines() if " | " not in line]
        if any("Traceback" in line for line in own) and not any(kill.kind == DESCENDANT for kill in command.kills):
            self._fault(command, "a traceback")
        self._has_ended(command)
        if status == 0:
            self._disturb()

    def _wait_until_over(self, command: _Command) -> bool:
        last = max([command.began, *([time.monotonic()] if command.kills else [])])
        with suppress(subprocess.TimeoutExpired):
            command.process.wait(timeout=max(0.0, last + MOST_S - time.monotonic()))
        return command.process.returncode is not None

    def _has_ended(self, command: _Command) -> None:
        command.ended = time.monotonic()
        self._over.append(command)
        self._command = None

    def _complete(self) -> None:
        """Let a run come to its end, and go on until one has."""
        before = self.compared
        for _ in range(5):
            self._wait_for_end(self._running())
            if self.compared > before:
                return
        raise SystemExit("five runs that nobody disturbed failed one after another; see the logs")

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _compare(self, command: _Command) -> None:
        self.compared += 1
        expected, found = self._undisturbed(self._values), outcome_of(self.workspace)
        equal = found is not None and found == expected
        if not equal:
            self._fault(command, f"other results than those of an undisturbed run: {_difference(expected, found)}")
        for kill in self._waiting:
            kill.equal = equal
        self._waiting.clear()
        if bad := half_written(self.workspace):
            self._fault(command, f"it completed, and left half-written: {', '.join(bad)}")

    def _disturb(self) -> None:
        """Something to do for the next run."""
        first, second = self._values
        dice = self._random.random()
        if dice < 0.45:
            self._values = (1 - first, second)
        elif dice < 0.75:
            self._values = (first, 1 - second)
        set_values(self.workspace, self._values)
        if dice >= 0.75:
            shutil.rmtree(self.workspace / "out", ignore_errors=True)
            (self.workspace / "dvc.lock").unlink(missing_ok=True)
        if dice < 0.9:  # else all is restored from the cache
            shutil.rmtree(self.workspace / ".dvc" / "cache" / "runs", ignore_errors=True)

    def _look(self, *, quiet: bool) -> None:
        """After the last kill, with no run at work: what is still there when PATIENCE_S have gone by.

        A run whose keeper was killed too leaves its checkout to the next run.
        """
        if self._over and not self._over[-1].has_keeper():
            self._complete()
        self.looked_at += 1
        deadline = time.monotonic() + PATIENCE_S
        mark = f"{self._seed}-{os.getpid()}-"
        while (left := left_behind(self.workspace, self.temporary, mark)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if left:
            last = self.kills[-1]
            last.left += left
            self.faults.append(f"kill {last.number} ({last.kind}, {last.reached}) left {', '.join(left)}")
            self._say(f"    FAULT: {self.faults[-1]}")
        if not quiet:
            self._check_those_over()

    def _check_those_over(self) -> None:
        """Of the runs that ended PATIENCE_S ago: processes and checkouts, while others are at work."""
        now = time.monotonic()
        due = [command for command in self._over if now - (command.ended or now) > PATIENCE_S]
        self._over = [command for command in self._over if command not in due]
        for command in due:
            left = [f"process: {role_of(process)}" for process in marked(command.mark)]
            checkout = checkout_of(self.workspace, command.process.pid)
            if checkout and command.has_keeper():
                left.append(f"worktree: {checkout.parent.name}")
            if left:
                self._fault(command, f"{PATIENCE_S:g} s after its end there were: {', '.join(left)}")
                for kill in command.kills:
                    kill.left += left

    def _fault(self, command: _Command, what: str) -> None:
        hit = "; ".join(f"{kill.kind} {kill.victim} at {kill.reached}" for kill in command.kills) or "no kill"
        self.faults.append(f"{command.log.name} ({hit}): {what}")
        self._say(f"    FAULT: {self.faults[-1]}")


def _difference(expected: Any, found: Any) -> str:
    if not expected or not found:
        return "dvc.lock cannot be read"
    names = sorted(expected["files"].keys() | found["files"].keys())
    lines = [name for name in names if expected["files"].get(name) != found["files"].get(name)]
    one, other = expected["lock"].get("stages", {}), found["lock"].get("stages", {})
    lines += [f"dvc.lock: {name}" for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    return ", ".join(lines) or "dvc.lock"
