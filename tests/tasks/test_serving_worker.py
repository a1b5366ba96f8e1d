"""The process that holds models, asked over its pipes: several drawings at a time on two threads."""

import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from genai_core.serving.frames import Frame, pack, read_frame
from genai_core.serving.shares import share
from tests.flows.serving.served import save_tiny_model
from tests.models.tiny import RECIPES

ROOT = Path(__file__).parents[2]
SLOW = {"steps": 250}  # of the diffusion model: some tenths of a second
DECODING = {"fit": "crop", "background": [0, 0, 0], "max_megapixels": 16}


@dataclass
class Worker:
    """A running `tasks.serve`."""

    process: "subprocess.Popen[bytes]"
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, op: str, *blobs: bytes, **values: Any) -> int:
        number = next(self.numbers)
        self._write({"id": number, "op": op, **values}, blobs)
        return number

    def draw(self, model: str, *seeds: int, sampling: dict[str, Any] | None = None, threads: int | None = None) -> int:
        drawings = [{"seed": seed, "label": seed % 3} for seed in seeds]
        values = {"drawings": drawings, "sampling": sampling or {}, "decoding": DECODING}
        return self.send("draw", model=model, threads=threads or share("draw", len(seeds), 2), **values)

    def cancel(self, number: int) -> None:
        self._write({"id": number, "op": "cancel"})

    def next(self) -> Frame:
        frame = read_frame(cast(BinaryIO, self.process.stdout))
        assert frame is not None
        return frame

    def until_begun(self, *numbers: int) -> None:
        """Wait until all have begun; none may have been answered meanwhile."""
        missing = set(numbers)
        while missing:
            frame = self.next()
            assert "begun" in frame.header
            missing.discard(frame.header["id"])

    def answers(self, *numbers: int) -> dict[int, Frame]:
        """Return the replies by number, in the order in which they came."""
        found: dict[int, Frame] = {}
        while not {*numbers} <= found.keys():
            frame = self.next()
            if "begun" not in frame.header:
                found[frame.header["id"]] = frame
        return found

    def drawn(self, model: str, *seeds: int, sampling: dict[str, Any] | None = None) -> bytes:
        number = self.draw(model, *seeds, sampling=sampling)
        answer = self.answers(number)[number]
        assert answer.header["ok"], answer.header
        return answer.blobs[0]

    def _write(self, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(pack(header, blobs))
        self.process.stdin.flush()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("models")
    command = [sys.executable, "-m", "tasks.serve", "--device=cpu", "--threads=2"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        found = Worker(process)
        for family in RECIPES:
            number = found.send("load", model=family, folder=str(save_tiny_model(folder / family, family)))
            assert found.answers(number)[number].header["threads"] == 2
        yield found
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def test_pixels_do_not_depend_on_what_is_drawn_beside_them(worker: Worker) -> None:
    wanted = [(family, tuple(range(count))) for count in (1, 3, 16, 20, 2) for family in RECIPES]
    alone = [worker.drawn(family, *seeds) for family, seeds in wanted]
    numbers = [worker.draw(family, *seeds) for family, seeds in wanted]
    answers = worker.answers(*numbers)
    assert [answers[number].blobs[0] for number in numbers] == alone


def test_two_small_requests_are_drawn_at_once_and_a_third_waits(worker: Worker) -> None:
    worker.drawn("diffusion", 1)
    numbers = [worker.draw("diffusion", seed, sampling=SLOW) for seed in range(3)]
    worker.until_begun(*numbers[:2])
    first = worker.next()
    assert first.header["id"] in numbers[:2]
    assert first.header["ok"]
    # The other one may end at the same moment, and its answer come first.
    rest = [worker.next().header for _ in range(3)]
    assert [header["id"] for header in rest if "begun" in header] == [numbers[2]]
    assert {header["id"] for header in rest if header.get("ok")} == set(numbers) - {first.header["id"]}


def test_a_large_request_takes_as_many_threads_as_it_is_given(worker: Worker) -> None:
    expected = worker.drawn("diffusion", *range(20), sampling=SLOW)
    large = worker.draw("diffusion", *range(20), sampling=SLOW, threads=1)
    small = worker.draw("diffusion", 1, sampling=SLOW)
    worker.until_begun(large, small)
    assert worker.answers(large, small)[large].blobs[0] == expected


def test_the_search_for_noise_leaves_a_thread_to_those_who_draw(worker: Worker) -> None:
    search = worker.send(
        "encode",
        bytes(64),
        model="gan",
        threads=1,
        label=0,
        sampling={},
        picture={"form": "pixels", "shape": [1, 8, 8]},
    )
    drawing = worker.draw("diffusion", 1, sampling=SLOW)
    worker.until_begun(search, drawing)
    answers = worker.answers(search, drawing)
    assert all(answer.header["ok"] for answer in answers.values()), answers


def test_cancelling_one_of_two_leaves_the_other(worker: Worker) -> None:
    expected = worker.drawn("diffusion", 1, sampling=SLOW)
    kept, left = worker.draw("diffusion", 1, sampling=SLOW), worker.draw("diffusion", 2, sampling=SLOW)
    waiting = worker.draw("diffusion", 3, sampling=SLOW)
    worker.until_begun(kept, left)
    worker.cancel(left)
    worker.cancel(waiting)
    answers = worker.answers(kept, left, waiting)
    assert [answers[number].header.get("kind") for number in (kept, left, waiting)] == [None, "cancelled", "cancelled"]
    assert next(iter(answers)) == left
    assert answers[kept].blobs[0] == expected
    worker.cancel(left)  # too late: it may not hit a later request
    assert worker.drawn("diffusion", 1, sampling=SLOW) == expected


def test_unloading_waits_for_those_who_draw(worker: Worker, tmp_path: Path) -> None:
    load = worker.send("load", model="old", folder=str(save_tiny_model(tmp_path / "old", "diffusion")))
    worker.answers(load)
    drawing = [worker.draw("old", seed, sampling=SLOW) for seed in (1, 2)]
    unload, late = worker.send("unload", model="old"), worker.draw("old", 3)
    answers = worker.answers(*drawing, unload, late)
    assert list(answers)[2:] == [unload, late]
    assert [answers[number].header["ok"] for number in (*drawing, unload, late)] == [True, True, True, False]
    assert "no model 'old' is loaded" in answers[late].header["message"]


def test_a_fault_of_one_leaves_the_other(worker: Worker) -> None:
    good, bad = worker.draw("gan", 1), worker.draw("gan", 2, sampling={"steps": "many"})
    answers = worker.answers(good, bad)
    assert (answers[good].header["ok"], answers[bad].header["kind"]) == (True, "input")
