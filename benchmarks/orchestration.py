"""What the orchestration costs, against plain `dvc repro`: medians of whole commands.

    python benchmarks/orchestration.py [--checkout PATH [--demo N]] [--repeat N]

--checkout: one in which `make demo` has run; without it the figures of the whole pipeline are left out. A Prefect
server is started on loopback for the figures that need one.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from flows.runs.checkout import open_detached, remove_worktree  # noqa: E402
from flows.runs.snapshot import take_snapshot  # noqa: E402

GENAI = [sys.executable, "-m", "flows.cli"]
DVC = [sys.executable, "-m", "dvc"]

# A stage that keeps one core busy for about as long as its first argument says, and notes how long it took.
BURN = """
import json, sys, time
began = time.perf_counter()
rounds, x = int(float(sys.argv[1]) * 12_000_000), 1
for _ in range(rounds):
    x = (x * 1103515245 + 12345) % 2147483648
open(sys.argv[2], "w").write(str(x))
open(SECONDS, "a").write(f"{time.perf_counter() - began}\\n")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path)
    parser.add_argument("--demo", type=int, default=0, metavar="N", help="the demo anew so often, minutes each time")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--images", type=int, default=600_000, help="files below data/raw for the snapshot's row")
    arguments = parser.parse_args()
    repeat = arguments.repeat
    rows = Rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PREFECT_HOME"] = str(folder / "prefect")
        help_s = median(repeat, lambda: run([*GENAI, "--help"], ROOT))
        rows.append(("genai --help", help_s, "", 0.0))
        if arguments.checkout:
            checkout = arguments.checkout.resolve()
            ours = median(repeat, lambda: run([*GENAI, "run"], checkout))
            theirs = median(repeat, lambda: run([*DVC, "repro"], checkout))
            rows.append(("run again, nothing changed", ours, "dvc repro", theirs))
            if arguments.demo:
                rows.append(demo(folder / "demo", checkout, arguments.demo))
        with prefect_server(folder):
            if arguments.checkout:
                cached = median(repeat, lambda: run([*GENAI, "run"], checkout))
                rows.append(("the same with a server, all stages Cached", cached, "dvc repro", theirs))
            rows.append(overhead(folder / "chain", repeat, stages=14))  # as many as the pipeline has
            rows.append(two_branches(folder / "branches", repeat, seconds=10.0))
        rows.append(snapshot(folder / "many", repeat, images=arguments.images))
    show(rows)


class Rows(list[tuple[str, float, str, float]]):
    """The table. The whole takes a quarter of an hour: each row is told on standard error as soon as it is measured."""

    def append(self, row: tuple[str, float, str, float]) -> None:
        what, ours, against, theirs = row
        print(f"{what}: {ours:.2f} s{f', {against}: {theirs:.2f} s' if against else ''}", file=sys.stderr, flush=True)
        super().append(row)


