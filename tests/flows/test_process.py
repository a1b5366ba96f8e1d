"""Supervised processes: streamed lines, and every descendant ended, whichever process dies first."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from flows.process import Processes, Stopped, TimedOut
from tests.flows.conftest import ROOT, wait_for

GRACE_S = 1.0

Run = Callable[..., int]


@pytest.fixture
def processes() -> Processes:
    return Processes(grace_s=GRACE_S)


@pytest.fixture
def run(processes: Processes, tmp_path: Path) -> Run:
    """Runs a shell script or Python code in its own folder. Collects its output in `lines`."""

    def start(
        script: str, lines: list[str] | None = None, *, python: bool = False, timeout_s: float | None = None
    ) -> int:
        return processes.run(
            [sys.executable, "-u", "-c", script] if python else ["sh", "-c", script],
            folder=tmp_path,
            environment=os.environ,
            timeout_s=timeout_s,
            on_line=(lambda _: None) if lines is None else lines.append,
        )

    return start


def sleepers(folder: Path) -> list[int]:
    """The live processes whose ids are in the files of a folder."""
    numbers = [int(path.read_text() or 0) for path in folder.glob("*.pid")]
    return [number for number in numbers if number and psutil.pid_exists(number)]


def in_background(run: Run, *arguments: object, **options: object) -> tuple[threading.Thread, list[object]]:
    """Run in a thread. The list receives the status or the exception."""
    outcome: list[object] = []

    def work() -> None:
        try:
            outcome.append(run(*arguments, **options))
        except (Stopped, TimedOut) as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome


# A family of three generations: each notes its number. The script's own `sh` waits for them.
FAMILY = """
echo $$ > parent.pid
sh -c 'echo $$ > child.pid; sleep 600 & echo $! > grandchild.pid; wait' &
wait
"""


def test_exit_status_and_lines_of_both_streams(run: Run) -> None:
    lines: list[str] = []
    assert run("echo one; echo two >&2; printf three; exit 7", lines) == 7
    assert lines == ["one", "two", "three"]


def test_command_killed_by_a_signal_has_the_shells_status(run: Run) -> None:
    assert run("kill -9 $$") == 128 + signal.SIGKILL
    assert run("kill -11 $$") == 128 + signal.SIGSEGV


def test_lines_arrive_as_they_are_printed(processes: Processes, tmp_path: Path) -> None:
    arrivals: list[float] = []
    processes.run(
        ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.4; done"],
        folder=tmp_path,
        environment=os.environ,
        timeout_s=None,
        on_line=lambda _: arrivals.append(time.monotonic()),
    )
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert len(gaps) == 2
    assert all(gap > 0.2 for gap in gaps), gaps


def test_output_that_is_not_utf8_is_replaced(run: Run) -> None:
    lines: list[str] = []
    assert run(r"printf 'caf\351 \377\n'; printf 'gr\303\274n\n'", lines) == 0
    assert lines == ["caf� �", "grün"]


def test_output_does_not_depend_on_the_locale(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from flows.process import Processes\n"
        "lines = []\n"
        "Processes().run(['printf', r'\\303\\274'], folder=Path(), environment=os.environ,"
        " timeout_s=None, on_line=lines.append)\n"
        "print(ascii(lines))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == r"['\xfc']"


def test_a_progress_bar_is_one_line(run: Run) -> None:
    """Carriage returns do not end a line: flows.runs.stage keeps the visible part."""
    lines: list[str] = []
    run(r"printf '10%%\r50%%\r100%%\ndone\n'", lines)
    assert [line.rpartition("\r")[2] for line in lines] == ["100%", "done"]


def test_many_lines_arrive_completely(run: Run) -> None:
    lines: list[str] = []
    run("seq 100000", lines)
    assert len(lines) == 100_000
    assert lines[-1] == "100000"


def test_the_command_reads_nothing_from_the_terminal(run: Run) -> None:
    assert run("cat", timeout_s=10) == 0


def test_timeout_ends_all_descendants(run: Run, tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="1 s, its time limit"):
        run(FAMILY, timeout_s=1.0)
    assert len(list(tmp_path.glob("*.pid"))) == 3
    wait_for(lambda: not sleepers(tmp_path), 10.0)


def test_stop_ends_all_descendants(run: Run, processes: Processes, tmp_path: Path) -> None:
    thread, outcome = in_background(run, FAMILY)
    wait_for(lambda: len(sleepers(tmp_path)) == 3)
    processes.stop()
    assert processes.wait_until_stopped(GRACE_S + 10.0)
    thread.join(15.0)
    assert isinstance(outcome[0], Stopped)
    wait_for(lambda: not sleepers(tmp_path), 10.0)


def test_stop_gives_time_to_save(run: Run, processes: Processes, tmp_path: Path) -> None:
    script = (
        "import time, pathlib\n"
        "try:\n"
        "    pathlib.Path('own.pid').write_text(str(__import__('os').getpid())); time.sleep(600)\n"
        "except KeyboardInterrupt:\n"
        "    time.sleep(0.5); pathlib.Path('saved').touch()\n"
    )
    thread, _ = in_background(run, script, python=True)
    wait_for(lambda: sleepers(tmp_path))
    processes.stop()
    thread.join(15.0)
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("signals", ["INT", "INT TERM"])
def test_process_that_ignores_the_interrupt_is_killed_after_the_grace_time(
    run: Run, processes: Processes, tmp_path: Path, signals: str
) -> None:
    thread, outcome = in_background(run, f"trap '' {signals}; {FAMILY}")
    wait_for(lambda: len(sleepers(tmp_path)) == 3)
    began = time.monotonic()
    processes.stop()
    thread.join(GRACE_S + 12.0)
    assert GRACE_S * 0.9 <= time.monotonic() - began < GRACE_S + 10.0
    assert isinstance(outcome[0], Stopped)
    wait_for(lambda: not sleepers(tmp_path), 10.0)


def test_nothing_starts_after_stop(run: Run, processes: Processes, tmp_path: Path) -> None:
    processes.stop()
    with pytest.raises(Stopped):
        run("touch started")
    assert not (tmp_path / "started").exists()


def test_stop_while_many_start(run: Run, processes: Processes) -> None:
    """No process starts between the check and the start."""
    started = [in_background(run, "sleep 600") for _ in range(12)]
    time.sleep(0.03)
    processes.stop()
    for thread, outcome in started:
        thread.join(GRACE_S + 12.0)
        assert isinstance(outcome[0], Stopped)


@pytest.mark.parametrize("trap", ["", "trap '' INT TERM HUP;"])
def test_remaining_child_does_not_delay_the_end(run: Run, tmp_path: Path, trap: str) -> None:
    lines: list[str] = []
    began = time.monotonic()
    assert run(f"{trap} sleep 600 & echo $! > left.pid; echo done; exit 3", lines) == 3
    assert time.monotonic() - began < GRACE_S + 10.0
    assert lines == ["done"]
    wait_for(lambda: not sleepers(tmp_path), 10.0)


def test_child_that_left_the_group_ends_too(run: Run, tmp_path: Path) -> None:
    """Like a launcher's workers (setsid), which would keep the output open, and so the run."""
    began = time.monotonic()
    assert run("setsid sh -c 'echo $$ > left.pid; exec sleep 600' & sleep 0.3") == 0
    assert time.monotonic() - began < GRACE_S + 10.0
    wait_for(lambda: not sleepers(tmp_path), 10.0)


def test_error_in_the_line_handler_ends_the_process(processes: Processes, tmp_path: Path) -> None:
    def fail(_line: str) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        processes.run(
            ["sh", "-c", "echo line; " + FAMILY], folder=tmp_path, environment=os.environ, timeout_s=None, on_line=fail
        )
    wait_for(lambda: not sleepers(tmp_path), 10.0)


def test_missing_command(processes: Processes, tmp_path: Path) -> None:
    lines: list[str] = []
    status = processes.run(
        ["no-such-command"], folder=tmp_path, environment=os.environ, timeout_s=None, on_line=lines.append
    )
    assert status != 0
    assert "no-such-command" in lines[-1]


@pytest.mark.parametrize("script", [FAMILY, f"trap '' INT TERM; {FAMILY}"], ids=["obedient", "stubborn"])
def test_kill_9_of_the_owner_leaves_no_process(tmp_path: Path, script: str) -> None:
    code = (
        "import os, sys; from pathlib import Path; from flows.process import Processes\n"
        f"Processes(grace_s={GRACE_S}).run(['sh', '-c', sys.argv[1]], folder=Path(), environment=os.environ,"
        " timeout_s=None, on_line=print)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen([sys.executable, "-c", code, script], env=environment, cwd=tmp_path)
    try:
        wait_for(lambda: len(sleepers(tmp_path)) == 3)
    finally:
        holder.kill()
        holder.wait()
    wait_for(lambda: not sleepers(tmp_path), GRACE_S + 3.0)
    assert not [p for p in psutil.process_iter(["cmdline"]) if shlex.quote(str(tmp_path)) in (p.info["cmdline"] or [])]


def test_kill_9_of_owner_and_supervisor_ends_the_command(tmp_path: Path) -> None:
    """No other process is left to end it: the kernel does."""
    code = (
        "import os; from pathlib import Path; from flows.process import Processes\n"
        f"Processes(grace_s={GRACE_S}).run(['sh', '-c', 'echo $$ > own.pid; exec sleep 600'], folder=Path(),"
        " environment=os.environ, timeout_s=None, on_line=print)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=tmp_path)
    try:
        wait_for(lambda: sleepers(tmp_path))
        (supervisor,) = psutil.Process(holder.pid).children()
    finally:
        holder.send_signal(signal.SIGSTOP)  # so that it cannot see its supervisor's end
    supervisor.kill()
    holder.kill()
    holder.wait()
    wait_for(lambda: not sleepers(tmp_path), 10.0)


def test_kill_9_of_the_supervisor_ends_a_command_that_starts_others_meanwhile(run: Run, tmp_path: Path) -> None:
    """Each process of the relay lives two milliseconds: one list of processes does not have the next one."""
    relay = (
        "import os, time\n"
        "end = time.monotonic() + 60\n"  # so that a failure of this test leaves nothing for long
        "while time.monotonic() < end:\n"
        "    if os.fork(): os._exit(0)\n"
        "    time.sleep(0.002)"
    )
    thread, outcome = in_background(
        run, f"{shlex.quote(sys.executable)} -c {shlex.quote(relay)} & echo $$ > a.pid; wait; sleep 600"
    )
    wait_for(lambda: sleepers(tmp_path))
    (command,) = sleepers(tmp_path)
    parent = psutil.Process(command).parent()
    assert parent is not None
    parent.kill()
    thread.join(20.0)
    assert outcome == [-signal.SIGKILL]


@pytest.mark.parametrize("killed", [False, True])
def test_scratch_folder_is_removed_with_its_process(tmp_path: Path, killed: bool) -> None:
    code = (
        "import sys, time; from flows.process import scratch_folder\n"
        "with scratch_folder('scratch-') as folder:\n"
        "    (folder / 'file').write_text('text')\n"
        "    time.sleep(float(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    user = subprocess.Popen([sys.executable, "-c", code, "600" if killed else "0"], env=environment)
    if killed:
        wait_for(lambda: list(tmp_path.glob("scratch-*/file")))
        user.kill()
    assert user.wait(30.0) == (-signal.SIGKILL if killed else 0)
    wait_for(lambda: not list(tmp_path.iterdir()), 10.0)