def demo(folder: Path, checkout: Path, repeat: int) -> tuple[str, float, str, float]:
    """The demo's stages in new clones of a checkout, with a temporary server as `make demo` has it; in turns."""

    def once(number: int, command: list[str]) -> float:
        clone = folder / f"{number}"
        run(["git", "clone", "--quiet", str(checkout), str(clone)], ROOT)
        for name in ("dvc.lock", "data/raw.dvc"):  # of what may have been committed
            (clone / name).unlink(missing_ok=True)
        run([*GENAI, "data", "add", "builtin:digits"], clone)
        seconds = timed(lambda: run(command, clone))
        shutil.rmtree(clone)
        return seconds

    pairs = [(once(2 * i, [*GENAI, "run"]), once(2 * i + 1, [*DVC, "repro"])) for i in range(repeat)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ("the demo", ours, "dvc repro", theirs)


def overhead(folder: Path, repeat: int, stages: int) -> tuple[str, float, str, float]:
    """Seconds a stage beyond the stages' own, in a chain of `stages`; and the same of plain `dvc repro`."""
    chain = {
        f"stage{i}": {
            "cmd": f"python burn.py 0.2 out{i}",
            "deps": [f"out{i - 1}" if i else "burn.py"],
            "outs": [f"out{i}"],
        }
        for i in range(stages)
    }
    workspace(folder, chain)

    def once(command: list[str]) -> float:
        forget(folder)
        seconds = folder / ".genai" / "seconds"
        seconds.unlink(missing_ok=True)
        wall = timed(lambda: run(command, folder))
        own = sum(map(float, seconds.read_text().split()))
        return (wall - own) / stages

    # The command's own start and end are spread over the stages, as a user meets them.
    ours = statistics.median(once([*GENAI, "run"]) for _ in range(repeat))
    theirs = statistics.median(once([*DVC, "repro"]) for _ in range(repeat))
    return (f"overhead a stage (chain of {stages}, server running)", ours, "dvc repro", theirs)


def two_branches(folder: Path, repeat: int, seconds: float) -> tuple[str, float, str, float]:
    """The wall time of two independent stages of one core each."""
    both = {
        name: {"cmd": f"python burn.py {seconds} {name}", "deps": ["burn.py"], "outs": [name]}
        for name in ("one", "two")
    }
    workspace(folder, both)

    def once(command: list[str]) -> float:
        forget(folder)
        return timed(lambda: run(command, folder))

    pairs = [(once([*GENAI, "run"]), once([*DVC, "repro"])) for _ in range(repeat)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ("two stages of one core each", ours, "dvc repro", theirs)


def snapshot(folder: Path, repeat: int, images: int) -> tuple[str, float, str, float]:
    """A snapshot and its checkout, beside so many files in data/raw, of which none may be copied."""
    workspace(folder, {"one": {"cmd": "true", "deps": ["burn.py"], "outs": ["one"]}})
    for number in range(images):
        path = folder / "data" / "raw" / f"{number // 1000:04}" / f"{number:07}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"an image")
    run(["git", "add", "--all"], folder)
    run(["git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "--quiet", "-m", "all"], folder)
    place = folder / ".genai" / "place"

    def once(number: int) -> float:
        (folder / "burn.py").write_text(f"{BURN}# {number}")
        began = time.perf_counter()
        taken = take_snapshot(folder)
        open_detached(folder, taken.commit, place)
        seconds = time.perf_counter() - began
        if taken.changed != ("burn.py",) or list(place.rglob("*.png")):
            raise SystemExit("the snapshot holds something else than what was changed")
        remove_worktree(folder, place)
        return seconds

    seconds = statistics.median(once(number) for number in range(repeat))
    return (f"snapshot and its checkout, {images:,} images in data/raw", seconds, "", 0.0)


def workspace(folder: Path, stages: dict[str, object]) -> None:
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "data" / "raw" / "one").write_text("data")
    (folder / ".genai").mkdir()
    (folder / "burn.py").write_text(BURN.replace("SECONDS", repr(str(folder / ".genai" / "seconds"))))
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))  # JSON is YAML
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / ".gitignore").write_text(".genai/\n/out*\n/one\n/two\n/data/raw\n")
    run(["git", "init", "--quiet"], folder)
    run([*DVC, "init", "--quiet"], folder)
    run([*DVC, "add", "--quiet", "data/raw"], folder)


def forget(folder: Path) -> None:
    """Neither dvc.lock nor the run-cache: every stage runs."""
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(folder / ".dvc" / "cache" / "runs", ignore_errors=True)


@contextmanager
def prefect_server(folder: Path) -> Iterator[None]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1):
                break
            time.sleep(0.1)
        else:
            raise SystemExit("the Prefect server did not start")
        os.environ["PREFECT_API_URL"] = url
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.terminate()
        server.wait(timeout=30)


def median(repeat: int, call: Callable[[], None]) -> float:
    call()  # the first one warms the disk's cache
    return statistics.median(timed(call) for _ in range(repeat))


def timed(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def run(command: list[str], folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed\n{answer.stdout}{answer.stderr}")


def show(rows: list[tuple[str, float, str, float]]) -> None:
    print("| what | seconds | against | its seconds | ratio |")
    print("|---|---|---|---|---|")
    for what, ours, against, theirs in rows:
        ratio = f"{ours / theirs:.2f}" if theirs else ""
        print(f"| {what} | {ours:.2f} | {against} | {f'{theirs:.2f}' if theirs else ''} | {ratio} |")


if __name__ == "__main__":
    main()
